import { ErrorCode, type HeaderList } from "../http2/mod.ts";
import type { SocketAddress } from "../net/address.ts";
import { startTicking, stopTicking, type Ticking } from "../net/ticker.ts";
import { type ConnectFailure, connectFailure } from "./failure.ts";
import { type ConnectOwner, type ConnectRetrier, StreamEndpoint } from "./stream_endpoint.ts";
import type { TransportOwner } from "./stream_user.ts";
import type { HboneTransport } from "./transport.ts";

/** Where a tunnel goes and as whom (spec/ztunnel.md §7): connections are shared only between equal targets. */
export interface PoolTarget {
  /** SPIFFE id of the workload that we speak for. */
  readonly sourceIdentity: string;
  /** IP of the application's connection: tunnels of different pod addresses are kept apart. */
  readonly sourceIp: string;
  /** SPIFFE ids of which the peer must prove one. */
  readonly expectedIdentities: readonly string[];
  readonly destination: SocketAddress;
}

/** Makes new connections for the pool. Calls exactly one of the two, never synchronously before returning. */
export type Dialer = (
  target: PoolTarget,
  owner: TransportOwner,
  done: (transport: HboneTransport) => void,
  failed: (failure: ConnectFailure) => void,
) => void;

export interface PoolOptions {
  /** POOL_MAX_STREAMS_PER_CONNECTION */
  readonly maxStreamsPerConnection: number;
  /** POOL_UNUSED_RELEASE_TIMEOUT in ms: a connection without streams is closed after this long. */
  readonly unusedReleaseTimeout: number;
  /** How long a CONNECT may wait for a connection, ms: the connect timeout of the data plane. */
  readonly waitTimeout: number;
  /** Connections kept at most; beyond it the one unused for longest is closed (§7). */
  readonly maxConnections?: number;
}

const MAX_CONNECTIONS = 500;
/** Streams that a peer is trusted to take before its SETTINGS say more: the least that RFC 9113 §6.5.2 recommends. */
const STREAMS_BEFORE_SETTINGS = 100;
/** A peer takes at most 5 s to know its pod and 10 s to reach the application (§14.4); this is twice as long. */
export const ANSWER_TIMEOUT_MS = 30_000;
/** A connection whose window has been used up for this long gets no new streams, ms. */
const STALLED_MS = 250;

/** The failure of a CONNECT that nobody answered. */
export function unanswered(): ConnectFailure {
  return connectFailure(`h2 failed: no answer to CONNECT within ${ANSWER_TIMEOUT_MS / 1000} s`);
}

interface Waiting {
  readonly endpoint: StreamEndpoint;
  readonly owner: ConnectOwner;
  readonly headers: HeaderList;
  readonly deadline: number;
  /** When the CONNECT was sent; ms of performance.now(). */
  sentAt: number;
  retried: boolean;
}

/**
 * The connections of one source to one peer, and who waits for one. At most one dial at a time: its connection serves
 * all that wait; its failure is told to the request that started it, and the next in line dials again.
 */
class PoolEntry implements TransportOwner, ConnectRetrier {
  readonly transports: HboneTransport[] = [];
  readonly waiting: Waiting[] = [];
  /** CONNECTs that are sent and not answered, in case they must be sent again. */
  readonly unanswered = new Map<StreamEndpoint, Waiting>();
  dialing = false;
  /** Takes no new requests; what runs and what waits goes on. */
  retired = false;
  readonly pool: Pool;
  readonly key: string;
  readonly target: PoolTarget;

  constructor(pool: Pool, key: string, target: PoolTarget) {
    this.pool = pool;
    this.key = key;
    this.target = target;
  }

  connect(request: Waiting): void {
    const transport = this.#available();
    if (transport !== undefined) {
      this.#send(transport, request);
      return;
    }
    this.waiting.push(request);
    this.#dial();
  }

