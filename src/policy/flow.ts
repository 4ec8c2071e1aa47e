/** What a policy may look at: the facts of one connection at layer 4. */
import { formatIdentity, type Identity } from "../identity/spiffe.ts";

export interface PolicyFlow {
  readonly sourceIp: string;
  /** Address and final port of the workload as it was reached. */
  readonly destinationIp: string;
  readonly destinationPort: number;
  /** From the verified client certificate; undefined for plaintext. */
  readonly identity: Identity | undefined;
}

/** The flow as the predicates read it, prepared once for all policies. */
export interface Facts extends PolicyFlow {
  /** Identity without `spiffe://`, as `principals` match it. */
  readonly principal: string | undefined;
  /** Namespace of the identity, empty without one. */
  readonly namespace: string;
}

const SCHEME = "spiffe://".length;

export function factsOf(flow: PolicyFlow): Facts {
  const identity = flow.identity;
  return {
    sourceIp: flow.sourceIp,
    destinationIp: flow.destinationIp,
    destinationPort: flow.destinationPort,
    identity,
    principal: identity === undefined ? undefined : formatIdentity(identity).slice(SCHEME),
    namespace: identity?.namespace ?? "",
  };
}
