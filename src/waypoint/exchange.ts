/**
 * One HTTP request on its way through the waypoint (spec/waypoint.md §1.7, §6): checks, authorization, fault, CORS, then
 * what its route says, and the answer back to the client. All of it is callbacks; it ends exactly once, with its line in
 * the access log and its counts.
 */
import { isGrpcContentType } from "../grpc/mod.ts";
import {
  type RequestHead,
  type RequestListener,
  type Reset,
  type ResponseHead,
  type ServerStream,
} from "../http/mod.ts";
import { ErrorCode, type HeaderList } from "../http2/mod.ts";
import type { LoadBalancedCluster } from "./cluster/mod.ts";
import type { CompiledHttpChain } from "./configuration.ts";
import { recordDownstreamReset } from "./downstream_reset.ts";
import { GrpcMessageCounter } from "./grpc_messages.ts";
import { type LocalReply, localReply } from "./local_reply.ts";
import { type MirroredRequest, startMirrors } from "./mirror.ts";
import type { WaypointPlane } from "./plane.ts";
import { RequestBody } from "./request_body.ts";
import { prepareRequest } from "./request_headers.ts";
import { abortReply, refusalOf, routeReply } from "./request_replies.ts";
import { finishResponse } from "./response_headers.ts";
import { announceTimeout, finalizeRequest, finalizeResponse, markUpstreamResponse } from "./router_headers.ts";
import {
  type CompiledRoute,
  corsPreflight,
  corsResponseFields,
  decideFault,
  type FaultDecision,
  hashOf,
  pickCluster,
  requestTimeouts,
} from "./routing/mod.ts";
import type { ForwardAction, WeightedCluster } from "./snapshot/mod.ts";
import {
  type Deadline,
  DEADLINE_REPLIES,
  deadlineLimits,
  type DeadlineOwner,
  StreamDeadlines,
} from "./stream_deadlines.ts";
import { type DownstreamInfo, StreamInfo } from "./stream_info.ts";
import { type UpstreamOwner, UpstreamRequest } from "./upstream_request.ts";

type State =
  /** Nothing was sent to the client yet. */
  | "waiting"
  /** The response has begun. */
  | "responding"
  | "ended";

export class Exchange implements RequestListener, UpstreamOwner, DeadlineOwner {
  readonly #plane: WaypointPlane;
  readonly #chain: CompiledHttpChain;
  readonly #stream: ServerStream;
  readonly #info: StreamInfo;
  #state: State = "waiting";
  #head!: RequestHead;
  #grpc = false;
  #remoteIp = "";
  /** The request as far as it came; undefined: it has no body. */
  #body: RequestBody | undefined = undefined;
  #keepsBody = true;
  requestEnded = false;
  /** Request bytes that are not given back to the client's connection yet. */
  #owedDownstream = 0;
  /** Response bytes that are not given back to the upstream's connection yet. */
  #owedUpstream = 0;
  #route: CompiledRoute | undefined = undefined;
  #action: ForwardAction | undefined = undefined;
  #target: WeightedCluster | undefined = undefined;
  #cluster: LoadBalancedCluster | undefined = undefined;
  /** What CORS adds to the response. */
  #corsFields: HeaderList | undefined = undefined;
  #setCookie: string | undefined = undefined;
  #upstream: UpstreamRequest | undefined = undefined;
  /** A fault's delay. */
  #delay: Timer | undefined = undefined;
  #deadlines: StreamDeadlines | undefined = undefined;
  #mirrors: MirroredRequest[] | undefined = undefined;
  #requestMessages: GrpcMessageCounter | undefined = undefined;
  #responseMessages: GrpcMessageCounter | undefined = undefined;

  constructor(plane: WaypointPlane, chain: CompiledHttpChain, stream: ServerStream, downstream: DownstreamInfo) {
    this.#plane = plane;
    this.#chain = chain;
    this.#stream = stream;
    this.#info = new StreamInfo(downstream);
  }

