/** The figures of the paths through ztunnels as a table. */
import type { FigureName, Figures } from "./figures.ts";
import { CONNECTIONS, DIRECTIONS, STREAMS } from "./limits.ts";
import type { PathName } from "./path.ts";
import { table } from "./table.ts";

const TITLES: Readonly<Record<PathName, string>> = {
  direct: "(a) direct",
  relay: "(b) raw TLS relay pair",
  before: "(b) two ztunnels of before",
  ambient: "(c) two ambient ztunnels",
};

/** Rows of what was measured, a column for each of the paths. */
export function renderFigures(figures: Figures<PathName>, paths: readonly PathName[]): string {
  const rows: string[][] = [];
  const number = (path: PathName, figure: FigureName, digits: number) => {
    const value = figures.median(path, figure);
    return value === undefined ? "–" : value.toFixed(digits);
  };
  const sides = (path: PathName, figure: FigureName, digits: number) => {
    const values = [number(path, `${figure}.client`, digits), number(path, `${figure}.server`, digits)];
    return values.every((value) => value === "–") ? "–" : values.join(" / ");
  };
  const row = (label: string, cell: (path: PathName) => string) => {
    const cells = paths.map(cell);
    if (cells.some((text) => /\d/.test(text))) rows.push([label, ...cells]);
  };
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
  return table(["client side / server side", ...paths.map((path) => TITLES[path])], rows);
}
