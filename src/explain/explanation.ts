/** What `ambient explain` answers: plain data for JSON, made by explain.ts and written out by text.ts. */
import type { CertificateState } from "../identity/mod.ts";
import type { PolicyExplanation } from "../policy/mod.ts";

/** A workload as the one who asks knows it. */
export interface ExplainedWorkload {
  readonly uid: string;
  readonly name: string;
  readonly namespace: string;
  readonly identity: string;
  readonly addresses: readonly string[];
  readonly node: string;
  readonly protocol: "HBONE" | "TCP";
}

/** The certificate with which an identity is proved, as far as this process has it. */
export interface ExplainedCertificate {
  readonly identity: string;
  /** `elsewhere`: another node's ztunnel keeps it. */
  readonly state: CertificateState | "elsewhere";
  /** RFC 3339; when the certificate ends. */
  readonly expires?: string;
  /** Why there is none. */
  readonly error?: string;
}

/** A connect of this process that failed lately, with none since that went well. */
export interface ExplainedFailure {
  /** Who was dialled, `namespace/name`: an endpoint, waypoint or gateway. */
  readonly workload: string;
  /** As the access log had it. */
  readonly error: string;
  readonly secondsAgo: number;
  /** Whether a connection would be made there now. */
  readonly dialled: boolean;
}

/** What leaves the client's node. */
export interface ExplainedOutbound {
  /** `uncaptured`: the client is not in the mesh, or calls itself, so no ztunnel decides for it. */
  readonly action: "hbone" | "double-hbone" | "tcp" | "passthrough" | "refuse" | "uncaptured";
  /** Address that is dialled, `ip:port`. */
  readonly dial?: string;
  /** What the CONNECT request asks for. */
  readonly authority?: string;
  /** SPIFFE ids of which the peer must prove one. */
  readonly expectedIdentities?: readonly string[];
  /** Of double HBONE: what is asked of the inner peer, and whom it must prove to be. */
  readonly inner?: { readonly authority: string; readonly expectedIdentities: readonly string[] };
  /** `namespace/hostname` */
  readonly service?: string;
  readonly workload?: ExplainedWorkload;
  readonly throughWaypoint: boolean;
  /** Why a connection is refused, or its tunnel cannot come about. */
  readonly error?: string;
  /** The reason behind an error that does not tell it: that the service has no such port. */
  readonly cause?: string;
  readonly reasons: readonly string[];
  /** Of all who were dialled for this destination, the one that would be dialled now first. Absent: none. */
  readonly failedLately?: readonly ExplainedFailure[];
}

/** What happens at the node of the workload that is reached. */
export interface ExplainedInbound {
  readonly workload: ExplainedWorkload;
  /** SPIFFE id that the policies see; null: plaintext, nobody. */
  readonly peerIdentity: string | null;
  /** The application's address; absent when the tunnel or the request is turned away before the policies. */
  readonly deliver?: string;
  /** Answer to CONNECT when it is turned away; 401 is the policies'. */
  readonly status?: number;
  readonly error?: string;
  readonly reasons: readonly string[];
  /** Every policy that applies, in the order of evaluation; those that the record names and nobody knows last. */
  readonly policies: readonly PolicyExplanation[];
  /** Policies that did not match and that `policies` leaves out, as there are so many. */
  readonly morePolicies: number;
}

/** One hop: from a client to what it reaches, and, behind a waypoint, the waypoint's own way on. */
export interface ExplainedHop {
  readonly outbound: ExplainedOutbound;
  /** The client's certificate, where the hop needs one. */
  readonly certificate?: ExplainedCertificate;
  readonly inbound?: ExplainedInbound;
}

export interface Explanation {
  readonly source: { readonly asked: string; readonly workload?: ExplainedWorkload; readonly ip: string };
  readonly destination: {
    readonly asked: string;
    readonly address: string;
    /** How the question was read, where there was another way. */
    readonly notes?: readonly string[];
  };
  /** The first is the client's; a second one is that of the waypoint in between. */
  readonly hops: readonly ExplainedHop[];
  readonly verdict: {
    /** `unknown`: somebody else decides, who is named. */
    readonly outcome: "allowed" | "denied" | "refused" | "unknown";
    /** One sentence. */
    readonly summary: string;
    /** Nobody forbids the connection, and yet the last one failed: how. */
    readonly doubt?: string;
  };
}
