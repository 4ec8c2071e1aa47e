import { type ConnectFailure, connectFailure } from "../hbone/mod.ts";
import type { Identity } from "../identity/mod.ts";
import type { InboundRoute, MeshState } from "../mesh/mod.ts";
import type { SocketAddress } from "../net/address.ts";
import { type DialError, type DialOwner, dialTcp } from "../net/tcp.ts";
import type { TcpEndpoint } from "../net/tcp_endpoint.ts";
import { authorize, type PolicyFlow, policyRejection } from "../policy/mod.ts";
import type { ConnectionEnds, TrafficFlow } from "../telemetry/mod.ts";
import { Connection } from "./connection.ts";
import { logPolicyEvents } from "./decision_log.ts";
import type { WorkloadContext } from "./workload_context.ts";

/** A connection to the application in the pod, once it is resolved: authorize, connect, relay (spec/ztunnel.md §6). */
export abstract class InboundConnection extends Connection implements DialOwner {
  readonly direction = "inbound" as const;
  protected readonly context: WorkloadContext;
  protected readonly route: InboundRoute;
  readonly #policyFlow: PolicyFlow;

  constructor(context: WorkloadContext, route: InboundRoute, peer: SocketAddress, identity: Identity | undefined) {
    super(context.plane.accessLog, context.tracker);
    this.context = context;
    this.route = route;
    this.#policyFlow = {
      sourceIp: peer.ip,
      destinationIp: route.policyDestination.ip,
      destinationPort: route.policyDestination.port,
      identity,
    };
  }

  /** The application answered: tells the client, and relays. */
  protected abstract accepted(upstream: TcpEndpoint): void;
  /** Tells the client that it is not let in, or that the application is not there. */
  protected abstract refused(status: "401" | "503"): void;

  /** Opens the connection's record, asks the policies and connects to the application. */
  protected begin(flow: TrafficFlow, ends: ConnectionEnds): void {
    const { plane } = this.context;
    this.opened(plane.traffic.lookup(flow), ends);
    const verdict = authorize(plane.mesh.current.policiesFor(this.route.workload), this.#policyFlow);
    logPolicyEvents(plane.logs.policy, plane.config.policyInfoLogging, verdict.events);
    if (!verdict.allowed) {
      this.#refuse("401", connectFailure(policyRejection(verdict.rejection), "DENY"));
      return;
    }
    const source = this.context.preserveSource ? this.route.sourceIp : undefined;
    dialTcp(this.route.dial, source, this.context.dialOptions, this);
  }

  #refuse(status: "401" | "503", failure: ConnectFailure): void {
    this.refused(status);
    this.failed(failure);
  }

  dialed(upstream: TcpEndpoint): void {
    if (this.ended) upstream.abort();
    else this.accepted(upstream);
  }

  dialFailed(error: DialError): void {
    if (!this.ended) this.#refuse("503", connectFailure(`connection failed: ${error.text}`));
  }

  /** Asked with the workload record of the time when the connection began, as the original does. */
  override allowedBy(mesh: MeshState): boolean {
    return authorize(mesh.policiesFor(this.route.workload), this.#policyFlow).allowed;
  }
}
