/**
 * One HTTP request on its way through the waypoint (spec/waypoint.md §1.7, §6): checks, authorization, fault, CORS,
 * then tries at upstream hosts until one answers, and the answer back to the client. All of it is callbacks; it ends
 * exactly once, with its line in the access log and its counts.
 */
import {
  type RequestHead,
  type RequestListener,
  type Reset,
  type ResponseHead,
  type ServerStream,
  setField,
} from "../http/mod.ts";
import { ErrorCode, type HeaderList } from "../http2/mod.ts";
import { Attempt, type AttemptOwner } from "./attempt.ts";
import type { Choice, HostState, LoadBalancedCluster } from "./cluster/mod.ts";
import type { CompiledHttpChain } from "./configuration.ts";
import { GrpcMessageCounter } from "./grpc_messages.ts";
import { isGrpcContentType, type LocalReply, localReply } from "./local_reply.ts";
import { MirroredRequest } from "./mirror.ts";
import type { WaypointPlane } from "./plane.ts";
import { RequestBody } from "./request_body.ts";
import { mirroredHead, prepareRequest } from "./request_headers.ts";
import { resetFlag, resetReply, TIMEOUT_BODY } from "./reset_reply.ts";
import { finishResponse } from "./response_headers.ts";
import {
  applyRequestMutations,
  applyResponseMutations,
  type CompiledRoute,
  corsPreflight,
  corsResponseFields,
  decideFault,
  expectedTimeout,
  hashOf,
  normalizePath,
  pickCluster,
  redirectResponse,
  type RequestTimeouts,
  requestTimeouts,
  RetryState,
  rewriteRequest,
} from "./routing/mod.ts";
import type { ForwardAction, WeightedCluster } from "./snapshot/mod.ts";
import { type DownstreamInfo, StreamInfo } from "./stream_info.ts";
import { poolLimits } from "./targets.ts";
import type { UpstreamConnectionInfo } from "./upstream/mod.ts";

/** Status of a gRPC call whose time was up (DEADLINE_EXCEEDED). */
const GRPC_DEADLINE_EXCEEDED = 4;

type State =
  /** Nothing was sent to the client yet. */
  | "waiting"
  /** The response has begun. */
  | "responding"
  | "ended";

export class Exchange implements RequestListener, AttemptOwner {
  readonly info: StreamInfo;
  readonly #plane: WaypointPlane;
  readonly #chain: CompiledHttpChain;
  readonly #stream: ServerStream;
  #state: State = "waiting";
  #head!: RequestHead;
  #grpc = false;
  #remoteIp = "";
  #requestEnded = false;
  /** The request as far as it came, while another try may need it or none has begun. */
  #body: RequestBody | undefined = undefined;
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
  #timeouts: RequestTimeouts | undefined = undefined;
  #retry: RetryState | undefined = undefined;
  #hash: bigint | undefined = undefined;
  #setCookie: string | undefined = undefined;
  #tried: Set<HostState> | undefined = undefined;
  #seenPriorities: number[] | undefined = undefined;
  #triedPriorities: Set<number> | undefined = undefined;
  #choice: Choice | undefined = undefined;
  /** A place for a retry is taken in the cluster's budget, and the try has not begun. */
  #retryHeld = false;
  #attempt: Attempt | undefined = undefined;
  #timer: Timer | undefined = undefined;
  /** A fault's delay or a back-off. */
  #pause: Timer | undefined = undefined;
  #mirrors: MirroredRequest[] | undefined = undefined;
  #requestMessages: GrpcMessageCounter | undefined = undefined;
  #responseMessages: GrpcMessageCounter | undefined = undefined;

  constructor(plane: WaypointPlane, chain: CompiledHttpChain, stream: ServerStream, downstream: DownstreamInfo) {
    this.#plane = plane;
    this.#chain = chain;
    this.#stream = stream;
    this.info = new StreamInfo(downstream);
  }

  get ended(): boolean {
    return this.#state === "ended";
  }

  // --- the way in ---

