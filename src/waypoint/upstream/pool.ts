import type { ClientStream, RequestHead, Reset } from "../../http/mod.ts";
import { surfaceBug } from "../../net/surface.ts";
import { PendingRequest, type WaitingRoom } from "./pending_request.ts";
import { type ConnectionPool, PooledConnection } from "./pooled_connection.ts";
import type { StreamTarget, UpstreamConnectFailure } from "./target.ts";
import type { PoolLimits, PoolStats, UpstreamConnector, UpstreamListener, UpstreamPool } from "./types.ts";

/** What the pools of a cluster share: circuit breakers count by cluster. */
export interface ClusterLoad {
  connections: number;
  pending: number;
}

/**
 * HTTP connections to one endpoint. HTTP/1: one request a connection at a time, the connection used last is used first,
 * so that the others can fall idle. HTTP/2: one connection, another one when its streams are used up.
 */
export class HttpPool implements UpstreamPool, ConnectionPool, WaitingRoom {
  /** Where new connections go. */
  target: StreamTarget;
  readonly protocol: "http1" | "http2";
  limits: PoolLimits;
  closed = false;
  readonly #connector: UpstreamConnector;
  readonly #load: ClusterLoad;
  readonly #forget: (pool: HttpPool) => void;
  readonly #connections: PooledConnection[] = [];
  /** HTTP/1: connections without a request, the one used last at the end. */
  readonly #idle: PooledConnection[] = [];
  readonly #waiting: PendingRequest[] = [];
  #connecting = 0;
  #serving = false;

  /** `forget` is called when nothing is left of it. */
  constructor(
    connector: UpstreamConnector,
    target: StreamTarget,
    protocol: "http1" | "http2",
    limits: PoolLimits,
    load: ClusterLoad,
    forget: (pool: HttpPool) => void,
  ) {
    this.#connector = connector;
    this.target = target;
    this.protocol = protocol;
    this.limits = limits;
    this.#load = load;
    this.#forget = forget;
  }

