/** What resolving a flow yields: values that the data path executes and that explain themselves. */
import type { SocketAddress } from "../net/address.ts";
import type { Reason } from "./reason.ts";
import type { Workload, WorkloadInfo } from "./workload.ts";

/** The part of the configuration that routing depends on; one object for the life of the process. */
export interface RoutingSettings {
  /** Network of this node (NETWORK). */
  readonly network: string;
  /** Port at which HBONE peers listen: 15008. */
  readonly hbonePort: number;
  /** Our own capture ports, never a legal target. */
  readonly illegalPorts: readonly number[];
  /** LOCALHOST_APP_TUNNEL */
  readonly localhostAppTunnel: boolean;
}

/** A service as access log and metrics name it. */
export interface ServiceReference {
  readonly hostname: string;
  readonly name: string;
  readonly namespace: string;
}

/** One captured outgoing connection. */
export interface OutboundFlow {
  /** Who the pod is. */
  readonly info: WorkloadInfo;
  /** Its record, from MeshState.localWorkload; undefined when waiting for it was in vain. */
  readonly source: Workload | undefined;
  /** Peer of the accepted socket: the application. */
  readonly downstream: SocketAddress;
  /** Original destination. */
  readonly destination: SocketAddress;
}

interface Routed {
  readonly dial: SocketAddress;
  readonly source: Workload;
  readonly reasons: readonly Reason[];
}

/**
 * The second tunnel, inside the stream to a gateway of another network (double HBONE, spec/ztunnel.md §5 step 7): its
 * peer is the workload or waypoint there, which only the service's alternative names can vouch for.
 */
export interface InnerTunnel {
  readonly authority: string;
  /** SPIFFE ids of which the inner peer must show one; empty: nobody can be trusted, and the connection fails. */
  readonly expectedIdentities: readonly string[];
}

/** Through an mTLS tunnel: connect to `dial`, then CONNECT `authority`. */
export interface HboneRoute extends Routed {
  readonly action: "hbone";
  readonly authority: string;
  /** SPIFFE ids of which the peer must show one. The same array for the same hop: usable as part of a pool key. */
  readonly expectedIdentities: readonly string[];
  /** Whom telemetry calls the destination: the endpoint, or the waypoint in front of it; never the gateway. */
  readonly workload: Workload;
  /** Who is at `dial`: `workload`, or the gateway in front of it. What `Choice.avoid` has to be told of failures. */
  readonly hop: Workload;
  readonly service: ServiceReference | undefined;
  /** Present: `dial` is the gateway of another network, and this tunnel goes on inside. */
  readonly inner: InnerTunnel | undefined;
}

/** Plain TCP to a workload the mesh knows. */
export interface TcpRoute extends Routed {
  readonly action: "tcp";
  readonly workload: Workload;
  readonly service: ServiceReference | undefined;
}

/** Plain TCP to a destination the mesh does not know. */
export interface PassthroughRoute extends Routed {
  readonly action: "passthrough";
  readonly workload: undefined;
  readonly service: undefined;
}

/** Close the downstream connection and log `error`. */
export interface Refusal {
  readonly action: "refuse";
  readonly error: string;
  readonly source: Workload | undefined;
  readonly reasons: readonly Reason[];
}

/** The chosen workload (destination, waypoint or gateway) has only a name: resolve it, and ask `proceed` (§4.5). */
export interface AddressLookup {
  readonly action: "lookup";
  readonly hostname: string;
  /** An address of this family is taken if there is one, else any. */
  readonly prefer: "IPv4" | "IPv6";
  readonly source: Workload;
  readonly workload: Workload;
  readonly reasons: readonly Reason[];
  /** The decision once the address is known. Pure, as the rest. */
  readonly proceed: (ip: string) => OutboundDecision;
}

export type OutboundDecision = HboneRoute | TcpRoute | PassthroughRoute | AddressLookup | Refusal;

/** What a decision takes from outside where several answers are right; injected, so that choices can be repeated. */
export interface Choice {
  /** Uniform in [0, 1). */
  readonly random: () => number;
  /** Endpoints that are passed over as long as there is another one: they failed lately. undefined: none. */
  readonly avoid?: ((workload: Workload) => boolean) | undefined;
}

/** One CONNECT request that came in over HBONE. */
export interface InboundRequest {
  readonly info: WorkloadInfo;
  /** The workload the listener belongs to; undefined when waiting for its record was in vain. */
  readonly local: Workload | undefined;
  /** `:authority` as received. */
  readonly authority: string;
  /** Address of the accepted socket: the pod and 15008. */
  readonly destination: SocketAddress;
  /** Peer of the HBONE connection. */
  readonly peer: SocketAddress;
  /** `host=` of the forwarded header. */
  readonly forwardedHost: string | undefined;
  /** x-forwarded-network. */
  readonly forwardedNetwork: string | undefined;
  /** The listener in ztunnel's own namespace (POD_NAME and so on set): source addresses are not preserved. */
  readonly selfListener: boolean;
}

/** One captured incoming plaintext connection. */
export interface PlaintextFlow {
  readonly info: WorkloadInfo;
  readonly local: Workload | undefined;
  readonly peer: SocketAddress;
  /** Original destination. */
  readonly destination: SocketAddress;
}

/** Deliver to the application, after the policies agreed. */
export interface InboundRoute {
  readonly ok: true;
  readonly dial: SocketAddress;
  /** Bind this source address toward the application if the kernel lets us; undefined: do not. */
  readonly sourceIp: string | undefined;
  /** Destination as policies see it: the pod's address and the final port. */
  readonly policyDestination: SocketAddress;
  /** Present: a PROXY v2 header with this destination goes to the application first (§6.6). */
  readonly proxyDestination: SocketAddress | undefined;
  readonly workload: Workload;
  /** The caller's record, for telemetry; never used to trust it. */
  readonly source: Workload | undefined;
  readonly service: ServiceReference | undefined;
  readonly reasons: readonly Reason[];
}

export interface InboundRefusal {
  readonly ok: false;
  /** Answer to a CONNECT; for plaintext the connection is just closed. */
  readonly status: 400 | 503;
  readonly error: string;
  readonly reasons: readonly Reason[];
}

export type InboundDecision = InboundRoute | InboundRefusal;
