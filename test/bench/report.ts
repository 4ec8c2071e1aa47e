/** The figures as Markdown tables, for the terminal and for BENCHMARKS.md alike. */
import { CONNECTIONS, DIRECTIONS, type FigureName, type Figures, type Judgement, STREAMS } from "./figures.ts";
import { type PathName, PATHS } from "./path.ts";

const TITLES: Readonly<Record<PathName, string>> = {
  direct: "(a) direct",
  relay: "(b) raw TLS relay pair",
  ambient: "(c) two ambient ztunnels",
};

export function renderFigures(figures: Figures): string {
  const rows: string[][] = [];
  const number = (path: PathName, figure: FigureName, digits: number) => {
    const value = figures.median(path, figure);
    return value === undefined ? "–" : value.toFixed(digits);
  };
  const sides = (path: PathName, figure: FigureName, digits: number) => {
    const values = [number(path, `${figure}.client`, digits), number(path, `${figure}.server`, digits)];
    return values.every((value) => value === "–") ? "–" : values.join(" / ");
  };
  const row = (label: string, cell: (path: PathName) => string) => rows.push([label, ...PATHS.map(cell)]);
  for (const connections of CONNECTIONS) {
    const figure = `requests.${connections}`;
    const plural = connections === 1 ? "" : "s";
    row(`requests/s, ${connections} connection${plural}`, (path) => number(path, `${figure}.rate`, 0));
    row("– p50 / p99, ms", (path) => `${number(path, `${figure}.p50`, 3)} / ${number(path, `${figure}.p99`, 3)}`);
    row("– CPU per request, µs", (path) => sides(path, `${figure}.cpu`, 1));
  }
  for (const direction of DIRECTIONS) {
    for (const streams of STREAMS) {
      const figure = `bulk.${direction}.${streams}`;
      row(
        `Gbit/s ${direction}, ${streams} stream${streams === 1 ? "" : "s"}`,
        (path) => number(path, `${figure}.rate`, 2),
      );
      row("– CPU per GB, s", (path) => sides(path, `${figure}.cpu`, 2));
    }
  }
  row("new connections/s", (path) => number(path, "churn.rate", 0));
  row("– CPU per new connection, µs", (path) => sides(path, "churn.cpu", 0));
  row("memory per held idle connection, KB", (path) => sides(path, "held.memory", 2));
  row("idle memory, MB", (path) => sides(path, "idle.memory", 1));
  return table(["client side / server side", ...PATHS.map((path) => TITLES[path])], rows);
}

export function renderJudgements(judgements: readonly Judgement[]): string {
  const rows = judgements.map(({ limit, relay, ambient, value, pass }) => [
    limit.label,
    relay === undefined ? "–" : `${format(relay)} ${limit.unit}`,
    `${format(ambient)} ${limit.unit}`,
    limit.relative ? `${value.toFixed(2)} ×` : `${format(value)} ${limit.unit}`,
    limit.relative ? `${limit.most} ×` : `${limit.most} ${limit.unit}`,
    pass ? "pass" : "MISS",
  ]);
  return table(["limit on (c)", "(b)", "(c)", "is", "may be", ""], rows);
}

function format(value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3);
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [head, ...rows];
  const widths = head.map((_, column) => Math.max(...all.map((row) => [...(row[column] ?? "")].length)));
  const line = (row: readonly string[]) => {
    const cells = row.map((cell, column) => {
      const room = " ".repeat((widths[column] ?? 0) - [...cell].length);
      return column === 0 ? cell + room : room + cell;
    });
    return `| ${cells.join(" | ")} |`;
  };
  const rule = `|${widths.map((width, column) => "-".repeat(width + 1) + (column === 0 ? "-" : ":")).join("|")}|`;
  return [line(head), rule, ...rows.map(line)].join("\n");
}
