import { localAddress, originalDestination, peerAddress } from "../linux/mod.ts";
import { type InboundRoute, type MeshState, resolvePlaintext, type Workload } from "../mesh/mod.ts";
import type { SocketAddress } from "../net/address.ts";
import type { TcpEndpoint } from "../net/tcp_endpoint.ts";
import { authorize, policyRejection } from "../policy/mod.ts";
import type { ConnectionEnds, TrafficFlow } from "../telemetry/mod.ts";
import type { ConnectionSummary, GoOn, PlainConnection, PlainRelay } from "./connection.ts";
import { callerOf } from "./data_plane.ts";
import { InboundConnection, policyFlow } from "./inbound_connection.ts";
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
    this.begin(this.#flow(), this.#ends());
  }

  /** Goes on with the relay of another process. */
  goOn(upstream: TcpEndpoint, relay: PlainRelay): void {
    const { plane, tracker } = this.context;
    tracker.recordKnown(this.route.workload);
    this.continued(plane.traffic.lookup(this.#flow()), this.#ends(), this.#downstream, upstream, relay);
    // Policies may have changed since we were asked whether we want it.
    const refusal = this.recheck(plane.mesh.current.policiesFor(this.route.workload));
    if (refusal !== undefined) this.cut(refusal);
  }

  #flow(): TrafficFlow {
    return {
      reporter: "destination",
      security: "unknown",
      source: this.route.source,
      sourceIdentity: undefined,
      destination: this.route.workload,
      service: this.route.service,
    };
  }

  #ends(): ConnectionEnds {
    return { source: this.#peer, destination: this.#destination };
  }

  protected override plain(): PlainConnection {
    const { direction } = this;
    const destination = this.#destination;
    return {
      direction,
      source: this.#peer,
      destination,
      dialled: destination,
      workload: undefined,
      service: undefined,
    };
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

/** How to go on with an incoming relay of another process; or why not. */
export function continuePlaintext(context: WorkloadContext, relay: PlainRelay): GoOn | string {
  const { plane, info } = context;
  const { source: peer, destination } = relay;
  const mesh = plane.mesh.current;
  const decision = resolvePlaintext(mesh, { info, local: mesh.localWorkload(info), peer, destination }, plane.routing);
  if (!decision.ok) return decision.error;
  const verdict = authorize(mesh.policiesFor(decision.workload), policyFlow(decision, peer, undefined));
  if (!verdict.allowed) return policyRejection(verdict.rejection);
  return (downstream, upstream) =>
    new PlaintextConnection(context, decision, downstream, peer, destination).goOn(upstream, relay);
}
