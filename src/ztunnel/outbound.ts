import {
  type ConnectFailure,
  connectFailure,
  type ConnectOwner,
  formatForwarded,
  formatTraceParent,
  type InnerTunnelOwner,
  newTraceParent,
  openInnerTunnel,
  parseBaggage,
  type Pool,
  type StreamEndpoint,
} from "../hbone/mod.ts";
import type { HeaderList } from "../http2/mod.ts";
import { localAddress, originalDestination, peerAddress } from "../linux/mod.ts";
import {
  type AddressLookup,
  type Choice,
  destinationOf,
  type HboneRoute,
  type InnerTunnel,
  type OutboundDecision,
  type PassthroughRoute,
  resolveOutbound,
  type TcpRoute,
  unknownLocalWorkload,
  withoutReasons,
  type Workload,
} from "../mesh/mod.ts";
import { formatAddress, type SocketAddress } from "../net/address.ts";
import { type DialError, type DialOwner, dialTcp } from "../net/tcp.ts";
import type { TcpEndpoint } from "../net/tcp_endpoint.ts";
import type { FailedConnection, TrafficFlow } from "../telemetry/mod.ts";
import { baggageOf } from "./baggage_cache.ts";
import { baggageWorkload } from "./baggage_workload.ts";
import { Connection, type ConnectionSummary, type GoOn, type PlainConnection, type PlainRelay } from "./connection.ts";
import type { WorkloadContext } from "./workload_context.ts";

type Route = HboneRoute | TcpRoute | PassthroughRoute;

/** Attempts for one connection: the second one only at another endpoint. */
const MAX_ATTEMPTS = 2;

/**
 * A connection of an application in the pod on its way out (spec/ztunnel.md §5): resolve, then tunnel or connect, then
 * relay. Bytes that the application sends meanwhile wait in the downstream endpoint, so that until the relay begins
 * nothing of them has left and another endpoint can be tried.
 */
export class OutboundConnection extends Connection implements ConnectOwner, InnerTunnelOwner, DialOwner {
  readonly direction = "outbound" as const;
  readonly #context: WorkloadContext;
  readonly #downstream: TcpEndpoint;
  readonly #source: SocketAddress;
  readonly #destination: SocketAddress;
  readonly #pool: Pool;
  #attempts = 0;
  #route: Route | undefined = undefined;
  /** What is under way before the relay. */
  #pending: { abandon(): void } | undefined = undefined;
  #headers: HeaderList | undefined = undefined;

  constructor(
    context: WorkloadContext,
    pool: Pool,
    downstream: TcpEndpoint,
    source: SocketAddress,
    destination: SocketAddress,
  ) {
    super(context.plane.accessLog, context.tracker);
    this.#context = context;
    this.#pool = pool;
    this.#downstream = downstream;
    this.#source = source;
    this.#destination = destination;
  }

