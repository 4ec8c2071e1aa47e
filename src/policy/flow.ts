/** What a policy may look at: the facts of one connection at layer 4. */
import { formatIdentity, type Identity } from "../identity/spiffe.ts";
import { type IpBits, ipBits } from "./ranges.ts";

export interface PolicyFlow {
  /** Canonical IP texts; IPv4-mapped IPv6 counts as IPv4. */
  readonly sourceIp: string;
  /** Address and final port of the workload as it was reached. */
  readonly destinationIp: string;
  readonly destinationPort: number;
  /** From the verified client certificate; undefined for plaintext. */
  readonly identity: Identity | undefined;
}

const SCHEME = "spiffe://".length;

/** The flow as the predicates read it, prepared once for all policies; what few policies ask for, when first asked. */
export class Facts implements PolicyFlow {
  readonly sourceIp: string;
  readonly destinationIp: string;
  readonly destinationPort: number;
  readonly identity: Identity | undefined;
  /** Identity without `spiffe://`, as `principals` match it. */
  readonly principal: string | undefined;
  /** Namespace of the identity, empty without one. */
  readonly namespace: string;
  #account: string | undefined;
  #source: IpBits | undefined;
  #destination: IpBits | undefined;

  constructor(flow: PolicyFlow) {
    const identity = flow.identity;
    this.sourceIp = flow.sourceIp;
    this.destinationIp = flow.destinationIp;
    this.destinationPort = flow.destinationPort;
    this.identity = identity;
    this.principal = identity === undefined ? undefined : formatIdentity(identity).slice(SCHEME);
    this.namespace = identity?.namespace ?? "";
  }

  /** Service account as accountKey writes it; undefined without identity. */
  get account(): string | undefined {
    if (this.identity === undefined) return undefined;
    return this.#account ??= accountKey(this.identity.namespace, this.identity.serviceAccount);
  }

  get source(): IpBits {
    return this.#source ??= ipBits(this.sourceIp);
  }

  get destination(): IpBits {
    return this.#destination ??= ipBits(this.destinationIp);
  }
}

/** A service account as one text. Neither part can contain a slash in Kubernetes; a NUL cannot be in any text of it. */
export function accountKey(namespace: string, serviceAccount: string): string {
  return `${namespace}\0${serviceAccount}`;
}
