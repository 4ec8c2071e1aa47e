import {
  type AcceptedPeer,
  connectFailure,
  forwardedHost,
  type HboneTransport,
  parseBaggage,
  parseTraceParent,
  StreamEndpoint,
  type StreamUser,
  type TraceParent,
} from "../hbone/mod.ts";
import { ErrorCode, type HeaderList, type Http2Stream } from "../http2/mod.ts";
import { type InboundRoute, invalidAuthority, type MeshState, resolveInbound } from "../mesh/mod.ts";
import { parseAuthority } from "../net/authority.ts";
import type { TcpEndpoint } from "../net/tcp_endpoint.ts";
import type { FailedConnection } from "../telemetry/mod.ts";
import { baggageOf } from "./baggage_cache.ts";
import { baggageWorkload } from "./baggage_workload.ts";
import type { ConnectionSummary } from "./connection.ts";
import { callerOf } from "./data_plane.ts";
import { InboundConnection } from "./inbound_connection.ts";
import type { WorkloadContext } from "./workload_context.ts";

/** What we read of a CONNECT request (spec/ztunnel.md §6.3). */
interface ConnectRequest {
  method: string;
  authority: string;
  forwardedHost: string | undefined;
  forwardedNetwork: string | undefined;
  /** This and the next are read when the connection opens, and then let go. */
  traceparent: string | undefined;
  baggage: string[] | undefined;
}

function readRequest(headers: HeaderList): ConnectRequest {
  const request: ConnectRequest = {
    method: "",
    authority: "",
    forwardedHost: undefined,
    forwardedNetwork: undefined,
    traceparent: undefined,
    baggage: undefined,
  };
  for (const [name, value] of headers) {
    if (name === ":method") request.method = value;
    else if (name === ":authority") request.authority = value;
    else if (name === "baggage") (request.baggage ??= []).push(value);
    else if (name === "forwarded") request.forwardedHost ??= forwardedHost(value);
    else if (name === "traceparent") request.traceparent ??= value;
    else if (name === "x-forwarded-network") request.forwardedNetwork ??= value;
  }
  return request;
}

/** Answers without a body and forgets the request's. */
function respondOnly(stream: Http2Stream<StreamUser>, status: string): void {
  stream.respond([[":status", status]], true);
  stream.reset(ErrorCode.NO_ERROR);
}

/** A connection that came through a tunnel. */
class HboneConnection extends InboundConnection {
  readonly #stream: Http2Stream<StreamUser>;
  readonly #downstream: StreamEndpoint;
  readonly #peer: AcceptedPeer;
  readonly #request: ConnectRequest;

  constructor(
    context: WorkloadContext,
    route: InboundRoute,
    stream: Http2Stream<StreamUser>,
    downstream: StreamEndpoint,
    peer: AcceptedPeer,
    request: ConnectRequest,
  ) {
    super(context, route, peer.address, peer.identity);
    this.#stream = stream;
    this.#downstream = downstream;
    this.#peer = peer;
    this.#request = request;
  }

  start(): void {
    const { source, workload, service } = this.route;
    const { baggage = [], authority } = this.#request;
    this.begin({
      reporter: "destination",
      security: "mutual_tls",
      source,
      sourceBaggage: source === undefined ? baggageWorkload(parseBaggage(baggage)) : undefined,
      sourceIdentity: this.#peer.identityText,
      destination: workload,
      service,
    }, {
      source: this.#peer.address,
      destination: this.#peer.local,
      hboneAuthority: authority,
    });
    this.#request.traceparent = this.#request.baggage = undefined;
  }

  protected override get trace(): TraceParent | undefined {
    const { traceparent } = this.#request;
    return traceparent === undefined ? undefined : parseTraceParent(traceparent);
  }

  protected override accepted(upstream: TcpEndpoint): void {
    if (this.#downstream.closed) {
      upstream.abort();
      const { text, flag } = this.#downstream.error ?? { text: "client disconnected before all data was written" };
      this.failed(connectFailure(text, flag));
      return;
    }
    const headers: HeaderList = [[":status", "200"]];
    if (this.context.plane.config.responseBaggage) headers.push(["baggage", baggageOf(this.route.workload)]);
    this.#stream.respond(headers, false);
    this.relayTo(this.#downstream, upstream);
  }

  protected override refused(status: string): void {
    if (!this.#downstream.closed) respondOnly(this.#stream, status);
  }

  protected override abortDownstream(): void {
    this.#downstream.abort();
  }

  override summary(): ConnectionSummary {
    return {
      src: this.#peer.address,
      originalDst: this.#request.forwardedHost ?? null,
      actualDst: this.route.policyDestination,
      protocol: "HBONE",
    };
  }
}

/** Handles one request of an accepted HBONE connection. */
export function acceptRequest(
  context: WorkloadContext,
  transport: HboneTransport,
  peer: AcceptedPeer,
  stream: Http2Stream<StreamUser>,
  headers: HeaderList,
  endStream: boolean,
): void {
  const { plane, info } = context;
  const request = readRequest(headers);
  const endpoint = new StreamEndpoint(undefined);
  stream.data = endpoint;
  endpoint.bind(stream, undefined);
  if (endStream) endpoint.onData(NOTHING, true);

  const refuse = (status: number, error: string, known: FailedConnection = {}) => {
    plane.accessLog.connectionFailed(peer.address, peer.local, "inbound", error, {
      security: "mutual_tls",
      sourceIdentity: peer.identityText,
      hboneAuthority: request.authority,
      ...known,
    });
    if (!endpoint.closed) respondOnly(stream, String(status));
  };
  if (request.method !== "CONNECT") {
    refuse(400, `expected method CONNECT, got ${request.method}`);
    return;
  }
  // What no record can make right is not kept waiting for one (spec/ztunnel.md §6.3, order of the checks).
  if (parseAuthority(request.authority).kind === "invalid") {
    refuse(400, invalidAuthority(request.authority));
    return;
  }
  context.localWorkload(endpoint, (local) => {
    const flow = {
      info,
      local,
      authority: request.authority,
      destination: peer.local,
      peer: peer.address,
      forwardedHost: request.forwardedHost,
      forwardedNetwork: request.forwardedNetwork,
      selfListener: context.self,
    };
    const resolve = (mesh: MeshState) => resolveInbound(mesh, flow, plane.routing);
    context.decide(endpoint, resolve, (decision) => {
      if (endpoint.closed || transport.state === "closed") return;
      if (decision.ok) new HboneConnection(context, decision, stream, endpoint, peer, request).start();
      else refuse(decision.status, decision.error, { source: callerOf(plane, peer.address), destination: local });
    }, (error) => refuse(503, error));
  }, (error) => refuse(503, error));
}

const NOTHING = new Uint8Array(0);