  get stats(): PoolStats {
    let active = 0;
    for (const connection of this.#connections) active += connection.active;
    return { connections: this.#connections.length, pending: this.#waiting.length, active };
  }

  request(head: RequestHead, endStream: boolean, listener: UpstreamListener): ClientStream {
    if (this.#waiting.length === 0) {
      const stream = this.#tryRequest(head, endStream, listener);
      if (stream !== undefined) return stream;
    }
    const request = new PendingRequest(this, head, endStream, listener);
    if (this.closed) {
      this.#failSoon(request, "connection-failure", "the pool was drained");
    } else if (this.#load.pending >= this.limits.maxPendingRequests) {
      this.#failSoon(request, "overflow", "too many pending requests");
    } else {
      this.#waiting.push(request);
      this.#load.pending++;
      this.#dial();
    }
    return request;
  }

  /**
   * Whether requests to this target may use the connections that are there. Called for every request: compares contents
   * only when there is something new, which from then on is where new connections go.
   */
  serves(target: StreamTarget, limits: PoolLimits): boolean {
    const known = this.target;
    if ((target.basis ?? target) === (known.basis ?? known) && limits === this.limits) return true;
    if (!this.madeFor(target.basis ?? target, limits)) return false;
    this.target = target;
    this.limits = limits;
    return true;
  }

  /** Whether its connections are what targets of this basis ask for. */
  madeFor(basis: StreamTarget, limits: PoolLimits): boolean {
    return interchangeable(this.target.basis ?? this.target, basis) &&
      (limits === this.limits || Bun.deepEquals(limits, this.limits));
  }

  drain(): void {
    this.closed = true;
    for (const connection of [...this.#connections]) {
      // A request that waits was promised a connection.
      if (connection.state !== "connecting" || this.#waiting.length === 0) connection.drain();
    }
    this.#forgetIfEmpty();
  }

  close(): void {
    this.closed = true;
    for (const request of this.#takeWaiting(this.#waiting.length)) {
      request.failed({ reason: "connection-failure", detail: "closed", unsent: true });
    }
    for (const connection of [...this.#connections]) connection.close();
    this.#forgetIfEmpty();
  }

  tick(now: number): void {
    for (const connection of [...this.#connections]) connection.tick(now);
  }

  withdrawn(request: PendingRequest): void {
    const index = this.#waiting.indexOf(request);
    if (index < 0) return;
    this.#waiting.splice(index, 1);
    this.#load.pending--;
  }

  // --- from connections ---

  connectionOpened(_connection: PooledConnection): void {
    this.#connecting--;
    this.connectionAvailable(_connection);
  }

  connectionFailed(connection: PooledConnection, failure: UpstreamConnectFailure): void {
    this.#connecting--;
    this.#remove(connection);
    // Those that no other attempt is for share its fate: Envoy fails them all, too.
    const failed = this.#connecting === 0 ? this.#waiting.length : Math.min(1, this.#waiting.length);
    const reason = failure.refused === true ? "connection-termination" : "connection-failure";
    for (const request of this.#takeWaiting(failed)) {
      request.failed({ reason, detail: failure.detail, unsent: true });
    }
    this.#forgetIfEmpty();
  }

  connectionAvailable(connection: PooledConnection): void {
    if (this.protocol === "http1" && !connection.idle && connection.available) this.#makeIdle(connection);
    if (this.#waiting.length > 0) this.#serve();
    else if (this.closed) connection.drain();
  }

  connectionLeaves(connection: PooledConnection): void {
    this.#unidle(connection);
  }

  connectionClosed(connection: PooledConnection): void {
    if (connection.info === undefined) this.#connecting--;
    this.#remove(connection);
    // One that ended before it could be used was no better than none: without this, a peer that accepts and closes at
    // once would be dialled again and again for the same request.
    if (connection.info !== undefined && connection.served === 0) {
      for (const request of this.#takeWaiting(Math.min(1, this.#waiting.length))) {
        request.failed({ reason: "connection-failure", detail: "closed before a request", unsent: true });
      }
    }
    if (this.#waiting.length > 0) this.#dial();
    this.#forgetIfEmpty();
  }

  // --- ---

  #tryRequest(head: RequestHead, endStream: boolean, listener: UpstreamListener): ClientStream | undefined {
    if (this.protocol === "http1") {
      for (let connection = this.#idle.pop(); connection !== undefined; connection = this.#idle.pop()) {
        connection.idle = false;
        const stream = this.#begin(connection, head, endStream, listener);
        if (stream !== undefined) return stream;
      }
      return undefined;
    }
    for (const connection of this.#connections) {
      if (!connection.available) continue;
      const stream = this.#begin(connection, head, endStream, listener);
      if (stream !== undefined) return stream;
    }
    return undefined;
  }

  /** A head that the codec refuses to write is a bug of whoever made it. It ends its request, and nobody else's. */
  #begin(
    connection: PooledConnection,
    head: RequestHead,
    endStream: boolean,
    listener: UpstreamListener,
  ): ClientStream | undefined {
    try {
      return connection.request(head, endStream, listener);
    } catch (error) {
      surfaceBug(error as Error);
      if (this.protocol === "http1" && connection.available) this.#makeIdle(connection); // nothing of it was written
      const request = new PendingRequest(this, head, endStream, listener);
      this.#failSoon(request, "local-reset", "the request cannot be written");
      return request;
    }
  }

  #makeIdle(connection: PooledConnection): void {
    connection.idle = true;
    connection.idleSince = 0;
    this.#idle.push(connection);
  }

  /** Gives connections to those who wait. */
  #serve(): void {
    if (this.#serving) return; // a call from inside: the loop below goes on
    this.#serving = true;
    try {
      while (this.#waiting.length > 0) {
        const request = this.#waiting[0]!;
        const stream = this.#tryRequest(request.head, request.endStream, request.listener);
        if (stream === undefined) break;
        this.withdrawn(request);
        request.bound(stream);
      }
    } finally {
      this.#serving = false; // whatever happened to one request: the others are to be served
    }
    if (this.#waiting.length > 0) this.#dial();
  }

  /** Makes as many connections as those who wait need and the limit allows. */
  #dial(): void {
    const needed = this.protocol === "http1" ? this.#waiting.length : Math.min(1, this.#waiting.length);
    while (this.#connecting < needed) {
      if (this.#load.connections >= this.limits.maxConnections && this.#connections.length > 0) return;
      this.#connecting++;
      this.#load.connections++;
      this.#connections.push(new PooledConnection(this, this.#connector));
    }
  }

  #takeWaiting(count: number): PendingRequest[] {
    this.#load.pending -= count;
    return this.#waiting.splice(0, count);
  }

  /** The listener is never called from inside `request`. */
  #failSoon(request: PendingRequest, reason: Reset["reason"], detail: string): void {
    queueMicrotask(() => request.failed({ reason, detail, unsent: true }));
  }

  #unidle(connection: PooledConnection): void {
    if (!connection.idle) return;
    connection.idle = false;
    const index = this.#idle.lastIndexOf(connection);
    if (index >= 0) this.#idle.splice(index, 1);
  }

  #remove(connection: PooledConnection): void {
    this.#unidle(connection);
    const index = this.#connections.indexOf(connection);
    if (index < 0) return;
    this.#connections.splice(index, 1);
    this.#load.connections--;
  }

  #forgetIfEmpty(): void {
    if (this.#connections.length > 0 || this.#waiting.length > 0) return;
    this.closed = true;
    this.#forget(this);
  }
}

/**
 * Whether connections made for one may carry requests for the other. The same host at another address is the host of a
 * name that resolves anew: its connections are as good as before.
 */
function interchangeable(a: StreamTarget, b: StreamTarget): boolean {
  return a === b || Bun.deepEquals(withoutAddress(a), withoutAddress(b));
}

function withoutAddress(target: StreamTarget): Omit<StreamTarget, "address" | "additionalAddresses"> {
  const { address: _, additionalAddresses: __, ...rest } = target;
  return rest;
}
