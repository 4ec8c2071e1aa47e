/** What a waypoint is measured at, and how much of Envoy's cost it may have. */
import type { Limit } from "../figures.ts";

export const CONNECTIONS = [1, 32, 256] as const;
/** HTTP/2: so many connections, so many requests outstanding on each. */
export const STREAMS = { connections: 4, streams: 32 } as const;
export const DIRECTIONS = ["up", "down"] as const;

/** Of Envoy's CPU time. */
const HTTP1_CPU = 0.6;
const HTTP2_CPU = 0.8;
const BODY_CPU = 0.8;
/** Of the latency with Envoy in the way, both ztunnels, client and application included. */
const LATENCY = 0.8;
const IDLE_MEMORY_MB = 64;

const ratio = (figure: string, label: string, most: number, unit: string): Limit => ({
  figure,
  label,
  most,
  relative: true,
  unit,
});

function requestLimits(figure: string, load: string, cpu: number): Limit[] {
  return [
    ratio(`${figure}.cpu`, `CPU per request, ${load}`, cpu, "µs"),
    ratio(`${figure}.p50`, `p50, ${load}`, LATENCY, "ms"),
    ratio(`${figure}.p99`, `p99, ${load}`, LATENCY, "ms"),
  ];
}

export const connectionsLabel = (connections: number) => `h1 ${connections} connection${connections === 1 ? "" : "s"}`;
export const STREAMS_LABEL = `h2 ${STREAMS.connections} × ${STREAMS.streams} streams`;

export const LIMITS: readonly Limit[] = [
  ...CONNECTIONS.flatMap((connections) => requestLimits(`h1.${connections}`, connectionsLabel(connections), HTTP1_CPU)),
  ...requestLimits("h2", STREAMS_LABEL, HTTP2_CPU),
  ...DIRECTIONS.map((direction) => ratio(`bodies.${direction}.cpu`, `CPU per GB ${direction}`, BODY_CPU, "s")),
  { figure: "idle.memory", label: "idle memory", most: IDLE_MEMORY_MB, relative: false, unit: "MB" },
];
