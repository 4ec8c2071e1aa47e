/** The judge, with runs made up: what has to be caught is caught, and nothing else. */
import { describe, expect, test } from "bun:test";
import type { Census } from "./census.ts";
import { readPlan, roundsOf } from "./plan.ts";
import { Random } from "./random.ts";
import type { NodeRecord, QuietReading, Reading } from "./record.ts";
import { renderFigures } from "./report.ts";
import type { Outcome } from "./soak.ts";
import { judge } from "./verdict.ts";

const MINUTE_MS = 60_000;
const ROUNDS = 24;
const WARM_UP = 3;
/** An hour of rounds. */
const ROUND_MS = 2.5 * MINUTE_MS;

interface Leaks {
  /** MB an hour at quiet points, and under load. */
  readonly memory?: number;
  readonly change?: (reading: QuietReading, round: number) => QuietReading;
}

function census(rssMb: number): Census {
  return {
    rssKb: rssMb * 1024,
    anonymousKb: rssMb * 400,
    threads: 8,
    held: { "node a tcp LISTEN": 2, "client tcp6 LISTEN": 4, net: 1 },
    controlPlane: 2,
    loose: 9,
  };
}

function record({ memory = 0, change = (reading) => reading }: Leaks): NodeRecord {
  const random = new Random(2);
  const quiet: QuietReading[] = [];
  const busy: Reading[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const at = round * ROUND_MS;
    const grown = memory * at / 3600_000;
    for (let i = 0; i < 6; i++) {
      busy.push({ at: at - i * 20_000, cpuMs: at, waitedMs: 0, census: census(90 + grown + random.between(-8, 8)) });
    }
    const reading: QuietReading = {
      at,
      cpuMs: at,
      waitedMs: 0,
      census: census(70 + grown + random.between(-0.5, 0.5)),
      told: { "connections open": 0, "pods served": 2, certificates: 2, "metric series": 100 },
      settledMs: 3000,
      changed: [],
    };
    quiet.push(change(reading, round));
  }
  return { node: "a", busy, quiet };
}

function outcome(leaks: Leaks, other: Partial<Outcome> = {}): Outcome {
  return {
    plan: { minutes: 60, seed: 1, pace: 1, json: undefined, log: undefined },
    seconds: 3600,
    nodes: [record(leaks)],
    warmUp: WARM_UP,
    errands: { "new connection": { done: 1000, failed: 0 } },
    failures: [],
    held: 0,
    churn: { "pod comes": 40 },
    churnFailures: [],
    wrongs: [],
    said: {},
    results: {},
    ghosts: [0, 0, 0],
    certificatesIssued: 500,
    overtaken: 0,
    ...other,
  };
}

const failed = (one: Outcome) => judge(one).filter(({ pass }) => !pass).map(({ what }) => what);

describe("a run", () => {
  test("in which nothing grows passes, and its table has every figure", () => {
    expect(failed(outcome({}))).toEqual([]);
    expect(renderFigures(outcome({}))).toContain("a: resident memory, quiet");
  });

  const table: [what: string, one: Outcome, failure: RegExp][] = [
    ["whose memory grows", outcome({ memory: 6 }), /resident memory at quiet points/],
    [
      "that does not come back to its descriptors",
      outcome({
        change: (reading, round) =>
          round < 20 ? reading : { ...reading, settledMs: undefined, changed: ["net: 1 → 2"] },
      }),
      /come back to the baseline/,
    ],
    [
      "with a connection that is counted for ever",
      outcome({
        change: (reading, round) => ({ ...reading, told: { ...reading.told, "connections open": round > 12 ? 1 : 0 } }),
      }),
      /connections open/,
    ],
    [
      "whose series of metrics do not end",
      outcome({
        change: (reading, round) => ({ ...reading, told: { ...reading.told, "metric series": 100 + round } }),
      }),
      /series of metrics/,
    ],
    [
      "with sockets that nobody uses",
      outcome({ change: (reading, round) => ({ ...reading, census: { ...reading.census, loose: 9 + round } }) }),
      /sockets without a connection/,
    ],
    [
      "with ever more threads",
      outcome({ change: (reading, round) => ({ ...reading, census: { ...reading.census, threads: 8 + round } }) }),
      /threads/,
    ],
    ["with a namespace that stays", outcome({}, { ghosts: [0, 0, 1] }), /namespace outlives/],
    ["with a failed errand", outcome({}, { errands: { asked: { done: 9, failed: 1 } } }), /asked/],
    ["with an errand that never ran", outcome({}, { errands: { asked: { done: 0, failed: 0 } } }), /asked/],
    ["with errands left out", outcome({}, { held: 3 }), /left out/],
    ["with a change that failed", outcome({}, { churnFailures: ["pod comes: no"] }), /every change/],
    ["with a bug in the log", outcome({}, { wrongs: ["internal error"] }), /no bug/],
    ["without any quiet point", outcome({}, { nodes: [{ node: "a", busy: [], quiet: [] }] }), /baseline/],
  ];
  for (const [what, one, failure] of table) {
    test(`${what} fails for that`, () => {
      const failures = failed(one);
      expect(failures.some((text) => failure.test(text))).toBe(true);
      expect(failures.every((text) => failure.test(text) || /memory|quiet points|stock/.test(text))).toBe(true);
    });
  }
});

describe("a plan", () => {
  test("is an hour unless it says otherwise", () => {
    expect(readPlan([])).toEqual({ minutes: 60, seed: 1, pace: 1, json: undefined, log: undefined });
    expect(readPlan(["--minutes", "2.5", "--seed", "7"])).toMatchObject({ minutes: 2.5, seed: 7 });
  });

  test("has its words known and its numbers numbers", () => {
    expect(() => readPlan(["--hours", "1"])).toThrow("there are --minutes");
    expect(() => readPlan(["--minutes"])).toThrow("--minutes");
    expect(() => readPlan(["--minutes", "long"])).toThrow("--minutes wants a number above 0, not long");
    expect(() => readPlan(["--pace", "0"])).toThrow("--pace");
  });

  test("fills its time with rounds", () => {
    for (const minutes of [1, 5, 20, 60, 240]) {
      const { count, busyMs, warmUp } = roundsOf({ minutes });
      expect(count).toBeGreaterThan(warmUp + 1);
      expect(busyMs).toBeGreaterThan(0);
      if (minutes >= 5) expect(count * (busyMs + 20_000) / MINUTE_MS).toBeWithin(minutes * 0.9, minutes * 1.1);
    }
  });
});
