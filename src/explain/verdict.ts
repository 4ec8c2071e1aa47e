/** The end of an explanation: the first obstacle, else who decides elsewhere, else that nothing is in the way. */
import type { ExplainedFailure, ExplainedHop, Explanation } from "./explanation.ts";

/** The way of a connection as far as it can be followed. */
export interface Course {
  readonly hops: readonly ExplainedHop[];
  /** Who decides further on. */
  readonly elsewhere?: string;
  /** Why nobody does. */
  readonly free?: string;
}

type Verdict = Explanation["verdict"];

export function verdictOf({ hops, elsewhere, free }: Course): Verdict {
  for (const [index, hop] of hops.entries()) {
    const verdict = obstacle(hop, index === 0 ? "the client" : waypointOf(hops));
    if (verdict !== undefined) return verdict;
  }
  const doubt = doubtOf(hops);
  const but = doubt === undefined ? "" : `, but ${doubt}`;
  const rest = doubt === undefined ? {} : { doubt };
  if (elsewhere !== undefined) return { outcome: "unknown", summary: `${elsewhere}${but}`, ...rest };
  const allowed = free ?? (doubt === undefined ? "allowed" : "nothing forbids it");
  return { outcome: "allowed", summary: `${allowed}${but}`, ...rest };
}

function obstacle({ outbound, certificate, inbound }: ExplainedHop, client: string): Verdict | undefined {
  const refused = (where: string, why: string | undefined): Verdict => ({
    outcome: "refused",
    summary: `refused at ${where}: ${why}`,
  });
  if (certificate?.state === "unavailable") return refused(client, `identity error: ${certificate.error}`);
  if (outbound.error !== undefined) {
    return refused(client, `${outbound.error}${outbound.cause === undefined ? "" : ` (${outbound.cause})`}`);
  }
  if (inbound?.error === undefined) return undefined;
  if (inbound.status !== 401) return refused("the destination", inbound.error);
  const { namespace, name } = inbound.workload;
  return { outcome: "denied", summary: `denied at ${namespace}/${name}: ${inbound.error}` };
}

function waypointOf([first]: readonly ExplainedHop[]): string {
  const { namespace, name } = first?.outbound.workload ?? {};
  return `the waypoint ${namespace}/${name}`;
}

/** The failure of the one who would be dialled now. */
function doubtOf(hops: readonly ExplainedHop[]): string | undefined {
  for (const { outbound } of hops) {
    const failure = outbound.failedLately?.find(({ dialled }) => dialled);
    if (failure !== undefined) return failureClause(failure);
  }
  return undefined;
}

export function failureClause({ workload, error, secondsAgo }: ExplainedFailure): string {
  return `connects to ${workload} failed lately (${secondsAgo} s ago): ${error}`;
}
