/** The tables of a run. */
import { table } from "../bench/table.ts";
import { descriptors } from "./census.ts";
import type { NodeRecord, Reading } from "./record.ts";
import { type Point, slopeOf } from "./slope.ts";
import type { Outcome } from "./soak.ts";
import { counted, type Judgement, loaded, points, slopeText } from "./verdict.ts";

interface Row {
  readonly label: string;
  readonly unit: string;
  value(reading: Reading): number;
}

const ROWS: readonly Row[] = [
  { label: "resident memory", unit: "MB", value: ({ census }) => census.rssKb / 1024 },
  { label: "of it anonymous", unit: "MB", value: ({ census }) => census.anonymousKb / 1024 },
  { label: "descriptors", unit: "", value: ({ census }) => descriptors(census) },
  { label: "sockets in stock", unit: "", value: ({ census }) => census.loose },
  { label: "threads", unit: "", value: ({ census }) => census.threads },
];

/** Figures by node, under load and at quiet points: first, least, most, last, slope. */
export function renderFigures({ nodes, warmUp }: Outcome): string {
  const rows: string[][] = [];
  for (const node of nodes) {
    for (const { label, unit, value } of ROWS) {
      const parts = [["quiet", counted(node, warmUp)], ["load", loaded(node, warmUp)]] as const;
      for (const [when, readings] of parts) {
        rows.push([`${node.node}: ${label}, ${when}`, ...figures(points(readings, value), unit)]);
      }
    }
  }
  return table(["figure", "readings", "first", "least", "most", "last", "slope (95 %)"], rows);
}

function figures(all: readonly Point[], unit: string): string[] {
  const values = all.map(({ value }) => value);
  const text = (value: number | undefined) => value === undefined ? "–" : value.toFixed(unit === "MB" ? 1 : 0);
  const ends = [values[0], Math.min(...values), Math.max(...values), values.at(-1)].map(text);
  return [`${values.length}`, ...ends, slopeText(slopeOf(all), `${unit}/h`)];
}

/** What the ztunnels took of a core, quiet points included. */
export function renderCost({ nodes, seconds, errands }: Outcome): string {
  const done = Object.values(errands).reduce((sum, count) => sum + count.done, 0);
  const share = ({ quiet }: NodeRecord, value: (reading: Reading) => number) => {
    const [first, last] = [quiet[0], quiet.at(-1)];
    const part = first === undefined || last === undefined ? 0 : (value(last) - value(first)) / (last.at - first.at);
    return `${(part * 100).toFixed(1)} %`;
  };
  const shares = nodes.map((node) =>
    `${node.node}: ${share(node, ({ cpuMs }) => cpuMs)} of a core, and ${share(node, ({ waitedMs }) => waitedMs)} of ` +
    "the time without one although there was work"
  );
  return [`${done} errands, ${(done / seconds).toFixed(0)} a second`, ...shares].join("\n");
}

export function renderWork(outcome: Outcome): string {
  const errands = Object.entries(outcome.errands).map(([name, { done, failed }]) => [name, `${done}`, `${failed}`]);
  const churn = Object.entries(outcome.churn).map(([name, count]) => [name, `${count}`, ""]);
  return table(["what", "done", "failed"], [...errands, ...churn]);
}

/** What the ztunnels logged. */
export function renderLogs({ said, results }: Outcome): string {
  const lines = Object.entries(said).map(([text, count]) => `${count} × ${text}`);
  const ends = Object.entries(results).map(([error, count]) => `${count} × ${error === "" ? "no error" : error}`);
  return ["connections in the access logs:", ...ends, "", "warnings and errors in the logs:", ...lines].join("\n");
}

export function renderJudgements(judgements: readonly Judgement[]): string {
  return judgements.map(({ what, pass, because }) => `${pass ? "ok  " : "FAIL"}  ${what}: ${because}`).join("\n");
}
