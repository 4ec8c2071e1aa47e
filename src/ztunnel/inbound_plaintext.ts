import { localAddress, originalDestination, peerAddress } from "../linux/mod.ts";
import { type InboundRoute, type MeshState, resolvePlaintext, type Workload } from "../mesh/mod.ts";
import type { SocketAddress } from "../net/address.ts";
import type { TcpEndpoint } from "../net/tcp_endpoint.ts";
import type { ConnectionSummary } from "./connection.ts";
import { callerOf } from "./data_plane.ts";
import { InboundConnection } from "./inbound_connection.ts";
import type { WorkloadContext } from "./workload_context.ts";

/** A captured incoming connection without HBONE: it has no identity (spec/ztunnel.md §6.8). */
class PlaintextConnection extends InboundConnection {
  protected override readonly trace = undefined;
  readonly #downstream: TcpEndpoint;
  readonly #peer: SocketAddress;
  readonly #destination: SocketAddress;

  constructor(
    context: WorkloadContext,
    route: InboundRoute,
    downstream: TcpEndpoint,
    peer: SocketAddress,
    destination: SocketAddress,
  ) {
    super(context, route, peer, undefined);
    this.#downstream = downstream;
    this.#peer = peer;
    this.#destination = destination;
  }

  start(): void {
    this.begin({
      reporter: "destination",
      security: "unknown",
      source: this.route.source,
      sourceIdentity: undefined,
      destination: this.route.workload,
      service: this.route.service,
    }, { source: this.#peer, destination: this.#destination });
  }

  protected override accepted(upstream: TcpEndpoint): void {
    this.relayTo(this.#downstream, upstream);
  }

  protected override refused(): void {
    this.#downstream.abort();
  }

  protected override abortDownstream(): void {
    this.#downstream.abort();
  }

  override summary(): ConnectionSummary {
    return { src: this.#peer, originalDst: null, actualDst: this.#destination, protocol: "TCP" };
  }
}

/** Starts an incoming connection for a socket accepted on the plaintext capture port. */
export function acceptPlaintext(context: WorkloadContext, endpoint: TcpEndpoint): void {
  const { fd } = endpoint;
  const peer = peerAddress(fd);
  const destination = originalDestination(fd) ?? localAddress(fd);
  if (peer === undefined || destination === undefined) {
    endpoint.abort(); // reset before it was accepted
    return;
  }
  const { plane, info } = context;
  const refuse = (error: string, local: Workload | undefined) => {
    plane.accessLog.connectionFailed(peer, destination, "inbound", error, {
      source: callerOf(plane, peer),
      destination: local,
    });
    endpoint.abort();
  };
  context.localWorkload(endpoint, (local) => {
    const resolve = (mesh: MeshState) => resolvePlaintext(mesh, { info, local, peer, destination }, plane.routing);
    context.decide(endpoint, resolve, (decision) => {
      if (endpoint.closed) return;
      if (decision.ok) new PlaintextConnection(context, decision, endpoint, peer, destination).start();
      else refuse(decision.error, local);
    }, (error) => refuse(error, local));
  }, (error) => refuse(error, undefined));
}
