/** The figures of the ways between client and server as a table. */
import type { FigureName, Figures } from "../figures.ts";
import { table } from "../table.ts";
import type { HopName } from "./hop.ts";
import { CONNECTIONS, connectionsLabel, DIRECTIONS, STREAMS_LABEL } from "./limits.ts";

const TITLES: Readonly<Record<HopName, string>> = {
  none: "(a) two ztunnels, no waypoint",
  envoy: "(b) Envoy as the waypoint",
  before: "(b) ambient of before as the waypoint",
  ambient: "(c) ambient as the waypoint",
};

/** Rows of what was measured, a column for each of the ways. */
export function renderHops(figures: Figures<HopName>, hops: readonly HopName[]): string {
  const rows: string[][] = [];
  const number = (hop: HopName, figure: FigureName, digits: number) => {
    const value = figures.median(hop, figure);
    return value === undefined ? "–" : value.toFixed(digits);
  };
  const row = (label: string, cell: (hop: HopName) => string) => {
    const cells = hops.map(cell);
    if (cells.some((text) => /\d/.test(text))) rows.push([label, ...cells]);
  };
  const requests = (figure: string, label: string) => {
    row(`requests/s, ${label}`, (hop) => number(hop, `${figure}.rate`, 0));
    row("– p50 / p99, ms", (hop) => `${number(hop, `${figure}.p50`, 3)} / ${number(hop, `${figure}.p99`, 3)}`);
    row("– the waypoint's CPU per request, µs", (hop) => number(hop, `${figure}.cpu`, 1));
  };
  for (const connections of CONNECTIONS) requests(`h1.${connections}`, connectionsLabel(connections));
  requests("h2", STREAMS_LABEL);
  for (const direction of DIRECTIONS) {
    row(`Gbit/s ${direction} in bodies of 1 MB`, (hop) => number(hop, `bodies.${direction}.rate`, 2));
    row("– the waypoint's CPU per GB, s", (hop) => number(hop, `bodies.${direction}.cpu`, 2));
  }
  row("the waypoint's memory idle, MB", (hop) => number(hop, "idle.memory", 1));
  row("– after all this, MB", (hop) => number(hop, "used.memory", 1));
  return table(["client ─ ztunnel ═ … ═ ztunnel ─ application", ...hops.map((hop) => TITLES[hop])], rows);
}
