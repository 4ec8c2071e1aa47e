/** A connection at the node of the workload that it reaches: delivery, then the policies. */
import { parseIdentity } from "../identity/mod.ts";
import {
  type InboundDecision,
  type MeshState,
  renderReason,
  type Workload,
  workloadIdentity,
  type WorkloadInfo,
} from "../mesh/mod.ts";
import { formatAddress } from "../net/address.ts";
import { authorize, explainPolicies, type PolicyFlow, policyRejection } from "../policy/mod.ts";
import type { ExplainedInbound, ExplainedWorkload } from "./explanation.ts";

export function infoOf({ name, namespace, serviceAccount }: Workload): WorkloadInfo {
  return { name, namespace, serviceAccount };
}

export function described(workload: Workload | undefined): { readonly workload?: ExplainedWorkload } {
  if (workload === undefined) return {};
  const { uid, name, namespace, addresses, node, protocol } = workload;
  return { workload: { uid, name, namespace, identity: workloadIdentity(workload), addresses, node, protocol } };
}

/**
 * What becomes of a connection that `workload` is about to take.
 *
 * @param identity SPIFFE id of the client; undefined: plaintext
 * @param ip the client's
 */
export function arrival(
  mesh: MeshState,
  workload: Workload,
  decision: InboundDecision,
  identity: string | undefined,
  ip: string,
): ExplainedInbound {
  const common = {
    workload: described(workload).workload as ExplainedWorkload,
    peerIdentity: identity ?? null,
    reasons: decision.reasons.map(renderReason),
  };
  if (!decision.ok) return { ...common, status: decision.status, error: decision.error, policies: [], morePolicies: 0 };
  const flow: PolicyFlow = {
    sourceIp: ip,
    destinationIp: decision.policyDestination.ip,
    destinationPort: decision.policyDestination.port,
    identity: identity === undefined ? undefined : parseIdentity(identity),
  };
  const set = mesh.policiesFor(workload);
  const verdict = authorize(set, flow);
  const { policies, more } = explainPolicies(set, flow);
  return {
    ...common,
    deliver: formatAddress(decision.dial),
    ...(verdict.allowed ? {} : { status: 401, error: policyRejection(verdict.rejection) }),
    policies,
    morePolicies: more,
  };
}
