/**
 * The router's part of an exchange: sends a request to a host of its cluster, and to another one when that fails and the
 * retry policy says so, until an answer is decided (spec/waypoint.md §1.14).
 */
import type { RequestHead, Reset, ResponseHead } from "../http/mod.ts";
import type { HeaderList } from "../http2/mod.ts";
import { Attempt, type AttemptOwner } from "./attempt.ts";
import type { Choice, HostState, LoadBalancedCluster } from "./cluster/mod.ts";
import type { LocalReply } from "./local_reply.ts";
import type { WaypointPlane } from "./plane.ts";
import type { RequestBody } from "./request_body.ts";
import { resetFlag, resetReply, TIMEOUT_BODY } from "./reset_reply.ts";
import { type RequestTimeouts, RetryState } from "./routing/mod.ts";
import type { ForwardAction } from "./snapshot/mod.ts";
import type { StreamInfo } from "./stream_info.ts";
import { poolLimits } from "./targets.ts";
import type { UpstreamConnectionInfo } from "./upstream/mod.ts";

/** Status of a gRPC call whose time was up (DEADLINE_EXCEEDED). */
const GRPC_DEADLINE_EXCEEDED = 4;

/** Who asked for it. After `upstreamFailed`, `upstreamBroke` or the end of the response nothing more is heard. */
export interface UpstreamOwner {
  upstreamInformational(head: ResponseHead): void;
  upstreamHeaders(head: ResponseHead, endStream: boolean): void;
  upstreamData(chunk: Uint8Array, endStream: boolean): void;
  upstreamTrailers(fields: HeaderList): void;
  /** Data that was not taken has left. */
  upstreamWritable(): void;
  /** There will be no response; this is what the client is to be told. */
  upstreamFailed(reply: LocalReply): void;
  /** The response has begun and will not come to its end. */
  upstreamBroke(details: string): void;
}

export interface UpstreamRequestOptions {
  readonly plane: WaypointPlane;
  readonly info: StreamInfo;
  readonly head: RequestHead;
  readonly action: ForwardAction;
  readonly cluster: LoadBalancedCluster;
  readonly timeouts: RequestTimeouts;
  readonly hash: bigint | undefined;
  /** What of the request came before, and comes; undefined: it has no body. */
  readonly body: RequestBody | undefined;
}

/**
 * Octets of 1xx responses to one request, all tries together. No flow control holds them back, so this bounds what a
 * client that does not read makes us hold.
 */
const INFORMATIONAL_LIMIT: number = 128 << 10;

type State =
  /** No response yet. */
  | "waiting"
  /** The response is decided. */
  | "responding"
  | "ended";

export class UpstreamRequest implements AttemptOwner {
  readonly #plane: WaypointPlane;
  readonly #info: StreamInfo;
  readonly #head: RequestHead;
  readonly #action: ForwardAction;
  readonly #cluster: LoadBalancedCluster;
  readonly #timeouts: RequestTimeouts;
  readonly #hash: bigint | undefined;
  readonly #owner: UpstreamOwner;
  #state: State = "waiting";
  /** The request as far as it came; undefined: it has no body, or what was sent of it is not there any more. */
  #body: RequestBody | undefined;
  readonly #bodyless: boolean;
  #requestEnded: boolean;
  /** Another try may follow; undefined: not any more. */
  #retry: RetryState | undefined;
  #tried: Set<HostState> | undefined = undefined;
  #seenPriorities: number[] | undefined = undefined;
  #triedPriorities: Set<number> | undefined = undefined;
  #choice: Choice | undefined = undefined;
  /** A place for a retry is taken in the cluster's budget, and the try has not begun. */
  #retryHeld = false;
  #attempt: Attempt | undefined = undefined;
  #timer: Timer | undefined = undefined;
  #backOff: Timer | undefined = undefined;
  #informationalBytes = 0;

  constructor(options: UpstreamRequestOptions, owner: UpstreamOwner) {
    this.#plane = options.plane;
    this.#info = options.info;
    this.#head = options.head;
    this.#action = options.action;
    this.#cluster = options.cluster;
    this.#timeouts = options.timeouts;
    this.#hash = options.hash;
    this.#body = options.body;
    this.#bodyless = options.body === undefined;
    this.#requestEnded = options.body === undefined || options.body.ended;
    this.#owner = owner;
    this.#retry = new RetryState(options.action.retry, options.head);
  }

