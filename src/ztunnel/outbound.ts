import {
  type ConnectFailure,
  connectFailure,
  type ConnectOwner,
  formatForwarded,
  formatTraceParent,
  newTraceParent,
  type Pool,
  type StreamEndpoint,
} from "../hbone/mod.ts";
import type { HeaderList } from "../http2/mod.ts";
import { localAddress, originalDestination, peerAddress } from "../linux/mod.ts";
import { type HboneRoute, type PassthroughRoute, resolveOutbound, type TcpRoute, type Workload } from "../mesh/mod.ts";
import { formatAddress, type SocketAddress } from "../net/address.ts";
import { type DialError, type DialOwner, dialTcp } from "../net/tcp.ts";
import type { TcpEndpoint } from "../net/tcp_endpoint.ts";
import { baggageOf } from "./baggage_cache.ts";
import { Connection, type ConnectionSummary } from "./connection.ts";
import type { WorkloadContext } from "./workload_context.ts";

type Route = HboneRoute | TcpRoute | PassthroughRoute;

/**
 * A connection of an application in the pod on its way out (spec/ztunnel.md §5): resolve, then tunnel or connect, then
 * relay. Bytes that the application sends meanwhile wait in the downstream endpoint.
 */
export class OutboundConnection extends Connection implements ConnectOwner, DialOwner {
  readonly direction = "outbound" as const;
  readonly #context: WorkloadContext;
  readonly #downstream: TcpEndpoint;
  readonly #source: SocketAddress;
  readonly #destination: SocketAddress;
  #route: Route | undefined = undefined;
  #tunnel: StreamEndpoint | undefined = undefined;

  constructor(context: WorkloadContext, downstream: TcpEndpoint, source: SocketAddress, destination: SocketAddress) {
    super(context.plane.accessLog, context.tracker);
    this.#context = context;
    this.#downstream = downstream;
    this.#source = source;
    this.#destination = destination;
  }

  /** Resolves where to go, waiting for the pod's own record if need be, and goes there. */
  start(pool: Pool): void {
    this.#context.localWorkload(this.#downstream, (source) => this.#resolve(source, pool));
  }

  #resolve(source: Workload | undefined, pool: Pool): void {
    if (this.#downstream.closed) return;
    const { plane, info } = this.#context;
    const decision = resolveOutbound(plane.mesh.current, {
      info,
      source,
      downstream: this.#source,
      destination: this.#destination,
    }, plane.routing);
    if (decision.action === "refuse" || decision.action === "lookup") {
      const error = decision.action === "refuse"
        ? decision.error
        : `unsupported feature: hostname ${decision.hostname} of workload ${decision.workload.uid}`;
      plane.accessLog.connectionFailed(this.#source, this.#destination, "outbound", error);
      this.#downstream.abort();
      return;
    }
    this.#route = decision;
    const tunnelled = decision.action === "hbone";
    const identity = tunnelled ? this.#context.identityOf(decision.source) : undefined;
    this.opened(
      plane.traffic.lookup({
        reporter: "source",
        security: tunnelled ? "mutual_tls" : "unknown",
        source: decision.source,
        sourceIdentity: identity,
        destination: decision.workload,
        service: decision.service,
      }),
      {
        source: this.#source,
        destination: decision.dial,
        hboneAuthority: decision.action === "hbone" ? decision.authority : undefined,
      },
    );
    if (decision.action === "hbone") this.#connectTunnel(decision, identity as string, pool);
    else dialTcp(decision.dial, undefined, this.#context.dialOptions, this);
  }

  #connectTunnel(route: HboneRoute, sourceIdentity: string, pool: Pool): void {
    const headers: HeaderList = [
      [":method", "CONNECT"],
      [":authority", route.authority],
      ["baggage", baggageOf(route.source)],
      ["forwarded", formatForwarded(this.#source, route.service?.hostname)],
      ["traceparent", formatTraceParent(newTraceParent())],
    ];
    this.#tunnel = pool.connect(
      {
        sourceIdentity,
        sourceIp: this.#source.ip,
        expectedIdentities: route.expectedIdentities,
        destination: route.dial,
      },
      headers,
      this,
    );
  }

  connected(endpoint: StreamEndpoint): void {
    if (this.ended) endpoint.abort();
    else this.relay(this.#downstream, endpoint);
  }

  connectFailed(failure: ConnectFailure): void {
    if (this.ended) return;
    this.#downstream.abort();
    this.failed(failure);
  }

  dialed(endpoint: TcpEndpoint): void {
    if (this.ended) endpoint.abort();
    else this.relay(this.#downstream, endpoint);
  }

  dialFailed(error: DialError): void {
    this.connectFailed(connectFailure(`io error: ${error.text}`));
  }

  protected override abandon(): void {
    this.#tunnel?.abandon();
    this.#downstream.abort();
  }

  /** Only the destination's side enforces policies (spec/ztunnel.md §8.3). */
  override allowedBy(): boolean {
    return true;
  }

  override summary(): ConnectionSummary {
    const route = this.#route as Route;
    return {
      src: this.#source,
      originalDst: formatAddress(this.#destination),
      actualDst: route.dial,
      protocol: route.action === "hbone" ? "HBONE" : "TCP",
    };
  }
}

/** Starts an outgoing connection for a socket accepted on the outbound capture port. */
export function acceptOutbound(context: WorkloadContext, pool: Pool, endpoint: TcpEndpoint): void {
  const { fd } = endpoint;
  const source = peerAddress(fd);
  const destination = originalDestination(fd) ?? localAddress(fd);
  if (source === undefined || destination === undefined) {
    endpoint.abort(); // reset before it was accepted
    return;
  }
  new OutboundConnection(context, endpoint, source, destination).start(pool);
}
