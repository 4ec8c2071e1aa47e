import {
  type ClientConnectionOwner,
  type ClientStream,
  http1Client,
  http2Client,
  type HttpClientEndpoint,
} from "../../http/mod.ts";
import type { Endpoint } from "../../net/endpoint.ts";
import { Relay, type RelayOwner } from "../../net/relay.ts";
import type { PendingRequest } from "./pending_request.ts";
import type { StreamTarget, UpstreamConnectFailure, UpstreamConnectionInfo } from "./target.ts";
import type { ConnectionOwner, PendingConnection, PoolLimits, UpstreamConnector, UpstreamListener } from "./types.ts";

/** Where connections belong to. */
export interface ConnectionPool {
  readonly target: StreamTarget;
  readonly protocol: "http1" | "http2";
  readonly limits: PoolLimits;
  connectionOpened(connection: PooledConnection): void;
  connectionFailed(connection: PooledConnection, failure: UpstreamConnectFailure): void;
  connectionAvailable(connection: PooledConnection): void;
  /** It takes no more requests. */
  connectionLeaves(connection: PooledConnection): void;
  connectionClosed(connection: PooledConnection): void;
}

const uncounted = { value: 0 };

/** A connection of a pool from the first attempt to its end. */
export class PooledConnection implements ConnectionOwner, RelayOwner, ClientConnectionOwner {
  state: "connecting" | "open" | "leaving" | "closed" = "connecting";
  /** It stands among the idle ones. */
  idle = false;
  /** Since when no request runs on it; ms of performance.now(). */
  idleSince = 0;
  info: UpstreamConnectionInfo | undefined = undefined;
  /** Requests that were begun on it. */
  served = 0;
  readonly #pool: ConnectionPool;
  readonly #pending: PendingConnection;
  #client: HttpClientEndpoint | undefined = undefined;
  #openedAt = 0;

  constructor(pool: ConnectionPool, connector: UpstreamConnector) {
    this.#pool = pool;
    this.#pending = connector.connect(pool.target, this);
  }

  get active(): number {
    return this.#client?.active ?? 0;
  }

  get available(): boolean {
    return this.state === "open" && this.#client !== undefined && this.#client.available;
  }

  /** undefined: it takes none now. */
  request(
    head: PendingRequest["head"],
    endStream: boolean,
    listener: UpstreamListener,
  ): ClientStream | undefined {
    const stream = this.#client?.request(head, endStream, listener);
    if (stream === undefined) return undefined;
    this.served++;
    const { maxRequestsPerConnection } = this.#pool.limits;
    if (maxRequestsPerConnection > 0 && this.served >= maxRequestsPerConnection) this.#client?.drain();
    if (this.info !== undefined) listener.onConnected?.(this.info);
    return stream;
  }

  drain(): void {
    if (this.state === "connecting") this.close();
    else this.#client?.drain();
  }

  close(): void {
    if (this.state === "connecting") {
      this.state = "closed";
      this.#pending.abandon();
      this.#pool.connectionClosed(this);
    } else this.#client?.close();
  }

  tick(now: number): void {
    if (this.state !== "open") return;
    const { idleTimeoutMs, maxConnectionDurationMs } = this.#pool.limits;
    if (maxConnectionDurationMs > 0 && now - this.#openedAt >= maxConnectionDurationMs) this.drain();
    else if (idleTimeoutMs > 0 && this.active === 0) {
      if (this.idleSince === 0) this.idleSince = now;
      else if (now - this.idleSince >= idleTimeoutMs) this.close();
    } else this.idleSince = 0;
  }

  // --- from the connector ---

  connected(endpoint: Endpoint, info: UpstreamConnectionInfo): void {
    const { protocol, limits } = this.#pool;
    if (info.alpn !== "" && (info.alpn === "h2") !== (protocol === "http2")) {
      endpoint.abort();
      this.connectFailed({ detail: `TLS error: the server agreed to ${info.alpn} only`, timedOut: false });
      return;
    }
    this.info = info;
    this.state = "open";
    this.#openedAt = performance.now();
    const client = protocol === "http2"
      ? http2Client({}, this)
      : http1Client({ keepCase: limits.keepCase === true }, this);
    this.#client = client;
    new Relay(client, endpoint, this, uncounted, uncounted);
    this.#pool.connectionOpened(this);
  }

  connectFailed(failure: UpstreamConnectFailure): void {
    if (this.state !== "connecting") return;
    this.state = "closed";
    this.#pool.connectionFailed(this, failure);
  }

  relayFinished(): void {
    // The client side says all there is to say.
  }

  // --- from the client connection ---

  onAvailable(): void {
    if (this.state === "open") this.#pool.connectionAvailable(this);
  }

  onDraining(): void {
    if (this.state !== "open") return;
    this.state = "leaving";
    this.#pool.connectionLeaves(this);
  }

  onClosed(): void {
    if (this.state === "closed") return;
    this.state = "closed";
    this.#pool.connectionClosed(this);
  }
}
