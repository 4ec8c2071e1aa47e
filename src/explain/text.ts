/** An explanation for people. */
import type { PolicyExplanation } from "../policy/mod.ts";
import type {
  ExplainedCertificate,
  ExplainedHop,
  ExplainedInbound,
  ExplainedOutbound,
  ExplainedWorkload,
  Explanation,
} from "./explanation.ts";

/** Several lines, the verdict first, ended by a line feed. */
export function explanationText(explanation: Explanation): string {
  const { source, destination, hops, verdict } = explanation;
  const lines = [
    `${source.asked} -> ${destination.asked}: ${verdict.outcome.toUpperCase()}${
      verdict.doubt === undefined ? "" : ", BUT DOUBTFUL"
    }`,
    ...(verdict.summary === verdict.outcome ? [] : [`  ${verdict.summary}`]),
    "",
    `source       ${
      source.workload === undefined ? `${source.ip}, unknown to the mesh` : workloadText(source.workload)
    }`,
    `destination  ${destination.address}`,
    ...(destination.notes ?? []).map((note) => `note         ${note}`),
  ];
  for (const [index, hop] of hops.entries()) lines.push("", ...hopLines(hop, index));
  return `${lines.join("\n")}\n`;
}

function workloadText({ namespace, name, identity, addresses, node }: ExplainedWorkload): string {
  return `${namespace}/${name} (${addresses.join(", ") || "no address"}${
    node === "" ? "" : `, node ${node}`
  }) ${identity}`;
}

function hopLines({ outbound, certificate, inbound }: ExplainedHop, index: number): string[] {
  return [
    index === 0 ? "outbound" : "outbound, from the waypoint",
    ...outboundLines(outbound),
    ...(certificate === undefined ? [] : [`  certificate  ${certificateText(certificate)}`]),
    ...(inbound === undefined ? [] : ["inbound", ...inboundLines(inbound)]),
  ];
}

const ACTIONS: Record<ExplainedOutbound["action"], string> = {
  "hbone": "HBONE: mTLS tunnel",
  "double-hbone": "HBONE twice: through the gateway of another network",
  "tcp": "plain TCP to a workload of the mesh",
  "passthrough": "plain TCP, passed through",
  "refuse": "refused",
  "uncaptured": "plain TCP, not captured",
};

function outboundLines(outbound: ExplainedOutbound): string[] {
  const { action, dial, authority, expectedIdentities, inner, service, workload, error, reasons } = outbound;
  const lines = [`  how          ${ACTIONS[action]}${outbound.throughWaypoint ? ", through a waypoint" : ""}`];
  if (error !== undefined) lines.push(`  error        ${error}`);
  for (const reason of reasons) lines.push(`  because      ${reason}`);
  if (service !== undefined) lines.push(`  service      ${service}`);
  if (workload !== undefined) lines.push(`  workload     ${workloadText(workload)}`);
  if (dial !== undefined) lines.push(`  connect to   ${dial}`);
  if (authority !== undefined) lines.push(`  CONNECT      ${authority}`);
  if (expectedIdentities !== undefined) lines.push(`  peer must be ${anyOf(expectedIdentities)}`);
  if (inner !== undefined) {
    lines.push(`  inside       CONNECT ${inner.authority}, peer must be ${anyOf(inner.expectedIdentities)}`);
  }
  return lines;
}

function anyOf(identities: readonly string[]): string {
  return identities.length === 0 ? "nobody: no identity is known, so the tunnel fails" : identities.join(" or ");
}

function certificateText({ identity, state, expires, error }: ExplainedCertificate): string {
  switch (state) {
    case "available":
      return `of ${identity} is there, until ${expires}`;
    case "initializing":
      return `of ${identity} is being fetched; connections wait for it`;
    case "unavailable":
      return `of ${identity} could not be had: ${error}`;
    case "elsewhere":
      return `of ${identity} is not kept here (a workload of another node, or not used yet)`;
  }
}

function inboundLines(inbound: ExplainedInbound): string[] {
  const { workload, peerIdentity, deliver, status, error, reasons, policies, morePolicies } = inbound;
  const lines = [
    `  at           ${workloadText(workload)}`,
    `  client is    ${peerIdentity ?? "nobody: plain TCP proves no identity"}`,
  ];
  for (const reason of reasons) lines.push(`  because      ${reason}`);
  for (const policy of policies) lines.push(...policyLines(policy));
  if (morePolicies > 0) lines.push(`  policies     and ${morePolicies} more that do not match`);
  if (deliver !== undefined && policies.length === 0) lines.push("  policies     none apply");
  const answer = status === undefined || peerIdentity === null ? "" : ` (${status} to CONNECT)`;
  if (error !== undefined) lines.push(`  error        ${error}${answer}`);
  else if (deliver !== undefined) lines.push(`  deliver to   ${deliver}`);
  return lines;
}

function policyLines(policy: PolicyExplanation): string[] {
  if (!policy.known) return [`  policy       ${policy.key} is named by the workload and not known: it is skipped`];
  const { key, action, scope, dryRun, matched, place, misses, moreMisses } = policy;
  const what = `${dryRun ? "dry run of " : ""}${action.toUpperCase()}, ${scope}`;
  const head = `  policy       ${key} (${what}) ${matched ? `matches: ${place}` : "does not match"}`;
  if (matched) return [head];
  const why = misses.map(({ place: where, reason }) => `                 ${where} ${reason}`);
  if (misses.length === 0) why.push("                 it has no rules");
  if (moreMisses > 0) why.push(`                 and ${moreMisses} more rules`);
  return [head, ...why];
}
