/** What is known of one request or TCP connection while it runs and when it ends: Envoy's StreamInfo. */
import type { RequestHead, ResponseHead } from "../http/message.ts";
import type { HeaderList } from "../http2/mod.ts";
import type { SocketAddress } from "../net/address.ts";
import type { ClusterEndpoint, ClusterService } from "./snapshot/mod.ts";

/** Envoy's short response flags. */
export type Flag =
  | "NR"
  | "NC"
  | "UH"
  | "UF"
  | "UO"
  | "UT"
  | "UC"
  | "UR"
  | "LR"
  | "RL"
  | "URX"
  | "DC"
  | "UAEX"
  | "DPE"
  | "UPE"
  | "DI"
  | "FI"
  | "SI"
  | "OM"
  | "DT"
  | "UMSDR"
  | "IH";

/** The connection that a request or TCP stream came in on. */
export interface DownstreamInfo {
  /** Original client: the tunnel's peer address. */
  readonly remote: SocketAddress;
  /** Original destination; for an authority with a host name the waypoint's own address with its port. */
  readonly local: SocketAddress;
  /** Where the client wanted to go, if it said an address. */
  readonly originalDestination: SocketAddress | undefined;
  /** Authority of the CONNECT. */
  readonly authority: string;
  /** SPIFFE URI of the tunnel's peer. */
  readonly peerPrincipal: string | undefined;
  /** Namespace of the peer's identity. */
  readonly sourceNamespace: string | undefined;
  /** Our own SPIFFE URI. */
  readonly localPrincipal: string | undefined;
  /** In lower case. */
  readonly requestedServerName: string | undefined;
  /** Why `requestedServerName` says nothing; absent: it is what the client asked for, undefined when it asked for none. */
  readonly serverNameUnknown?: string;
}

export class StreamInfo {
  readonly downstream: DownstreamInfo;
  /** performance.now() */
  readonly startedAt: number;
  /** ms since the epoch, with fractions. */
  readonly startTime: number;
  /** performance.now() at the end; 0 before. */
  endedAt = 0;
  /** performance.now() when the request's last byte was read, the first upstream byte sent, the response's first and last byte read; 0: has not happened. */
  requestReceivedAt = 0;
  upstreamSentAt = 0;
  responseFirstByteAt = 0;
  responseReceivedAt = 0;
  /** The request as it is forwarded now (changes are seen); undefined for TCP. */
  request: RequestHead | undefined = undefined;
  /** Path before it was rewritten or normalised; undefined: it was not. */
  originalPath: string | undefined = undefined;
  response: ResponseHead | undefined = undefined;
  requestTrailers: HeaderList | undefined = undefined;
  responseTrailers: HeaderList | undefined = undefined;
  /** 0: none was sent. */
  responseCode = 0;
  /** e.g. `via_upstream`, `route_not_found`, `rbac_access_denied_matched_policy[none]`. */
  responseCodeDetails = "";
  connectionTerminationDetails = "";
  upstreamFailure = "";
  readonly flags: Flag[] = [];
  /** Body bytes (TCP: all bytes) from and to the client. */
  bytesReceived = 0;
  bytesSent = 0;
  routeName = "";
  clusterName = "";
  service: ClusterService | undefined = undefined;
  endpoint: ClusterEndpoint | undefined = undefined;
  /** `ip:port` that the endpoint in use has. */
  upstreamAddress = "";
  /** Our side of the upstream connection, `ip:port`; empty when it is not known. */
  upstreamLocalAddress = "";
  attempts = 0;
  /** gRPC: messages counted in both directions. */
  requestMessages = 0;
  responseMessages = 0;
  /** Dynamic metadata by filter: verdicts of dry runs, JWT payloads. */
  metadata: Map<string, Record<string, unknown>> | undefined = undefined;

  constructor(downstream: DownstreamInfo) {
    this.downstream = downstream;
    this.startedAt = performance.now();
    this.startTime = performance.timeOrigin + this.startedAt;
  }

  flag(flag: Flag): void {
    if (!this.flags.includes(flag)) this.flags.push(flag);
  }

  /** Response flags as text: `UF,URX`, or `-`. */
  get flagText(): string {
    return this.flags.length === 0 ? "-" : this.flags.join(",");
  }
}