  start(head: RequestHead, endStream: boolean): void {
    const { info } = this;
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

    if (this.#chain.refusal !== undefined) {
      this.#reply({ status: 503, body: this.#chain.refusal, details: "unsupported_filter" });
      return;
    }
    const normalized = normalizePath(head.path, options);
    if (normalized === undefined) {
      this.#reply({ status: 400, body: "", details: "path_normalization_failed" });
      return;
    }
    head.path = normalized;
    this.#chooseRoute();
    if (head.upgrade !== undefined && !options.upgrades.includes(head.upgrade) || head.method === "CONNECT") {
      this.#reply({ status: 403, body: "", details: "upgrade_failed" });
      return;
    }
    if (this.#authorized()) this.#filterFault();
  }

  #chooseRoute(): void {
    const { info } = this;
    const route = this.#chain.routes.choose(this.#head, info.downstream.sourceNamespace);
    if (route === undefined) return;
    this.#route = route;
    info.routeName = route.route.name;
    const { action } = route.route;
    if (action.kind !== "forward") return;
    this.#action = action;
    const target = pickCluster(action, Math.random);
    this.#target = target;
    info.clusterName = target.cluster;
    this.#cluster = this.#plane.clusters.get(target.cluster);
    info.service = this.#cluster?.cluster.service;
  }

