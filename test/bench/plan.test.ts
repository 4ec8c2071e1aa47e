/** Arguments of the bench, limits against figures, and the log of h2load. */
import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import process from "node:process";
import type { CoreFigure } from "./core/parts.ts";
import { renderCore } from "./core/report.ts";
import { Figures, judge, type Limit, noWorse } from "./figures.ts";
import type { PathName } from "./path.ts";
import { chosen, readPlan } from "./plan.ts";
import { renderFigures } from "./report.ts";
import { renderJudgements } from "./table.ts";
import { parseH2loadLog, windowOf } from "./waypoint/h2load.ts";

describe("arguments", () => {
  test("none: ztunnels, three rounds, everything", () => {
    expect(readPlan([])).toEqual({
      subject: "ztunnel",
      rounds: 3,
      quick: false,
      before: undefined,
      only: undefined,
      parts: undefined,
      json: undefined,
    });
  });

  test("all of them", () => {
    const args = "--waypoint --quick --only envoy,ambient --parts h2 --rounds 5 --json out.json".split(" ");
    expect(readPlan(args)).toEqual({
      subject: "waypoint",
      rounds: 5,
      quick: true,
      before: undefined,
      only: ["envoy", "ambient"],
      parts: ["h2"],
      json: "out.json",
    });
  });

  test("the core, and what it does not have", () => {
    expect(readPlan(["--core", "--parts", "mesh"])).toMatchObject({ subject: "core", rounds: 3, parts: ["mesh"] });
    expect(() => readPlan(["--core", "--waypoint"])).toThrow("--core knows no --waypoint");
    expect(() => readPlan(["--core", "--before", "old"])).toThrow("--core knows no --before");
    expect(() => readPlan(["--core", "--only", "ambient"])).toThrow("--core knows no --only");
  });

  test("an executable of before, wherever the bench runs itself again", () => {
    expect(readPlan(["--before", "/builds/old"])).toMatchObject({ subject: "ztunnel", before: "/builds/old" });
    expect(readPlan(["--waypoint", "--before", "old"]).before).toBe(join(process.cwd(), "old"));
  });

  test("a stray one is named", () => {
    expect(() => readPlan(["--fast"])).toThrow("unknown argument --fast");
    expect(() => readPlan(["h2"])).toThrow("unknown argument h2");
  });

  test("names keep their own order; an unknown one is named", () => {
    expect(chosen("path", ["c", "a"], ["a", "b", "c"])).toEqual(["a", "c"]);
    expect(chosen("path", undefined, ["a", "b"])).toEqual(["a", "b"]);
    expect(() => chosen("path", ["d"], ["a", "b"])).toThrow("there is no path d; there are a, b");
  });
});

describe("limits", () => {
  const limits: Limit[] = [
    { figure: "cpu", label: "CPU", most: 0.6, relative: true, unit: "µs" },
    { figure: "memory", label: "memory", most: 64, relative: false, unit: "MB" },
    { figure: "unmeasured", label: "unmeasured", most: 1, relative: true, unit: "s" },
  ];

  test("medians of the rounds are compared; what was not measured is not judged", () => {
    const figures = new Figures<"own" | "other">();
    for (const value of [70, 30, 35]) figures.add("own", "cpu", value);
    for (const value of [50, 100]) figures.add("other", "cpu", value);
    figures.add("own", "memory", 65);
    figures.add("own", "unmeasured", 1);
    const judgements = judge(figures, limits, { own: "own", yardstick: "other" });
    expect(judgements.map(({ limit, value, pass }) => [limit.figure, value, pass])).toEqual([
      ["cpu", 35 / 75, true],
      ["memory", 65, false],
    ]);
    expect(renderJudgements(judgements).split("\n").slice(2)).toEqual([
      "| CPU          | 75.0 µs | 35.0 µs |  0.47 × |  0.6 × | pass |",
      "| memory       |       – | 65.0 MB | 65.0 MB |  64 MB | MISS |",
    ]);
  });

  test("against an executable of before, nothing may have become worse", () => {
    expect(noWorse(limits).map(({ figure, most, relative }) => ({ figure, most, relative }))).toEqual([
      { figure: "cpu", most: 1.1, relative: true },
      { figure: "memory", most: 1.1, relative: true },
      { figure: "unmeasured", most: 1.1, relative: true },
    ]);
  });

  test("a core figure stands beside its limit", () => {
    const figures = new Figures<"core">();
    for (const value of [0.25, 12.04, 13]) figures.add("core", "held", value);
    figures.add("core", "size", 1.8);
    const rows: CoreFigure[] = [
      { figure: "held", label: "the loop held", value: 13, unit: "ms", most: 12 },
      { figure: "size", label: "over the wire", value: 1.8, unit: "MB" },
    ];
    expect(renderCore(rows, figures).split("\n").slice(2)).toEqual([
      "| the loop held | 12.0 ms |  12 ms | MISS |",
      "| over the wire | 1.80 MB |        |      |",
    ]);
  });
});

describe("tables of paths", () => {
  test("have a column for each path and a row for what was measured", () => {
    const figures = new Figures<PathName>();
    figures.add("before", "idle.memory.client", 27);
    figures.add("before", "idle.memory.server", 28);
    figures.add("ambient", "idle.memory.client", 26);
    figures.add("ambient", "idle.memory.server", 25);
    const lines = renderFigures(figures, ["before", "ambient"]).split("\n");
    expect(lines).toHaveLength(3);
    expect(lines[0]).toContain("(b) two ztunnels of before");
    expect(lines[2]).toMatch(/idle memory, MB .* 27\.0 \/ 28\.0 .* 26\.0 \/ 25\.0/);
  });
});

describe("h2load", () => {
  const log = [
    "1000000\t200\t500",
    "1000100\t200\t1500",
    "1000200\t503\t300",
    "1000300\t-1\t100",
    "1009000\t200\t2000",
  ];

  test("what ended in the window counts, refused and failed requests as errors", () => {
    const requests = parseH2loadLog(`${log.join("\n")}\n`);
    expect(windowOf(requests, 1_000_400, 1_010_000)).toEqual({ count: 2, errors: 2, p50: 1.5, p99: 1.5 });
    expect(windowOf(requests, 1_001_601, 1_020_000)).toEqual({ count: 1, errors: 0, p50: 2, p99: 2 });
  });

  test("an empty window has no latencies", () => {
    expect(windowOf(parseH2loadLog(""), 0, 1)).toEqual({ count: 0, errors: 0, p50: Number.NaN, p99: Number.NaN });
  });
});
