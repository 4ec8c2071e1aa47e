/** What the rest of the waypoint sees of upstream connections and pools. */
import type { ClientStream, RequestHead, ResponseListener } from "../../http/mod.ts";
import type { Endpoint } from "../../net/endpoint.ts";
import type { StreamTarget, UpstreamConnectFailure, UpstreamConnectionInfo } from "./target.ts";

/** Who asked for a byte stream: hears exactly one of the two, never before `connect` returns. */
export interface ConnectionOwner {
  connected(endpoint: Endpoint, info: UpstreamConnectionInfo): void;
  connectFailed(failure: UpstreamConnectFailure): void;
}

/** A byte stream in the making. */
export interface PendingConnection {
  /** Nobody wants it any more; the owner hears nothing. */
  abandon(): void;
}

/** Makes byte streams to endpoints: class `Connector`. */
export interface UpstreamConnector {
  connect(target: StreamTarget, owner: ConnectionOwner): PendingConnection;
}

/** Limits of a pool, as Envoy's circuit breakers count. Times in ms; 0: none. */
export interface PoolLimits {
  /** Connections of the cluster; requests beyond them wait. An endpoint without any gets one all the same. */
  readonly maxConnections: number;
  /** Requests of the cluster that wait for a connection. One more is reset with `overflow`. */
  readonly maxPendingRequests: number;
  readonly maxRequestsPerConnection: number;
  readonly idleTimeoutMs: number;
  readonly maxConnectionDurationMs: number;
  /** HTTP/1: names of fields are sent as `originalNames` has them, and kept from responses. */
  readonly keepCase?: boolean;
}

export interface UpstreamListener extends ResponseListener {
  /** The request is on this connection now. Called once, before any other call, often before `request` returns. */
  onConnected?(info: UpstreamConnectionInfo): void;
}

export interface PoolStats {
  /** Connections that are open or being made. */
  readonly connections: number;
  /** Requests that wait for a connection. */
  readonly pending: number;
  /** Requests on connections. */
  readonly active: number;
}

/** The connections to one endpoint of a cluster in one protocol. Callers may keep it while `closed` is false. */
export interface UpstreamPool {
  /** Of the listener only `onConnected` is called before this returns. */
  request(head: RequestHead, endStream: boolean, listener: UpstreamListener): ClientStream;
  /** Lets what runs end and takes no more requests: the next `pool()` with this key makes another. */
  drain(): void;
  readonly closed: boolean;
  readonly stats: PoolStats;
}

/**
 * All pools of the waypoint: class `UpstreamPools`, made with `new UpstreamPools(connector)`.
 */
export interface UpstreamPoolSet {
  /**
   * The pool of (cluster, target.key, protocol). One that was made for connections of another kind, or with other limits,
   * is drained and a new one made; when only addresses of the endpoint differ, new connections go to the new ones.
   */
  pool(cluster: string, target: StreamTarget, protocol: "http1" | "http2", limits: PoolLimits): UpstreamPool;
  /** Sum over the pools of a cluster. */
  stats(cluster: string): PoolStats;
  /** A host is reached like this from now on (`basis`): drains its pools that were made otherwise. */
  review(cluster: string, basis: StreamTarget, limits: PoolLimits): void;
  /** Drains all pools of a cluster, or those of one host: `hostKey` is the key of its targets' basis. */
  drain(cluster: string, hostKey?: string): void;
  /** Ends everything now. */
  close(): void;
}