  start(): void {
    if (this.#requestEnded) this.#startTimer();
    this.#try(false);
  }

  /** A piece of the request, which is in the body already. False: it waits; `upstreamWritable` follows. */
  data(chunk: Uint8Array, endStream: boolean): boolean {
    if (this.#state === "ended") return true;
    if (endStream) this.#endOfRequest();
    const attempt = this.#attempt;
    return attempt !== undefined && !attempt.over && attempt.sendData(chunk, endStream);
  }

  trailers(fields: HeaderList): void {
    if (this.#state === "ended") return;
    this.#endOfRequest();
    const attempt = this.#attempt;
    if (attempt !== undefined && !attempt.over) attempt.sendTrailers(fields);
  }

  /** The body grew beyond what is kept: it cannot be sent again. False: none of it was sent yet, so it is to be kept. */
  forgetBody(): boolean {
    if (this.#attempt === undefined || this.#attempt.over) return false;
    this.#body = undefined;
    this.#retry = undefined;
    return true;
  }

  /** Bytes of the response have left. */
  consume(bytes: number): void {
    this.#attempt?.consume(bytes);
  }

  /** Nobody waits for it any more. */
  cancel(): void {
    if (this.#state === "ended") return;
    this.#state = "ended";
    if (this.#timer !== undefined) clearTimeout(this.#timer);
    if (this.#backOff !== undefined) clearTimeout(this.#backOff);
    this.#choice?.abandon();
    if (this.#retryHeld) this.#cluster.retries.retryEnded();
    this.#attempt?.cancel();
    this.#body = undefined;
  }

  // --- tries ---

  #try(isRetry: boolean): void {
    const { retry } = this.#action;
    this.#choice = this.#plane.clusters.choose(this.#cluster.cluster.name, {
      hash: this.#hash,
      excluded: this.#tried,
      otherHostAttempts: retry?.otherHostAttempts,
      triedPriorities: retry?.otherPriorities === true ? this.#triedPriorities : undefined,
      originalDestination: this.#info.downstream.originalDestination,
      authority: this.#head.authority,
    }, (host) => {
      this.#choice = undefined;
      if (this.#state === "waiting") this.#tryAt(host, isRetry);
    });
  }

  #tryAt(host: HostState | undefined, isRetry: boolean): void {
    const info = this.#info;
    const { cluster } = this.#cluster;
    const target = host && this.#plane.targets.of(cluster, host, {
      authority: this.#head.authority,
      source: info.downstream.remote,
      destination: info.downstream.local,
    });
    if (host === undefined || target === undefined) {
      info.flag("UH");
      this.#fail({ status: 503, body: "no healthy upstream", details: "no_healthy_upstream" });
      return;
    }
    info.endpoint = host.endpoint;
    info.upstreamAddress = host.endpoint.address;
    info.upstreamLocalAddress = "";
    info.attempts++;
    this.#retryHeld = false; // the try gives it back
    const attempt = new Attempt(this, this.#cluster, host, isRetry);
    this.#attempt = attempt;
    const { protocol } = cluster;
    const http2 = protocol === "http2" || protocol === "downstream" && this.#head.protocol === "HTTP/2";
    const pool = this.#plane.pools.pool(cluster.name, target, http2 ? "http2" : "http1", poolLimits(cluster));
    if (this.#timeouts.perTryMs > 0) attempt.limit(this.#timeouts.perTryMs);
    attempt.send(pool, this.#head, this.#bodyless);
    if (this.#body !== undefined) this.#sendKept(attempt, this.#body);
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
    if (room) this.#owner.upstreamWritable();
  }

  /** Another try after a pause, if there may be one. */
  #retryLater(attempt: Attempt): boolean {
    const retry = this.#retry;
    const { retries } = this.#cluster;
    if (retry === undefined || this.#state !== "waiting") return false;
    if (!retry.take()) {
      if (retry.asked) this.#info.flag("URX");
      return false;
    }
    if (!retries.tryRetry()) {
      this.#info.flag("UO");
      return false;
    }
    this.#retryHeld = true;
    (this.#tried ??= new Set()).add(attempt.host);
    // Istio has previous_priorities look at its list after every second try.
    const seen = this.#seenPriorities ??= [];
    seen.push(attempt.host.priority);
    if (seen.length % 2 === 0) this.#triedPriorities = new Set(seen);
    attempt.cancel();
    this.#attempt = undefined;
    this.#backOff = setTimeout(() => this.#try(true), retry.backOffMs(Math.random));
    return true;
  }

  // --- from the try ---

  attemptConnected(_attempt: Attempt, connection: UpstreamConnectionInfo): void {
    this.#info.upstreamLocalAddress = connection.localAddress;
    this.#info.upstreamSentAt = performance.now();
  }

  attemptInformational(attempt: Attempt, head: ResponseHead): void {
    this.#informationalBytes += head.wireBytes;
    if (this.#informationalBytes > INFORMATIONAL_LIMIT) {
      attempt.cancel();
      this.attemptReset(attempt, {
        reason: "protocol-error",
        detail: "endless informational responses",
        unsent: false,
      });
      return;
    }
    this.#owner.upstreamInformational(head);
  }

  attemptHeaders(attempt: Attempt, head: ResponseHead, endStream: boolean): void {
    if (this.#retry?.wantsResponse(head) === true && this.#retryLater(attempt)) return;
    this.#state = "responding";
    this.#retry = undefined;
    this.#body = undefined;
    attempt.unlimited();
    if (head.status === 101 && this.#timer !== undefined) clearTimeout(this.#timer);
    if (endStream) this.#responseEnded(attempt);
    this.#owner.upstreamHeaders(head, endStream);
  }

  attemptData(attempt: Attempt, chunk: Uint8Array, endStream: boolean): void {
    if (endStream) this.#responseEnded(attempt);
    this.#owner.upstreamData(chunk, endStream);
  }

  attemptTrailers(attempt: Attempt, fields: HeaderList): void {
    this.#responseEnded(attempt);
    this.#owner.upstreamTrailers(fields);
  }

  attemptWritable(_attempt: Attempt): void {
    this.#owner.upstreamWritable();
  }

  attemptReset(attempt: Attempt, reset: Reset): void {
    const info = this.#info;
    if (this.#state === "responding") {
      info.flag(resetFlag(reset));
      this.#broke(`upstream_reset_after_response_started{${reset.reason.replaceAll("-", "_")}}`);
      return;
    }
    if (reset.reason === "connection-failure") info.upstreamFailure = reset.detail;
    if (this.#retry?.wantsReset(reset) === true && this.#retryLater(attempt)) return;
    info.flag(resetFlag(reset));
    this.#fail(resetReply(reset, this.#retry?.retried === true));
  }

  attemptTimedOut(attempt: Attempt): void {
    if (this.#retry?.wantsTimeout() === true && this.#retryLater(attempt)) return;
    this.#timedOut("upstream_per_try_timeout");
  }

  #endOfRequest(): void {
    this.#requestEnded = true;
    this.#startTimer();
  }

  /** The whole request's time begins when its last byte has come. */
  #startTimer(): void {
    const { totalMs } = this.#timeouts;
    if (totalMs > 0 && this.#timer === undefined && this.#state !== "ended") {
      this.#timer = setTimeout(() => this.#timedOut("response_timeout"), totalMs);
    }
  }

  #timedOut(details: string): void {
    if (this.#state === "ended") return;
    this.#info.flag("UT");
    if (this.#state === "responding") this.#broke(details);
    else this.#fail({ status: 504, body: TIMEOUT_BODY, details, grpcStatus: GRPC_DEADLINE_EXCEEDED });
  }

  #responseEnded(attempt: Attempt): void {
    if (this.#requestEnded) attempt.finish();
    this.cancel(); // of a request that is still coming the upstream wants no more
  }

  #fail(reply: LocalReply): void {
    this.cancel();
    this.#owner.upstreamFailed(reply);
  }

  #broke(details: string): void {
    this.cancel();
    this.#owner.upstreamBroke(details);
  }
}

const EMPTY = new Uint8Array(0);
