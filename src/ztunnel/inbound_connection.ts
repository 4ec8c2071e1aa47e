import { type ConnectFailure, connectFailure, newTraceParent, type TraceParent } from "../hbone/mod.ts";
import { formatIdentity, type Identity } from "../identity/mod.ts";
import { type InboundRoute, withoutReasons } from "../mesh/mod.ts";
import { formatAddress, type SocketAddress } from "../net/address.ts";
import type { Endpoint } from "../net/endpoint.ts";
import { writeFirst } from "../net/preface.ts";
import { tunnelProxyHeader } from "../net/proxy_protocol.ts";
import { type Dial, type DialError, type DialOwner, dialTcp } from "../net/tcp.ts";
import type { TcpEndpoint } from "../net/tcp_endpoint.ts";
import { authorize, type PolicyFlow, policyRejection, type PolicySet, type Verdict } from "../policy/mod.ts";
import type { ConnectionEnds, Span, TrafficFlow } from "../telemetry/mod.ts";
import { Connection, type ConnectionFailure } from "./connection.ts";
import { logPolicyEvents, warnOfMissingPolicies } from "./decision_log.ts";
import type { WorkloadContext } from "./workload_context.ts";

const POLICY_CHANGE = "connection closed due to policy change";

/** What policies are asked about. */
export function policyFlow(route: InboundRoute, peer: SocketAddress, identity: Identity | undefined): PolicyFlow {
  const { ip: destinationIp, port: destinationPort } = route.policyDestination;
  return { sourceIp: peer.ip, destinationIp, destinationPort, identity };
}

/** A connection to the application in the pod, once it is resolved: authorize, connect, relay (spec/ztunnel.md §6). */
export abstract class InboundConnection extends Connection implements DialOwner {
  readonly direction = "inbound" as const;
  protected readonly context: WorkloadContext;
  protected readonly route: InboundRoute;
  readonly #peer: SocketAddress;
  readonly #policyFlow: PolicyFlow;
  #dial: Dial | undefined = undefined;
  /** Answers of policies in dry run that were counted: each push asks again, and most change nothing for a connection. */
  #dryRunCounted: Set<string> | undefined = undefined;

  constructor(context: WorkloadContext, route: InboundRoute, peer: SocketAddress, identity: Identity | undefined) {
    super(context.plane.accessLog, context.tracker);
    this.context = context;
    this.route = withoutReasons(route);
    this.#peer = peer;
    this.#policyFlow = policyFlow(route, peer, identity);
  }

  /** The application answered: tells the client, and relays. */
  protected abstract accepted(upstream: TcpEndpoint): void;
  /** Tells the client that it is not let in, or that the application is not there. */
  protected abstract refused(status: "401" | "503"): void;
  /** Ends the client's side before there is a relay. */
  protected abstract abortDownstream(): void;

  /** What the client's request named as its trace, while the connection opens; undefined: nothing. */
  protected abstract readonly trace: TraceParent | undefined;

  /** What the connection's log lines happen within (spec/ztunnel.md §10.3). */
  #spans(): readonly Span[] {
    const { traceId } = this.trace ?? newTraceParent();
    const peer = formatAddress(this.#peer);
    return [...this.context.spans, {
      name: "inbound",
      fields: [["id", { display: traceId }], ["peer", { display: peer }]],
    }];
  }

  /** Opens the connection's record, asks the policies and connects to the application. */
  protected begin(flow: TrafficFlow, ends: ConnectionEnds): void {
    const { plane, tracker } = this.context;
    tracker.recordKnown(this.route.workload);
    this.opened(plane.traffic.lookup(flow), ends);
    const policies = plane.mesh.current.policiesFor(this.route.workload);
    warnOfMissingPolicies(plane.logs.policy, policies, this.route.workload);
    const verdict = authorize(policies, this.#policyFlow);
    logPolicyEvents(plane.logs.policy, plane.config.policyInfoLogging, verdict.events, () => this.#spans());
    this.#recordDryRun(verdict);
    if (!verdict.allowed) {
      this.#refuse("401", denial(policyRejection(verdict.rejection), verdict));
      return;
    }
    const source = this.context.preserveSource ? this.route.sourceIp : undefined;
    this.#dial = dialTcp(this.route.dial, source, this.context.dialOptions, this);
  }

  #recordDryRun(verdict: Verdict): void {
    if (verdict.dryRun === undefined) return;
    this.#dryRunCounted ??= new Set();
    this.context.plane.dryRun.record(verdict, this.#policyFlow, this.route, this.#dryRunCounted);
  }

  /** Relays, behind the header that an application tunnel wants (spec/ztunnel.md §6.6). */
  protected relayTo(downstream: Endpoint, upstream: TcpEndpoint): void {
    const { proxyDestination } = this.route;
    if (proxyDestination !== undefined) {
      const { identity } = this.#policyFlow;
      const name = identity === undefined ? undefined : formatIdentity(identity);
      writeFirst(upstream, tunnelProxyHeader(this.#peer, proxyDestination, name));
    }
    this.relay(downstream, upstream);
  }

  #refuse(status: "401" | "503", failure: ConnectionFailure): void {
    this.refused(status);
    this.failed(failure);
  }

  dialed(upstream: TcpEndpoint): void {
    this.#dial = undefined;
    if (this.ended) upstream.abort();
    else this.accepted(upstream);
  }

  dialFailed(error: DialError): void {
    this.#dial = undefined;
    if (!this.ended) this.#refuse("503", connectFailure(`connection failed: ${error.text}`));
  }

  protected override abandon(): void {
    this.#dial?.cancel();
    this.abortDownstream();
  }

  override recheck(policies: PolicySet): ConnectionFailure | undefined {
    const verdict = authorize(policies, this.#policyFlow);
    // A policy in dry run cuts nothing; that it would have is to be seen before it is enforced.
    if (verdict.dryRun?.differs) this.#recordDryRun(verdict);
    if (verdict.allowed) return undefined;
    const { src, actualDst } = this.summary();
    const connection = `${formatAddress(src)}->${formatAddress(actualDst)}`;
    this.context.plane.logs.connections.info(
      `connection ${connection} closed because it's no longer allowed after a policy update`,
      [],
      this.#spans(),
    );
    return denial(POLICY_CHANGE, verdict);
  }
}

function denial(text: string, verdict: Verdict & { allowed: false }): ConnectionFailure {
  const failure: ConnectFailure = connectFailure(text, "DENY");
  return { ...failure, decisions: verdict.decision() };
}
