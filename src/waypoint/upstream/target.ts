/** Where an upstream byte stream goes and how. Plain data, built once for each endpoint of a cluster. */
import type { HeaderList } from "../../http2/mod.ts";
import type { SocketAddress } from "../../net/address.ts";
import type { UpstreamTls } from "../snapshot/mod.ts";

export interface StreamTarget {
  /** What tells this target from others of its cluster: everything that makes two connections not interchangeable. */
  readonly key: string;
  /**
   * Made for one flow (its SNI, its PROXY header): what it has in common with other flows to the same host. Targets of one
   * basis with equal keys are equal. undefined: every flow to the host has this target.
   */
  readonly basis?: StreamTarget | undefined;
  /** Of a basis: what each flow adds to it. */
  readonly perFlow?: { readonly sni: boolean; readonly proxyProtocol: "V1" | "V2" | undefined } | undefined;
  readonly kind: "hbone" | "double-hbone" | "tcp";
  /** The application. */
  readonly address: SocketAddress;
  /** Further addresses of the same endpoint, tried 300 ms apart (RFC 8305); tcp only. */
  readonly additionalAddresses?: readonly SocketAddress[];
  /** Where the tunnel goes; default `address.ip`:15008. */
  readonly tunnel?: SocketAddress | undefined;
  /** Authority of the CONNECT; default `address`. */
  readonly authority?: string | undefined;
  /** SPIFFE ids of which the tunnel's peer must show one. */
  readonly expectedIdentities: readonly string[];
  /** Further fields of the CONNECT: baggage, traceparent, forwarded. */
  readonly connectHeaders?: HeaderList;
  /** TLS that the waypoint originates, inside the tunnel if there is one. `sni` is final: auto SNI has been applied; undefined: none is sent. */
  readonly tls?: (Omit<UpstreamTls, "autoSni" | "sni"> & { readonly sni: string | undefined }) | undefined;
  /** A PROXY protocol header before everything, with these addresses. */
  readonly proxyProtocol?:
    | { readonly version: "V1" | "V2"; readonly source: SocketAddress; readonly destination: SocketAddress }
    | undefined;
  readonly keepAlive?: { readonly timeMs: number; readonly intervalMs: number; readonly probes: number } | undefined;
  readonly connectTimeoutMs: number;
}

/** What is known of a connection that was made. */
export interface UpstreamConnectionInfo {
  /** Our side, `ip:port`; empty when it is not known (a stream in a tunnel). */
  readonly localAddress: string;
  /** ALPN protocol that TLS agreed on; empty: none. */
  readonly alpn: string;
}

export interface UpstreamConnectFailure {
  /** For access logs and bodies of local replies. */
  readonly detail: string;
  readonly timedOut: boolean;
  /** The tunnel is there, but its peer refused this stream. To HTTP that is a connection that ended, as in Envoy. */
  readonly refused?: true;
}
