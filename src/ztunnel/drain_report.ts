/** What a drain waits for: pods, how many connections of each, and the oldest ones, for the log. */
import { formatAddress, type SocketAddress } from "../net/address.ts";
import type { Field } from "../telemetry/mod.ts";
import type { ConnectionSummary } from "./connection.ts";

/** A connection that is still there. */
export interface HeldConnection {
  readonly pod: string;
  readonly direction: "inbound" | "outbound";
  readonly summary: ConnectionSummary;
  /** ms of performance.now() */
  readonly startedAt: number;
}

/** One pod that is not empty yet. */
export interface HoldingPod {
  /** `namespace/name` */
  readonly pod: string;
  /** Let in, and those that wait to be. */
  readonly connections: number;
  readonly waiting: number;
  /** Clients of its DNS over TCP that have not ended, and questions without an answer. */
  readonly questions: number;
  /** Tunnels to it that have not ended. */
  readonly tunnels: number;
  /** Its oldest, in that order; no more than MOST_CONNECTIONS are needed. */
  readonly oldest: readonly HeldConnection[];
}

/** Pods and connections that one line names; the rest is counted. */
const MOST_PODS = 10;
export const MOST_CONNECTIONS = 3;

/**
 * Fields of a log line: `connections=7 pods="a/x: 5, a/y: 2" oldest="a/x outbound HBONE 10.0.0.1:4000 (a/x) ->
 * 10.0.0.2:80 (b/z) since 2026-01-01T00:00:00Z (35 s)"`.
 *
 * @param nameOf `namespace/name` of the workload at an address, where the mesh knows it
 * @param now the same moment on both clocks, ms
 */
export function drainFields(
  pods: readonly HoldingPod[],
  nameOf: (ip: string) => string | undefined,
  now: { readonly monotonic: number; readonly wall: number },
): Field[] {
  const holding = pods
    .filter(({ connections, waiting, questions, tunnels }) => connections + waiting + questions + tunnels > 0)
    .sort((a, b) => b.connections + b.waiting - a.connections - a.waiting);
  const total = holding.reduce((sum, { connections, waiting }) => sum + connections + waiting, 0);
  const named = holding.slice(0, MOST_PODS).map((pod) => `${pod.pod}: ${held(pod)}`);
  if (holding.length > MOST_PODS) named.push(`and ${holding.length - MOST_PODS} more`);
  const place = ({ ip, port }: SocketAddress) => {
    const name = nameOf(ip);
    return `${formatAddress({ ip, port })}${name === undefined ? "" : ` (${name})`}`;
  };
  const oldest = holding.flatMap((pod) => pod.oldest).sort((a, b) => a.startedAt - b.startedAt)
    .slice(0, MOST_CONNECTIONS).map(({ pod, direction, summary, startedAt }) => {
      const age = now.monotonic - startedAt;
      const since = new Date(now.wall - age).toISOString();
      const { protocol, src, actualDst, originalDst } = summary;
      const meant = originalDst === null || originalDst === formatAddress(actualDst) ? "" : ` for ${originalDst}`;
      const seconds = Math.round(age / 1000);
      return `${pod} ${direction} ${protocol} ${place(src)} -> ${
        place(actualDst)
      }${meant} since ${since} (${seconds} s)`;
    });
  return [
    ["connections", total],
    ["pods", named.join(", ")],
    ...(oldest.length === 0 ? [] : [["oldest", oldest.join("; ")] as const]),
  ];
}

function held({ connections, waiting, questions, tunnels }: HoldingPod): string {
  return [
    connections,
    ...(waiting > 0 ? [`${waiting} not let in yet`] : []),
    ...(questions > 0 ? [`${questions} to be answered by DNS`] : []),
    ...(connections + waiting === 0 && tunnels > 0 ? [`tunnels that have not ended: ${tunnels}`] : []),
  ].join(" and ");
}