  #authorized(): boolean {
    const { rbac } = this.#chain;
    if (rbac === undefined) return true;
    const { info } = this;
    const { path } = this.#head;
    const query = path.indexOf("?");
    const verdict = rbac.check({
      peerPrincipal: info.downstream.peerPrincipal,
      directRemoteIp: info.downstream.remote.ip,
      remoteIp: this.#remoteIp,
      destination: info.downstream.local,
      serverName: info.downstream.requestedServerName,
      head: this.#head,
      path: query < 0 ? path : path.slice(0, query),
      metadata: info.metadata,
    });
    this.#plane.policyHeard(this.#chain.chain.name, info, verdict);
    if (verdict.allowed) return true;
    this.#reply({ status: 403, body: "RBAC: access denied", details: verdict.responseCodeDetails });
    return false;
  }

  #filterFault(): void {
    const fault = this.#route?.route.fault;
    if (fault === undefined) return this.#filterCors();
    const decided = decideFault(fault, Math.random);
    if (decided.delayMs === 0) return this.#abortOrGoOn(decided.abort);
    this.info.flag("DI");
    this.#pause = setTimeout(() => {
      this.#pause = undefined;
      if (this.#state === "waiting") this.#abortOrGoOn(decided.abort);
    }, decided.delayMs);
  }

  #abortOrGoOn(abort: { readonly status: number; readonly grpcStatus: number | undefined } | undefined): void {
    if (abort === undefined) return this.#filterCors();
    this.info.flag("FI");
    const grpcStatus = abort.grpcStatus;
    this.#reply({
      status: abort.status,
      body: "fault filter abort",
      details: "fault_filter_abort",
      ...(grpcStatus === undefined ? {} : { grpcStatus }),
    }, grpcStatus !== undefined || this.#grpc);
  }

  #filterCors(): void {
    const route = this.#route;
    if (route?.cors !== undefined) {
      const preflight = corsPreflight(route, this.#head);
      if (preflight !== undefined) {
        this.#reply({ status: 200, body: "", details: "cors_response", fields: preflight });
        return;
      }
      this.#corsFields = corsResponseFields(route, this.#head);
    }
    this.#act();
  }

  /** The router's part: what the route says. */
  #act(): void {
    const { info } = this;
    const route = this.#route;
    const head = this.#head;
    if (route === undefined) {
      info.flag("NR");
      this.#reply({ status: 404, body: "", details: "route_not_found" });
      return;
    }
    const { action } = route.route;
    if (action.kind === "redirect") {
      const { status, fields } = redirectResponse(head, action, route);
      this.#reply({ status, body: "", details: "direct_response", fields }, false, true);
    } else if (action.kind === "direct-response") {
      const { status, body } = action;
      this.#reply({ status, body, details: "direct_response" }, this.#grpc, true);
    } else if (this.#cluster === undefined) {
      info.flag("NC");
      this.#reply({ status: action.clusterNotFoundStatus, body: "", details: "cluster_not_found" });
    } else this.#forward(action, route, this.#cluster);
  }

  #forward(action: ForwardAction, route: CompiledRoute, cluster: LoadBalancedCluster): void {
    const { info } = this;
    const { options } = this.#chain.chain;
    const head = this.#head;
    const timeouts = requestTimeouts(action, head, this.#grpc);
    this.#timeouts = timeouts;
    if (!options.suppressEnvoyHeaders) {
      const expected = expectedTimeout(timeouts);
      if (expected > 0) head.fields.push(["x-envoy-expected-rq-timeout-ms", String(expected)]);
    }
    if (action.hashPolicies.length > 0) {
      const hashed = hashOf(action.hashPolicies, head, info);
      this.#hash = hashed.hash;
      this.#setCookie = hashed.setCookie;
    }
    const before = head.path;
    applyRequestMutations(head, route, this.#target as WeightedCluster, info);
    rewriteRequest(head, action, this.#target as WeightedCluster, route, !options.suppressEnvoyHeaders);
    if (head.path !== before) info.originalPath = before;
    this.#retry = new RetryState(action.retry, head);
    if (action.mirrors.length > 0) this.#mirror(action);
    if (timeouts.totalMs > 0 && this.#requestEnded) this.#startTimer(timeouts.totalMs);
    this.#try(cluster, false);
  }

  #mirror(action: ForwardAction): void {
    for (const mirror of action.mirrors) {
      if (Math.random() * 1_000_000 >= mirror.fraction) continue;
      const copy = mirroredHead(this.#head, mirror.shadowHost, this.#plane.ownIp);
      const request = MirroredRequest.start(this.#plane, mirror.cluster, copy, this.info, this.#requestEnded);
      if (request !== undefined) (this.#mirrors ??= []).push(request);
    }
    const body = this.#body;
    if (body === undefined || this.#mirrors === undefined) return;
    for (const request of this.#mirrors) {
      for (const chunk of body.chunks) request.data(chunk, false);
    }
  }

  // --- tries ---

  #try(cluster: LoadBalancedCluster, isRetry: boolean): void {
    const policy = this.#action?.retry;
    this.#choice = this.#plane.clusters.choose(cluster.cluster.name, {
      hash: this.#hash,
      excluded: this.#tried,
      otherHostAttempts: policy?.otherHostAttempts ?? 0,
      triedPriorities: policy?.otherPriorities === true ? this.#triedPriorities : undefined,
      originalDestination: this.info.downstream.local,
      authority: this.#head.authority,
    }, (host) => {
      this.#choice = undefined;
      if (this.#state === "waiting") this.#tryAt(cluster, host, isRetry);
    });
  }

  #tryAt(balanced: LoadBalancedCluster, host: HostState | undefined, isRetry: boolean): void {
    const { info } = this;
    const { cluster } = balanced;
    const target = host && this.#plane.targets.of(cluster, host, {
      serverName: hostName(this.#head.authority),
      source: info.downstream.remote,
      destination: info.downstream.local,
    });
    if (host === undefined || target === undefined) {
      info.flag("UH");
      this.#reply({ status: 503, body: "no healthy upstream", details: "no_healthy_upstream" });
      return;
    }
    info.endpoint = host.endpoint;
    info.upstreamAddress = host.endpoint.address;
    info.upstreamLocalAddress = "";
    info.attempts++;
    this.#retryHeld = false; // the try gives it back
    const attempt = new Attempt(this, balanced, host, isRetry);
    this.#attempt = attempt;
    const http2 = cluster.protocol === "http2" ||
      cluster.protocol === "downstream" && this.#head.protocol === "HTTP/2";
    const pool = this.#plane.pools.pool(cluster.name, target, http2 ? "http2" : "http1", poolLimits(cluster));
    const body = this.#body;
    const bodyless = body === undefined && this.#requestEnded;
    const perTry = this.#timeouts?.perTryMs ?? 0;
    if (perTry > 0) attempt.limit(perTry);
    attempt.send(pool, this.#head, bodyless);
    if (body !== undefined) this.#sendKept(attempt, body);
  }

  /** Sends what of the request has come before this try. */
  #sendKept(attempt: Attempt, body: RequestBody): void {
    const { chunks, trailers, ended } = body;
    const last = chunks.length - 1;
    let room = true;
    for (let i = 0; i <= last && !attempt.over; i++) {
      room = attempt.sendData(chunks[i] as Uint8Array, ended && trailers === undefined && i === last);
    }
    if (attempt.over) return;
    if (trailers !== undefined) attempt.sendTrailers(trailers);
    else if (ended && last < 0) attempt.sendData(EMPTY, true);
    if (room) this.#giveBackDownstream();
  }

  /** Another try after a pause, if there may be one. */
  #retryLater(attempt: Attempt): boolean {
    const retry = this.#retry;
    const cluster = this.#cluster;
    if (retry === undefined || cluster === undefined || this.#state !== "waiting") return false;
    if (this.#body === undefined && !this.#requestEnded) return false; // what was sent is not there any more
    if (!retry.take()) {
      this.info.flag("URX");
      return false;
    }
    if (!cluster.retries.tryRetry()) {
      this.info.flag("UO");
      return false;
    }
    this.#retryHeld = true;
    (this.#tried ??= new Set()).add(attempt.host);
    // Istio has previous_priorities look at its list after every second try.
    (this.#seenPriorities ??= []).push(attempt.host.priority);
    if (this.#seenPriorities.length % 2 === 0) this.#triedPriorities = new Set(this.#seenPriorities);
    attempt.cancel();
    this.#attempt = undefined;
    this.#pause = setTimeout(() => {
      this.#pause = undefined;
      this.#try(cluster, true);
    }, retry.backOffMs(Math.random));
    return true;
  }

  // --- the rest of the request ---

  onData(chunk: Uint8Array, endStream: boolean): void {
    const bytes = chunk.length;
    this.info.bytesReceived += bytes;
    if (this.#state === "ended") {
      this.#stream.consume(bytes);
      return;
    }
    this.#owedDownstream += bytes;
    this.#requestMessages?.add(chunk);
    if (this.#mirrors !== undefined) { for (const mirror of this.#mirrors) mirror.data(chunk, endStream); }
    this.#keep(chunk);
    if (endStream) this.#endOfRequest();
    const attempt = this.#attempt;
    if (attempt === undefined || attempt.over) return; // it is sent when the next try begins
    if (attempt.sendData(chunk, endStream)) this.#giveBackDownstream();
  }

  onTrailers(fields: HeaderList): void {
    if (this.#state === "ended") return;
    this.info.requestTrailers = fields;
    if (this.#body !== undefined) this.#body.trailers = fields;
    if (this.#mirrors !== undefined) { for (const mirror of this.#mirrors) mirror.data(EMPTY, true); }
    this.#endOfRequest();
    const attempt = this.#attempt;
    if (attempt !== undefined && !attempt.over) attempt.sendTrailers(fields);
  }

  #keep(chunk: Uint8Array): void {
    const body = this.#body;
    if (body === undefined || body.add(chunk)) return;
    if (this.#attempt === undefined || this.#attempt.over) {
      // Held up by a fault or a back-off: the client's window is far smaller than the limit, so this is a retry's end.
      body.force(chunk);
      return;
    }
    this.#body = undefined; // too much to send again
    this.#retry = undefined;
  }

  #endOfRequest(): void {
    this.#requestEnded = true;
    this.info.requestReceivedAt = performance.now();
    if (this.#body !== undefined) this.#body.ended = true;
    const total = this.#timeouts?.totalMs ?? 0;
    if (total > 0 && this.#state === "waiting") this.#startTimer(total);
  }

  #giveBackDownstream(): void {
    const owed = this.#owedDownstream;
    if (owed === 0) return;
    this.#owedDownstream = 0;
    this.#stream.consume(owed);
  }

  onReset(_reset: Reset): void {
    if (this.#state === "ended") return;
    this.info.flag("DC");
    this.info.responseCodeDetails ||= "downstream_remote_disconnect";
    this.#end();
  }

  /** The client's connection takes more of the response. */
  onWritable(): void {
    const owed = this.#owedUpstream;
    this.#owedUpstream = 0;
    if (owed > 0) this.#attempt?.consume(owed);
  }

  // --- from the try ---

  attemptConnected(_attempt: Attempt, info: UpstreamConnectionInfo): void {
    this.info.upstreamLocalAddress = info.localAddress;
    this.info.upstreamSentAt = performance.now();
  }

  attemptInformational(_attempt: Attempt, head: ResponseHead): void {
    if (head.status === 100 && !this.#chain.chain.options.proxy100Continue) return;
    this.#stream.respond(head, false);
  }

  attemptHeaders(attempt: Attempt, head: ResponseHead, endStream: boolean): void {
    const { info } = this;
    if (this.#retry?.wantsResponse(head) === true && this.#retryLater(attempt)) return;
    const now = performance.now();
    info.responseFirstByteAt = now;
    this.#commit();
    attempt.unlimited();
    info.responseCodeDetails = "via_upstream";
    if (!this.#chain.chain.options.suppressEnvoyHeaders && info.requestReceivedAt > 0) {
      const elapsed = Math.trunc(now - info.requestReceivedAt);
      head.fields.push(["x-envoy-upstream-service-time", String(elapsed)]);
    }
    if (this.#setCookie !== undefined) head.fields.push(["set-cookie", this.#setCookie]);
    if (head.status === 101 && this.#timer !== undefined) clearTimeout(this.#timer);
    if (endStream) attempt.finish();
    this.#respond(head, endStream, this.#route);
    if (endStream) this.#responseComplete();
  }

  attemptData(attempt: Attempt, chunk: Uint8Array, endStream: boolean): void {
    const bytes = chunk.length;
    this.info.bytesSent += bytes;
    this.#responseMessages?.add(chunk);
    if (endStream) attempt.finish();
    const room = this.#stream.sendData(chunk, endStream);
    if (room || endStream) {
      attempt.consume(bytes + this.#owedUpstream);
      this.#owedUpstream = 0;
    } else this.#owedUpstream += bytes;
    if (endStream) this.#responseComplete();
  }

  attemptTrailers(attempt: Attempt, fields: HeaderList): void {
    this.info.responseTrailers = fields;
    attempt.finish();
    this.#stream.sendTrailers(fields);
    this.#responseComplete();
  }

  attemptWritable(_attempt: Attempt): void {
    this.#giveBackDownstream();
  }

  attemptReset(attempt: Attempt, reset: Reset): void {
    const { info } = this;
    if (this.#state === "responding") {
      info.flag(resetFlag(reset));
      info.responseCodeDetails = `upstream_reset_after_response_started{${reset.reason.replaceAll("-", "_")}}`;
      this.#stream.reset(ErrorCode.INTERNAL_ERROR);
      this.#end();
      return;
    }
    info.upstreamFailure = reset.detail;
    if (this.#retry?.wantsReset(reset) === true && this.#retryLater(attempt)) return;
    info.flag(resetFlag(reset));
    this.#reply(resetReply(reset));
  }

  attemptTimedOut(attempt: Attempt): void {
    if (this.#retry?.wantsTimeout() === true && this.#retryLater(attempt)) return;
    this.#timedOut("upstream_per_try_timeout");
  }

  #startTimer(ms: number): void {
    this.#timer = setTimeout(() => this.#timedOut("upstream_response_timeout"), ms);
  }

  #timedOut(details: string): void {
    if (this.#state === "ended") return;
    this.info.flag("UT");
    if (this.#state === "responding") {
      this.info.responseCodeDetails = details;
      this.#stream.reset(ErrorCode.INTERNAL_ERROR);
      this.#end();
      return;
    }
    this.#reply({ status: 504, body: TIMEOUT_BODY, details, grpcStatus: GRPC_DEADLINE_EXCEEDED });
  }

  // --- the way out ---

  /** The answer is decided: there will be no other try. */
  #commit(): void {
    this.#retry = undefined;
    if (this.#attempt !== undefined) this.#body = undefined;
  }

  /** @param route whose header changes the response gets */
  #respond(head: ResponseHead, endStream: boolean, route: CompiledRoute | undefined): void {
    const { info } = this;
    if (head.status >= 200 || head.status === 101) {
      this.#state = "responding";
      info.response = head;
      info.responseCode = head.status;
    }
    if (this.#corsFields !== undefined) {
      for (const [name, value] of this.#corsFields) setField(head.fields, name, value);
    }
    if (route !== undefined) applyResponseMutations(head, route, this.#target, info);
    finishResponse(head, this.#chain.chain.options);
    this.#stream.respond(head, endStream);
  }

  /** Answers by itself; what runs upstream is taken back. */
  #reply(reply: LocalReply, grpc = this.#grpc, withRoute = false): void {
    if (this.#state !== "waiting") return;
    const { info } = this;
    info.responseCodeDetails = reply.details;
    this.#attempt?.cancel();
    const [head, body] = localReply(reply, this.#head, grpc);
    info.bytesSent += body.length;
    const route = withRoute ? this.#route : undefined;
    this.#respond(head, body.length === 0, route);
    if (body.length > 0) this.#stream.sendData(body, true);
    this.#responseComplete();
  }

  #responseComplete(): void {
    this.info.responseReceivedAt = performance.now();
    this.#end();
  }

  #end(): void {
    if (this.#state === "ended") return;
    this.#state = "ended";
    if (this.#timer !== undefined) clearTimeout(this.#timer);
    if (this.#pause !== undefined) clearTimeout(this.#pause);
    this.#choice?.abandon();
    if (this.#retryHeld) this.#cluster?.retries.retryEnded();
    this.#attempt?.cancel();
    if (this.#mirrors !== undefined && !this.#requestEnded) { for (const mirror of this.#mirrors) mirror.cancel(); }
    this.#giveBackDownstream();
    const { info } = this;
    info.requestMessages = this.#requestMessages?.count ?? 0;
    info.responseMessages = this.#responseMessages?.count ?? 0;
    info.endedAt = performance.now();
    this.#chain.record(info);
  }
}

/** A host without its port, for SNI. */
function hostName(authority: string): string {
  const colon = authority.lastIndexOf(":");
  return colon > 0 && authority.indexOf("]") < colon ? authority.slice(0, colon) : authority;
}

const EMPTY = new Uint8Array(0);