  /** A connection with room for one more stream; the fullest first, so that the others can fall idle. */
  #available(): HboneTransport | undefined {
    const limit = this.pool.options.maxStreamsPerConnection;
    let best: HboneTransport | undefined;
    for (const transport of this.transports) {
      const { openStreams: open, settingsReceived, canRequest, stalledSince } = transport.h2;
      // Readers at the other end that do not read have used up the window of all: new streams need another connection.
      if (stalledSince !== 0 && performance.now() - stalledSince >= STALLED_MS) continue;
      if (transport.state !== "open" || open >= limit || !canRequest) continue;
      if (!settingsReceived && open >= STREAMS_BEFORE_SETTINGS) continue;
      if (best === undefined || open > best.h2.openStreams) best = transport;
    }
    return best;
  }

  #send(transport: HboneTransport, request: Waiting): void {
    const { endpoint } = request;
    const stream = transport.h2.request(request.headers, false, endpoint);
    if (stream === undefined) {
      // The codec knows better than our count: this connection takes no more.
      this.waiting.unshift(request);
      this.#dial();
      return;
    }
    request.sentAt = transport.lastUse = performance.now();
    this.unanswered.set(endpoint, request);
    endpoint.bind(stream, this);
  }

  #dial(): void {
    if (this.dialing || this.waiting.length === 0) return;
    // A connection that has yet to say how many streams it takes may take all that wait; a repeated CONNECT needs its own.
    const undecided = this.transports.some(({ h2, state }) => state === "open" && !h2.settingsReceived);
    if (undecided && !(this.waiting[0] as Waiting).retried) return;
    this.dialing = true;
    this.pool.dial(this.target, this, (transport) => {
      this.dialing = false;
      this.transports.push(transport);
      this.pool.admitted(transport);
      this.#serve(transport);
      if (this.retired) transport.drain();
    }, (failure) => {
      this.dialing = false;
      this.#dialFailed(failure);
    });
  }

  /** Gives connections to those who wait; a CONNECT that is sent again gets the fresh one. */
  #serve(fresh?: HboneTransport): void {
    while (this.waiting.length > 0) {
      const request = this.waiting[0] as Waiting;
      const transport = request.retried && fresh?.h2.canRequest ? fresh : this.#available();
      if (transport === undefined) {
        this.#dial();
        return;
      }
      this.waiting.shift();
      if (!request.endpoint.abandoned) this.#send(transport, request);
    }
  }

  #dialFailed(failure: ConnectFailure): void {
    const first = this.waiting.shift();
    first?.owner.connectFailed(failure);
    const now = performance.now();
    while (this.waiting.length > 0 && (this.waiting[0] as Waiting).deadline <= now) {
      this.waiting.shift()?.owner.connectFailed(failure);
    }
    if (this.waiting.length > 0) this.#serve();
    else this.pool.forgetIfUnused(this);
  }

  /** Gives up on CONNECTs that nobody answers. */
  expire(now: number): void {
    for (const [endpoint, request] of this.unanswered) {
      if (now - request.sentAt < ANSWER_TIMEOUT_MS) continue;
      endpoint.abandon();
      request.owner.connectFailed(unanswered());
    }
  }

  answered(endpoint: StreamEndpoint): void {
    this.unanswered.delete(endpoint);
  }

  retry(endpoint: StreamEndpoint, code: number): boolean {
    const request = this.unanswered.get(endpoint);
    if (request === undefined) return false;
    this.unanswered.delete(endpoint);
    const lost = this.transports.some((t) => t.state === "closed" && t.h2 === endpoint.stream?.connection);
    if (request.retried || this.pool.closed || (code !== ErrorCode.REFUSED_STREAM && !lost)) return false;
    // Nothing of the application was sent: the CONNECT may go again, once, over a connection made for it.
    request.retried = true;
    this.waiting.unshift(request);
    this.#dial();
    return true;
  }

  onRequest(): void {
    // A client never receives requests: the codec refuses pushed streams before they get here.
  }

  onCapacity(): void {
    if (this.waiting.length > 0) this.#serve();
  }

  onGoaway(transport: HboneTransport): void {
    transport.closeIfDrained();
  }

  onTransportClosed(transport: HboneTransport): void {
    const index = this.transports.indexOf(transport);
    if (index >= 0) this.transports.splice(index, 1);
    this.pool.released(transport);
    if (this.waiting.length > 0 && !this.pool.closed) this.#serve();
    this.pool.forgetIfUnused(this);
  }

  close(): void {
    const draining = connectFailure("pool draining");
    for (const request of this.waiting.splice(0)) request.owner.connectFailed(draining);
    for (const [endpoint, request] of [...this.unanswered]) {
      endpoint.abandon();
      request.owner.connectFailed(draining);
    }
    for (const transport of [...this.transports]) transport.close();
  }

  /** Lets running streams end, serves who waits already, and then ends. */
  retire(): void {
    this.retired = true;
    for (const transport of [...this.transports]) transport.drain();
  }
}

/**
 * HBONE connections of one workload, shared by its outgoing tunnels (spec/ztunnel.md §7). Unlike the original, the
 * peer's MAX_CONCURRENT_STREAMS counts, and a connection that was full is used again when its streams ended.
 */