  /** Resolves where to go, waiting for the pod's own record if need be, and goes there. */
  start(): void {
    this.#context.localWorkload(
      this.#downstream,
      (source) => this.#decide(source),
      (error) => this.#refuse(error, {}),
    );
  }

  #decide(source: Workload | undefined): void {
    this.#context.decide(
      this.#downstream,
      () => this.#resolve(source, this.#ejected(source)),
      (decision) => this.#execute(decision),
      (error) => this.#refuse(error, { source }),
    );
  }

  /** Whom this pod's connects to the destination pass over. */
  #ejected(source: Workload | undefined): Choice["avoid"] {
    return source && this.#context.plane.ejections?.avoid(source, this.#destination);
  }

  #resolve(source: Workload | undefined, avoid: Choice["avoid"]): OutboundDecision {
    const { plane, info } = this.#context;
    const flow = { info, source, downstream: this.#source, destination: this.#destination };
    return resolveOutbound(plane.mesh.current, flow, plane.routing, { random: Math.random, avoid });
  }

  #execute(decision: OutboundDecision): void {
    if (this.#downstream.closed) return;
    switch (decision.action) {
      case "refuse":
        return this.#refuse(decision.error, { source: decision.source, ...meantFor(decision) });
      case "lookup":
        return this.#lookUp(decision);
      case "hbone": {
        const identity = this.#context.identityOf(decision.source);
        return this.#context.certificate(
          this.#downstream,
          identity,
          () => this.#connect(decision, identity),
          (error) => this.#withoutCertificate(decision, identity, error),
        );
      }
      default:
        return this.#connect(decision, undefined);
    }
  }

  /** Turns the connection away before it counts: nobody was dialled. */
  #refuse(error: string, known: FailedConnection): void {
    if (this.#downstream.closed) return;
    this.#context.plane.accessLog.connectionFailed(this.#source, this.#destination, "outbound", error, known);
    this.#downstream.abort();
  }

  /** The workload has only a name (spec/ztunnel.md §4.5). */
  #lookUp(decision: AddressLookup): void {
    const { plane } = this.#context;
    const { hostname, source, workload } = decision;
    plane.onDemandDns.count(source, hostname);
    const known = { source, ...meantFor(decision) };
    this.#context.address(this.#downstream, hostname, decision.prefer, (result) => {
      if ("ip" in result) this.#execute(decision.proceed(result.ip));
      else this.#refuse(lookupError(result.error, workload), known);
    }, (error) => this.#refuse(error, known));
  }

  /** The flow as metrics and access log see it. */
  #flow(route: Route, identity: string | undefined): TrafficFlow {
    return {
      reporter: "source",
      security: route.action === "hbone" ? "mutual_tls" : "unknown",
      source: route.source,
      sourceIdentity: identity,
      destination: route.workload,
      service: route.service,
    };
  }

  protected override plain(): PlainConnection | undefined {
    const route = this.#route;
    if (route === undefined || route.action === "hbone") return undefined;
    const { direction } = this;
    const workload = route.workload?.uid;
    return {
      ...{ direction, source: this.#source, destination: this.#destination },
      ...{ dialled: route.dial, workload, service: route.service },
    };
  }

  /** Goes on with the relay of another process; our end is `downstream`. */
  goOn(route: TcpRoute | PassthroughRoute, upstream: TcpEndpoint, relay: PlainRelay): void {
    this.#route = route;
    const traffic = this.#context.plane.traffic.lookup(this.#flow(route, undefined));
    const ends = { source: this.#source, destination: route.dial };
    this.continued(traffic, ends, this.#downstream, upstream, relay);
  }

  #open(route: Route, identity: string | undefined): void {
    this.#route = withoutReasons(route);
    const traffic = this.#context.plane.traffic.lookup(this.#flow(route, identity));
    const tunnelled = route.action === "hbone";
    const ends = {
      source: this.#source,
      destination: route.dial,
      hboneAuthority: tunnelled ? route.authority : undefined,
    };
    if (tunnelled && route.inner !== undefined) this.begun(traffic, ends);
    else this.opened(traffic, ends);
  }

  #connect(route: Route, identity: string | undefined): void {
    if (this.#downstream.closed) return;
    const attempt = ++this.#attempts;
    this.#open(route, identity);
    if (route.action !== "hbone") {
      const dial = dialTcp(route.dial, undefined, this.#context.dialOptions, this);
      // It may have failed at once, and another attempt be under way.
      if (this.#attempts === attempt) this.#pending = { abandon: () => dial.cancel() };
      return;
    }
    this.#headers = this.#connectHeaders(route);
    this.#pending = this.#pool.connect(
      {
        sourceIdentity: identity as string,
        sourceIp: this.#source.ip,
        expectedIdentities: route.expectedIdentities,
        destination: route.dial,
      },
      this.#headers,
      this,
    );
  }

  /** A tunnel without a certificate of the pod: known to the metrics as what it is, and not as a policy's doing. */
  #withoutCertificate(route: HboneRoute, identity: string, error: string): void {
    if (this.#downstream.closed) return;
    this.#open(route, identity);
    this.#fail(connectFailure(error, "IDENTITY_ERROR"));
  }

  #connectHeaders(route: HboneRoute): HeaderList {
    return [
      [":method", "CONNECT"],
      [":authority", route.authority],
      ["baggage", baggageOf(route.source)],
      ["forwarded", formatForwarded(this.#source, route.service?.hostname)],
      ["traceparent", formatTraceParent(newTraceParent())],
    ];
  }

  connected(endpoint: StreamEndpoint): void {
    const route = this.#route as HboneRoute;
    if (this.ended) endpoint.abort();
    else if (route.inner !== undefined) this.#connectInside(route, route.inner, endpoint);
    else this.#relay(endpoint);
  }

  /** The gateway let us through: the second tunnel begins (spec/ztunnel.md §5 step 7). */
  #connectInside(route: HboneRoute, inner: InnerTunnel, outer: StreamEndpoint): void {
    const { plane } = this.#context;
    const headers = (this.#headers as HeaderList).map(([name, value]): [string, string] =>
      name === ":authority" ? [name, inner.authority] : [name, value]
    );
    headers.push(["x-forwarded-network", plane.routing.network]);
    const sourceIdentity = this.#context.identityOf(route.source);
    const target = { sourceIdentity, expectedIdentities: inner.expectedIdentities };
    this.#pending = openInnerTunnel(plane.tunnel, outer, target, headers, this);
  }

  innerConnected(
    endpoint: StreamEndpoint,
    { peerIdentity, headers }: { readonly peerIdentity: string; readonly headers: HeaderList },
  ): void {
    if (this.ended) {
      endpoint.abort();
      return;
    }
    const route = this.#route as HboneRoute;
    const lines = headers.flatMap(([name, value]) => name === "baggage" ? [value] : []);
    this.count(this.#context.plane.traffic.lookup({
      ...this.#flow(route, this.#context.identityOf(route.source)),
      ...(lines.length === 0 ? {} : { destinationBaggage: baggageWorkload(parseBaggage(lines)) }),
      destinationIdentity: peerIdentity,
    }));
    this.#relay(endpoint);
  }

  dialed(endpoint: TcpEndpoint): void {
    if (this.ended) endpoint.abort();
    else this.#relay(endpoint);
  }

  #relay(endpoint: StreamEndpoint | TcpEndpoint): void {
    const route = this.#route as Route;
    const hop = hopOf(route);
    if (hop !== undefined) this.#context.plane.ejections?.succeeded(route.source, hop, this.#destination);
    this.#pending = undefined;
    this.#headers = undefined;
    this.relay(this.#downstream, endpoint);
  }

  dialFailed(error: DialError): void {
    this.connectFailed(connectFailure(`io error: ${error.text}`, "CONNECT", error.ours !== true));
  }

  connectFailed(failure: ConnectFailure): void {
    if (this.ended) return;
    this.#pending = undefined;
    if (!failure.retryable || !this.#tryElsewhere(failure)) this.#fail(failure);
  }

  #fail(failure: ConnectFailure): void {
    this.#downstream.abort();
    this.failed(failure);
  }

  /** Remembers the endpoint that failed, and goes to another one if there is one. */
  #tryElsewhere(failure: ConnectFailure): boolean {
    const { plane } = this.#context;
    const failed = this.#route as Route;
    const hop = hopOf(failed);
    if (plane.ejections === undefined || hop === undefined) return false;
    plane.ejections.failed(failed.source, hop, this.#destination, failure.text);
    plane.connects.endpointEjections.value++;
    if (this.#attempts >= MAX_ATTEMPTS || this.#downstream.closed) return false;
    const decision = this.#another(failed.source, hop);
    if (decision === undefined) return false;
    plane.connects.connectRetries.value++;
    this.retried(failure, decision.dial);
    this.#connect(decision, decision.action === "hbone" ? this.#context.identityOf(decision.source) : undefined);
    return true;
  }

  /** A route that does not lead to `hop`: to an endpoint in good standing, else to any other. */
  #another(source: Workload, hop: Workload): HboneRoute | TcpRoute | undefined {
    const ejected = this.#ejected(source);
    const failed = ({ uid }: Workload) => uid === hop.uid;
    for (const avoid of [ejected, failed]) {
      const decision = this.#resolve(source, avoid);
      if (decision.action !== "hbone" && decision.action !== "tcp") return undefined;
      if (hopOf(decision)?.uid !== hop.uid) return decision;
    }
    return undefined;
  }

  protected override abandon(): void {
    this.#pending?.abandon();
    this.#downstream.abort();
  }

  /** Only the destination's side enforces policies (spec/ztunnel.md §8.3). */
  override recheck(): undefined {
    return undefined;
  }

  override summary(): ConnectionSummary {
    const route = this.#route as Route;
    return {
      src: this.#source,
      originalDst: formatAddress(this.#destination),
      actualDst: route.dial,
      protocol: route.action !== "hbone" ? "TCP" : route.inner === undefined ? "HBONE" : "DOUBLEHBONE",
    };
  }
}

/** Who is at the address that a route dials. */
function hopOf(route: Route): Workload | undefined {
  return route.action === "hbone" ? route.hop : route.workload;
}

/** Whom a connection that goes nowhere was meant for, for its line in the log. */
function meantFor({ reasons }: OutboundDecision): FailedConnection {
  const { workload, service } = destinationOf(reasons);
  return { destination: workload, service };
}

function lookupError(error: "none" | "empty", { uid }: Workload): string {
  return error === "none"
    ? `no ip addresses were resolved for workload: ${uid}`
    : `ip addresses were resolved for workload ${uid}, but valid dns response had no A/AAAA records`;
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
  new OutboundConnection(context, pool, endpoint, source, destination).start();
}

/** How to go on with an outgoing relay of another process; or why not. */
export function continueOutbound(context: WorkloadContext, pool: Pool, relay: PlainRelay): GoOn | string {
  const { mesh } = context.plane;
  const source = mesh.current.localWorkload(context.info);
  if (source === undefined) return unknownLocalWorkload(context.info);
  const workload = relay.workload === undefined ? undefined : mesh.current.workloadByUid(relay.workload);
  const { dialled: dial, service } = relay;
  const route: TcpRoute | PassthroughRoute = workload === undefined
    ? { action: "passthrough", dial, source, workload, service: undefined, reasons: [] }
    : { action: "tcp", dial, source, workload, service, reasons: [] };
  return (downstream, upstream) =>
    new OutboundConnection(context, pool, downstream, relay.source, relay.destination).goOn(route, upstream, relay);
}
