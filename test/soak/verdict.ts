/** What has to hold at the end of a soak, each as a line that passes or fails. */
import { descriptors } from "./census.ts";
import { type NodeRecord, type QuietReading, type Reading, SERIES } from "./record.ts";
import type { Outcome } from "./soak.ts";
import { type Point, type Slope, slopeOf } from "./slope.ts";

export interface Judgement {
  readonly what: string;
  readonly pass: boolean;
  /** Figures that it is judged by. */
  readonly because: string;
}

/** Memory may grow by so much, MB an hour, besides what the readings vary. */
const MEMORY_PER_HOUR = 3;
/** Unconnected sockets that the proxy makes in advance: at most 7 for each pod that stays and address family. */
const STOCK = 7 * 2;
/** One for discovery, one for certificates, and one more of each while it is replaced. */
const CONTROL_PLANE = 4;
/** Nothing is said about memory by readings of a shorter time, ms: code is compiled and the heap finds its size. */
const LEAST_SPAN_MS = 15 * 60_000;
/** Series of metrics have labels of everybody who was ever met: in the second half nearly all have been. */
const SERIES_GROWTH = 0.02;
const HOUR_MS = 3600_000;

/** Values of quiet readings after the warm-up, as points. */
export function points<R extends Reading>(readings: readonly R[], value: (reading: R) => number): Point[] {
  return readings.map((reading) => ({ at: reading.at / HOUR_MS, value: value(reading) }));
}

export function counted(node: NodeRecord, warmUp: number): readonly QuietReading[] {
  return node.quiet.slice(warmUp);
}

/** Readings under load after the warm-up. */
export function loaded(node: NodeRecord, warmUp: number): readonly Reading[] {
  const from = node.quiet[warmUp - 1]?.at ?? 0;
  return node.busy.filter(({ at }) => at > from);
}

const megabytes = (kb: number) => kb / 1024;

export function judge(outcome: Outcome): Judgement[] {
  const { nodes, warmUp, errands, wrongs, ghosts, churnFailures, held, failures } = outcome;
  const judgements: Judgement[] = [];
  for (const node of nodes) {
    const quiet = counted(node, warmUp);
    const flat = (what: string, value: (reading: QuietReading) => number) => {
      const values = quiet.map(value);
      const distinct = [...new Set(values)];
      judgements.push({
        what: `${node.node}: ${what} the same at all ${values.length} quiet points`,
        pass: distinct.length === 1,
        because: distinct.length === 1 ? `${distinct[0]}` : values.join(" "),
      });
    };
    const span = (quiet.at(-1)?.at ?? 0) - (quiet[0]?.at ?? 0);
    const long = span >= LEAST_SPAN_MS;
    const memory = (what: string, slope: Slope | undefined) =>
      judgements.push({
        what: `${node.node}: ${what} grows by less than ${MEMORY_PER_HOUR} MB/h`,
        // Less than what the readings allow to be said is not growth that was seen.
        pass: !long || slope === undefined || slope.least < MEMORY_PER_HOUR,
        because: long ? slopeText(slope, "MB/h") : "too short a run to tell",
      });
    memory("resident memory at quiet points", slopeOf(points(quiet, ({ census }) => megabytes(census.rssKb))));
    memory(
      "resident memory under load",
      slopeOf(points(loaded(node, warmUp), ({ census }) => megabytes(census.rssKb))),
    );
    const late = quiet.filter(({ settledMs }) => settledMs === undefined);
    judgements.push({
      what: `${node.node}: descriptors and sockets, by kind, namespace and state, come back to the baseline`,
      pass: late.length === 0 && quiet.length > 0,
      because: late.length === 0
        ? `${quiet.length} times, ${descriptors(quiet.at(-1)?.census ?? { held: {}, controlPlane: 0 })} descriptors`
        : late.map(({ changed }) => `[${changed.join("; ")}]`).join(" "),
    });
    const stock = Math.max(...quiet.map(({ census }) => census.loose));
    const most = STOCK * (node.quiet[0]?.told["pods served"] ?? 0);
    judgements.push({
      what: `${node.node}: sockets without a connection stay a stock of at most ${most}`,
      pass: stock <= most,
      because: quiet.map(({ census }) => census.loose).join(" "),
    });
    const controlPlane = quiet.map((reading) => reading.census.controlPlane);
    judgements.push({
      what: `${node.node}: at most ${CONTROL_PLANE} connections to the control plane`,
      pass: Math.max(...controlPlane) <= CONTROL_PLANE,
      because: controlPlane.join(" "),
    });
    const series = quiet.map(({ told }) => told[SERIES] ?? 0);
    const [half = 0, last = 0] = [series[series.length >> 1], series.at(-1)];
    judgements.push({
      what: `${node.node}: no more than ${SERIES_GROWTH * 100} % more series of metrics in the second half`,
      pass: !long || last <= half * (1 + SERIES_GROWTH),
      because: series.join(" "),
    });
    const counts = Object.keys(quiet[0]?.told ?? {}).filter((name) => name !== SERIES);
    for (const name of counts) flat(name, ({ told }) => told[name] ?? Number.NaN);
    const threads = slopeOf(points(quiet, ({ census }) => census.threads));
    judgements.push({
      what: `${node.node}: threads do not grow`,
      // The runtime's pools come and go.
      pass: (threads?.least ?? 0) <= 0,
      because: [...new Set(quiet.map(({ census }) => census.threads))].join(" "),
    });
  }
  judgements.push({
    what: "no network namespace outlives its pod",
    pass: ghosts.every((count) => count === 0),
    because: ghosts.join(" "),
  });
  for (const [name, { done, failed }] of Object.entries(errands)) {
    const first = failures.find(({ errand }) => errand === name);
    judgements.push({
      what: `${name}: every one as it has to be`,
      pass: failed === 0 && done > 0,
      because: `${done} done, ${failed} failed${first === undefined ? "" : `; first: ${first.error.slice(0, 200)}`}`,
    });
  }
  judgements.push({ what: "no errand had to be left out", pass: held === 0, because: `${held} left out` });
  judgements.push({
    what: "every change was made",
    pass: churnFailures.length === 0,
    because: churnFailures.length === 0 ? `${sum(outcome.churn)} changes` : churnFailures.slice(0, 3).join("; "),
  });
  judgements.push({
    what: "no bug in a log, no NACK, no refused request of the CNI, no end of a process",
    pass: wrongs.length === 0,
    because: wrongs.length === 0 ? "none" : `${wrongs.length}: ${wrongs.slice(0, 3).join("; ").slice(0, 600)}`,
  });
  return judgements;
}

export function slopeText(slope: Slope | undefined, unit: string): string {
  if (slope === undefined) return "too few readings for a slope";
  const sign = (value: number) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}`;
  return `${sign(slope.perHour)} ${unit} (${sign(slope.least)} to ${sign(slope.most)})`;
}

function sum(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((total, count) => total + count, 0);
}