export class Pool implements Ticking {
  closed = false;
  #draining = false;
  readonly options: PoolOptions;
  readonly #entries = new Map<string, PoolEntry>();
  /** Entries of destinations that were closed, and all when the pool drains, until their last stream has ended. */
  readonly #retired = new Set<PoolEntry>();
  readonly #admitted = new Set<HboneTransport>();
  readonly #dialer: Dialer;

  constructor(options: PoolOptions, dialer: Dialer) {
    this.options = options;
    this.#dialer = dialer;
  }

  /** Connections open now. */
  get size(): number {
    return this.#admitted.size;
  }

  /** Asks for a tunnel. The owner hears of the outcome once; the returned endpoint can be abandoned before that. */
  connect(target: PoolTarget, headers: HeaderList, owner: ConnectOwner): StreamEndpoint {
    const { destination } = target;
    const key = `${target.sourceIdentity}\n${target.sourceIp}\n${destination.ip}\n${destination.port}\n${
      target.expectedIdentities.join("\n")
    }`;
    let entry = this.#entries.get(key);
    if (entry === undefined) {
      entry = new PoolEntry(this, key, target);
      entry.retired = this.#draining;
      if (entry.retired) this.#retired.add(entry);
      else this.#entries.set(key, entry);
      startTicking(this);
    }
    const opened = entry;
    const waiter: ConnectOwner = {
      connected(endpoint, response) {
        opened.answered(endpoint);
        owner.connected(endpoint, response);
      },
      connectFailed(failure) {
        opened.answered(endpoint);
        owner.connectFailed(failure);
      },
    };
    const endpoint = new StreamEndpoint(waiter);
    entry.connect({
      endpoint,
      owner: waiter,
      headers,
      deadline: performance.now() + this.options.waitTimeout,
      sentAt: 0,
      retried: false,
    });
    return endpoint;
  }

  dial: Dialer = (target, owner, done, failed) => {
    if (this.closed) {
      queueMicrotask(() => failed(connectFailure("pool draining")));
      return;
    }
    this.#dialer(target, owner, (transport) => {
      if (this.closed) {
        transport.close();
        failed(connectFailure("pool draining"));
      } else {
        done(transport);
      }
    }, failed);
  };

  admitted(transport: HboneTransport): void {
    this.#admitted.add(transport);
    if (this.#admitted.size <= (this.options.maxConnections ?? MAX_CONNECTIONS)) return;
    let oldest: HboneTransport | undefined;
    for (const candidate of this.#admitted) {
      if (candidate.state !== "open" || candidate === transport) continue;
      if (oldest === undefined || candidate.lastUse < oldest.lastUse) oldest = candidate;
    }
    oldest?.drain();
  }

  released(transport: HboneTransport): void {
    this.#admitted.delete(transport);
  }

  forgetIfUnused(entry: PoolEntry): void {
    if (entry.transports.length > 0 || entry.waiting.length > 0 || entry.dialing) return;
    if (entry.retired) this.#retired.delete(entry);
    else this.#entries.delete(entry.key);
    // A process without tunnels sleeps.
    if (this.#entries.size === 0 && this.#retired.size === 0) stopTicking(this);
  }

  /**
   * Opens no more streams on the connections to some addresses: their workload is gone, or they are another's now (§7).
   * Running streams live on, requests that wait are served, idle connections close. The next request dials and asks the
   * peer who it is.
   */
  closeDestinations(moved: (ip: string) => boolean): void {
    for (const entry of [...this.#entries.values()]) {
      if (!moved(entry.target.destination.ip)) continue;
      this.#entries.delete(entry.key);
      this.#retired.add(entry);
      entry.retire();
      this.forgetIfUnused(entry);
    }
  }

  *#all(): IterableIterator<PoolEntry> {
    yield* this.#entries.values();
    yield* this.#retired;
  }

  tick(now: number): void {
    for (const entry of this.#all()) entry.expire(now);
    for (const transport of this.#admitted) {
      if (transport.state === "open" && now - transport.lastUse >= this.options.unusedReleaseTimeout) transport.drain();
    }
  }

  /**
   * Graceful end: connections close as their last stream ends. Who waits for one is served, and so is who comes late, of
   * a connection that was taken in before.
   */
  drain(): void {
    this.#draining = true;
    this.closeDestinations(() => true);
  }

  /** Immediate end, with every stream. */
  close(): void {
    this.closed = true;
    stopTicking(this);
    for (const entry of [...this.#all()]) entry.close();
    this.#entries.clear();
    this.#retired.clear();
  }
}
