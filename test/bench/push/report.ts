/** The figures of a push with the limits beside them. */
import type { Figures, Limit } from "../figures.ts";
import type { PathName } from "../path.ts";
import { format, table } from "../table.ts";
import { PUSH_PHASES, type PushFigures, type PushPhase } from "./scenario.ts";
import type { Latencies } from "./steady.ts";

const SIDES = ["client", "server"] as const;
const TITLES: Readonly<Record<PushPhase | "quiet", string>> = {
  quiet: "before",
  new: "all are new",
  changed: "all have changed",
  again: "the stream broke, all have changed",
};
/** The 99th percentile meanwhile by that before. */
const SLOWER = 2;
/** An event loop, ms. */
const HELD_MS = 12;
/** One change, from the push to where it is in force, ms. */
const CHANGE_MS = 100;

export const PUSH_LIMITS: readonly Limit[] = [
  ...PUSH_PHASES.flatMap((phase): Limit[] => [
    {
      figure: `push.${phase}.slower`,
      label: `p99 of requests while ${TITLES[phase]}, by that before`,
      most: SLOWER,
      relative: false,
      unit: "×",
    },
    ...SIDES.map((side): Limit => ({
      figure: `push.${phase}.held.${side}`,
      label: `an event loop held while ${TITLES[phase]}, ${side}`,
      most: HELD_MS,
      relative: false,
      unit: "ms",
    })),
  ]),
  {
    figure: "push.change",
    label: "one change in the large mesh in force",
    most: CHANGE_MS,
    relative: false,
    unit: "ms",
  },
];

/** Puts what was measured among the figures of the path with the ambient ztunnels. */
export function keepPush(figures: Figures<PathName>, measured: PushFigures): void {
  const add = (figure: string, value: number) => figures.add("ambient", `push.${figure}`, value);
  const latencies = (name: string, { p50, p99, most }: Latencies) => {
    add(`${name}.p50`, p50);
    add(`${name}.p99`, p99);
    add(`${name}.most`, most);
  };
  const { quiet, phases, quietHolds } = measured;
  add("rate", measured.rate);
  latencies("quiet.requests", quiet.requests);
  latencies("quiet.fresh", quiet.fresh);
  quietHolds.forEach(({ longestOwnMs }, i) => add(`quiet.held.${SIDES[i]}`, longestOwnMs));
  for (const [phase, { lap, holds, ms }] of phases) {
    add(`${phase}.ms`, ms);
    latencies(`${phase}.requests`, lap.requests);
    latencies(`${phase}.fresh`, lap.fresh);
    add(`${phase}.slower`, lap.requests.p99 / quiet.requests.p99);
    add(`${phase}.errors`, lap.errors);
    holds.forEach(({ longestOwnMs, longestMs }, i) => {
      add(`${phase}.held.${SIDES[i]}`, longestOwnMs);
      add(`${phase}.waited.${SIDES[i]}`, longestMs);
    });
  }
  add("change", measured.changeMs);
  measured.memory.forEach(({ before, peak, after }, i) => {
    add(`memory.before.${SIDES[i]}`, before);
    add(`memory.peak.${SIDES[i]}`, peak);
    add(`memory.after.${SIDES[i]}`, after);
  });
}

/** A column for each phase. */
export function renderPush(figures: Figures<PathName>, workloads: number): string {
  const columns = ["quiet", ...PUSH_PHASES] as const;
  const value = (figure: string) => {
    const number = figures.median("ambient", `push.${figure}`);
    return number === undefined ? "–" : format(number);
  };
  const row = (label: string, cell: (phase: PushPhase | "quiet") => string) => [label, ...columns.map(cell)];
  const times = (kind: string) => (phase: string) =>
    ["p50", "p99", "most"].map((name) => value(`${phase}.${kind}.${name}`)).join(" / ");
  const sides = (kind: string) => (phase: string) => SIDES.map((side) => value(`${phase}.${kind}.${side}`)).join(" / ");
  const rows = [
    row("until the slower node has it, ms", (phase) => value(`${phase}.ms`)),
    row("requests: p50 / p99 / longest, ms", times("requests")),
    row("connect and one request: p50 / p99 / longest, ms", times("fresh")),
    row("an event loop held, client / server, ms", sides("held")),
    row("– with others on its processor, ms", sides("waited")),
    row("requests and connections that failed", (phase) => value(`${phase}.errors`)),
  ];
  const memory = (when: string) => SIDES.map((side) => value(`memory.${when}.${side}`)).join(" / ");
  const head = `${workloads} workloads arrive during ${value("rate")} requests/s`;
  return [
    table([head, ...columns.map((phase) => TITLES[phase])], rows),
    table(["client / server", "is"], [
      ["one change after that, ms", value("change")],
      ["memory with two workloads, MB", memory("before")],
      ["– at most on the way, MB", memory("peak")],
      ["– at the end, MB", memory("after")],
    ]),
  ].join("\n\n");
}