  // --- the way in ---

  start(head: RequestHead, endStream: boolean): void {
    const info = this.#info;
    const { options } = this.#chain.chain;
    this.#head = head;
    info.request = head;
    const marks = prepareRequest(head, options, info.downstream);
    this.#remoteIp = marks.remoteIp;
    this.#grpc = isGrpcContentType(marks.contentType);
    if (this.#grpc) {
      this.#requestMessages = new GrpcMessageCounter();
      this.#responseMessages = new GrpcMessageCounter();
    }
    if (endStream) this.#endOfRequest();
    else this.#body = new RequestBody();

    const refusal = refusalOf(head, this.#chain, marks.contentType);
    if (refusal !== undefined) return this.#reply(refusal);
    // No route is for CONNECT: those that match paths do not match it.
    if (!marks.routeless && head.method !== "CONNECT") this.#chooseRoute();
    const limits = deadlineLimits(options, this.#action);
    if (limits !== undefined) this.#deadlines = new StreamDeadlines(limits, this);
    if (head.upgrade !== undefined && !options.upgrades.includes(head.upgrade) && this.#route !== undefined) {
      return this.#reply({ status: 403, body: "", details: "upgrade_failed" });
    }
    if (this.#authorized()) this.#filterFault();
  }

  #chooseRoute(): void {
    const info = this.#info;
    const route = this.#chain.routes.choose(this.#head, info.downstream.sourceNamespace);
    if (route === undefined) return;
    this.#route = route;
    info.routeName = route.route.name;
    const { action } = route.route;
    if (action.kind !== "forward") return;
    this.#action = action;
    const target = pickCluster(action, Math.random);
    this.#target = target;
    this.#cluster = this.#plane.clusters.get(target.cluster);
    if (this.#cluster !== undefined) info.clusterName = target.cluster;
    info.service = this.#cluster?.cluster.service;
  }

  #authorized(): boolean {
    const { rbac } = this.#chain;
    if (rbac === undefined) return true;
    const verdict = this.#plane.authorize(rbac, this.#chain.chain.name, this.#info, this.#head, this.#remoteIp);
    if (verdict.allowed) return true;
    this.#reply({ status: 403, body: "RBAC: access denied", details: verdict.responseCodeDetails });
    return false;
  }

  #filterFault(): void {
    const fault = this.#route?.route.fault;
    if (fault === undefined) return this.#filterCors();
    const decided = decideFault(fault, Math.random);
    if (decided.delayMs === 0) return this.#abortOrGoOn(decided);
    this.#info.flag("DI");
    this.#delay = setTimeout(() => this.#abortOrGoOn(decided), decided.delayMs);
  }

  #abortOrGoOn({ abort }: FaultDecision): void {
    if (abort === undefined) return this.#filterCors();
    this.#info.flag("FI");
    this.#reply(abortReply(abort));
  }

  #filterCors(): void {
    const route = this.#route;
    // Envoy's filter acts for routes that forward only.
    if (route?.cors !== undefined && this.#action !== undefined) {
      const preflight = corsPreflight(route, this.#head);
      if (preflight !== undefined) {
        return this.#reply({ status: 200, body: "", details: "cors_response", fields: preflight }, false, null);
      }
      this.#corsFields = corsResponseFields(route, this.#head);
    }
    this.#act();
  }

  /** The router's part: what the route says. */
  #act(): void {
    const info = this.#info;
    const route = this.#route;
    if (route === undefined) {
      info.flag("NR");
      return this.#reply({ status: 404, body: "", details: "route_not_found" });
    }
    const { action } = route.route;
    if (action.kind !== "forward") this.#reply(routeReply(this.#head, action, route), this.#grpc, route);
    else if (this.#cluster === undefined) {
      info.flag("NC");
      this.#reply({ status: action.clusterNotFoundStatus, body: "", details: "cluster_not_found" });
    } else this.#forward(action, route, this.#cluster, this.#target as WeightedCluster);
  }

  #forward(action: ForwardAction, route: CompiledRoute, cluster: LoadBalancedCluster, target: WeightedCluster): void {
    const info = this.#info;
    const head = this.#head;
    const envoyHeaders = !this.#chain.chain.options.suppressEnvoyHeaders;
    const timeouts = requestTimeouts(action, head, this.#grpc);
    announceTimeout(head, timeouts, action, this.#grpc, envoyHeaders);
    let hash: bigint | undefined;
    if (action.hashPolicies.length > 0) {
      ({ hash, setCookie: this.#setCookie } = hashOf(action.hashPolicies, head, info));
    }
    finalizeRequest(head, action, route, target, info, envoyHeaders);
    if (action.mirrors.length > 0) this.#mirrors = startMirrors(this.#plane, action.mirrors, head, info, this.#body);
    this.#upstream = new UpstreamRequest({
      plane: this.#plane,
      info,
      head,
      action,
      cluster,
      timeouts,
      hash,
      body: this.#body,
    }, this);
    this.#upstream.start();
  }

  // --- the rest of the request ---

  onData(chunk: Uint8Array, endStream: boolean): void {
    const bytes = chunk.length;
    this.#info.bytesReceived += bytes;
    if (this.#state === "ended") {
      this.#stream.consume(bytes);
      return;
    }
    this.#owedDownstream += bytes;
    this.#requestMessages?.add(chunk);
    if (this.#mirrors !== undefined) { for (const mirror of this.#mirrors) mirror.data(chunk, endStream); }
    this.#keep(chunk);
    if (endStream) this.#endOfRequest();
    if (this.#upstream?.data(chunk, endStream) === true) this.#giveBackDownstream();
  }

  onTrailers(fields: HeaderList): void {
    if (this.#state === "ended") return;
    this.#info.requestTrailers = fields;
    if (this.#body !== undefined) this.#body.trailers = fields;
    if (this.#mirrors !== undefined) { for (const mirror of this.#mirrors) mirror.data(EMPTY, true); }
    this.#endOfRequest();
    this.#upstream?.trailers(fields);
  }

  #keep(chunk: Uint8Array): void {
    const body = this.#body;
    if (body === undefined || !this.#keepsBody || body.add(chunk)) return;
    // While nothing was sent of it, the client's window bounds it; afterwards it is too much to be sent again.
    if (this.#upstream?.forgetBody() === true) this.#keepsBody = false;
    else body.force(chunk);
  }

  #endOfRequest(): void {
    this.requestEnded = true;
    this.#info.requestReceivedAt = performance.now();
    if (this.#body !== undefined) this.#body.ended = true;
  }

  #giveBackDownstream(): void {
    const owed = this.#owedDownstream;
    if (owed === 0) return;
    this.#owedDownstream = 0;
    this.#stream.consume(owed);
  }

  onReset(reset: Reset): void {
    if (this.#state === "ended") return;
    recordDownstreamReset(this.#info, reset, this.#state === "responding", this.#head.protocol === "HTTP/2");
    this.#end();
  }

  /** The client's connection takes more of the response. */
  onWritable(): void {
    const owed = this.#owedUpstream;
    this.#owedUpstream = 0;
    if (owed > 0) this.#upstream?.consume(owed);
  }

  get progress(): number {
    return this.#info.bytesReceived + this.#info.bytesSent;
  }

  deadlineReached(deadline: Deadline): void {
    const { body, details, flag } = DEADLINE_REPLIES[deadline];
    if (flag !== undefined) this.#info.flag(flag);
    if (this.#state === "waiting") this.#reply({ status: 408, body, details });
    else this.upstreamBroke(details);
  }

  // --- the response ---

  upstreamInformational(head: ResponseHead): void {
    if (head.status === 100 && !this.#chain.chain.options.proxy100Continue) return;
    this.#stream.respond(head, false);
  }

  upstreamHeaders(head: ResponseHead, endStream: boolean): void {
    const info = this.#info;
    info.responseFirstByteAt = performance.now();
    if (this.#head.upgrade === "websocket" && head.status === 200) {
      // The server took it for an ordinary request.
      this.#upstream?.cancel();
      return this.#reply({ status: 200, body: "", details: "websocket_handshake_unsuccessful" });
    }
    info.responseCodeDetails = "via_upstream";
    this.#keepsBody = false;
    markUpstreamResponse(head, info, this.#chain.chain.options, this.#setCookie);
    // An HTTP/2 server may leave its stream open behind a response without content; the client's is over with the head.
    const ends = endStream || this.#head.method === "HEAD" || head.status === 204 || head.status === 304;
    this.#respond(head, ends, this.#route);
    if (ends) this.#responseComplete();
  }

  upstreamData(chunk: Uint8Array, endStream: boolean): void {
    const bytes = chunk.length;
    this.#info.bytesSent += bytes;
    this.#responseMessages?.add(chunk);
    const room = this.#stream.sendData(chunk, endStream);
    if (room || endStream) {
      this.#upstream?.consume(bytes + this.#owedUpstream);
      this.#owedUpstream = 0;
    } else this.#owedUpstream += bytes;
    if (endStream) this.#responseComplete();
  }

  upstreamTrailers(fields: HeaderList): void {
    this.#info.responseTrailers = fields;
    const owed = this.#owedUpstream;
    this.#owedUpstream = 0;
    if (owed > 0) this.#upstream?.consume(owed); // nothing more comes that it could hold up
    this.#stream.sendTrailers(fields);
    this.#responseComplete();
  }

  upstreamWritable(): void {
    this.#giveBackDownstream();
  }

  upstreamFailed(reply: LocalReply): void {
    this.#reply(reply);
  }

  upstreamBroke(details: string): void {
    this.#info.responseCodeDetails = details;
    this.#stream.reset(ErrorCode.INTERNAL_ERROR);
    this.#end();
  }

  /** @param route whose header changes the response gets */
  #respond(head: ResponseHead, endStream: boolean, route: CompiledRoute | undefined): void {
    const info = this.#info;
    this.#state = "responding";
    info.response = head;
    info.responseCode = head.status;
    finalizeResponse(head, route, this.#target, this.#corsFields, info);
    finishResponse(head, this.#chain.chain.options);
    this.#stream.respond(head, endStream);
  }

  get #forwarding(): CompiledRoute | undefined {
    return this.#action === undefined ? undefined : this.#route;
  }

  /** Answers by itself. What a route that forwards does to responses it does to these too. */
  #reply(reply: LocalReply, grpc = this.#grpc, route: CompiledRoute | null = this.#forwarding ?? null): void {
    const info = this.#info;
    info.responseCodeDetails = reply.details;
    // Envoy takes 400 for a broken message, whoever says it.
    if (reply.status === 400 && this.#head.protocol !== "HTTP/2") this.#stream.closeAfter();
    const [head, body] = localReply(reply, this.#head, grpc);
    info.bytesSent += body.length;
    this.#respond(head, body.length === 0, route ?? undefined);
    if (body.length > 0) this.#stream.sendData(body, true);
    this.#responseComplete();
  }

  #responseComplete(): void {
    this.#info.responseReceivedAt = performance.now();
    this.#end();
  }

  #end(): void {
    if (this.#state === "ended") return;
    this.#state = "ended";
    if (this.#delay !== undefined) clearTimeout(this.#delay);
    this.#deadlines?.stop();
    this.#upstream?.cancel();
    if (this.#mirrors !== undefined && !this.requestEnded) { for (const mirror of this.#mirrors) mirror.cancel(); }
    this.#giveBackDownstream();
    const info = this.#info;
    info.requestMessages = this.#requestMessages?.count ?? 0;
    info.responseMessages = this.#responseMessages?.count ?? 0;
    info.endedAt = performance.now();
    this.#chain.record(info);
  }
}

const EMPTY = new Uint8Array(0);
