/** What the HTTP connections of this folder have in common: options and how their owner steers them. */
import type { Endpoint } from "../net/endpoint.ts";
import type { ClientConnection } from "./exchange.ts";

/** How the owner of a server connection steers it. The connection is also an Endpoint: the far side of a Relay. */
export interface ServerConnection {
  /** Stops after what runs: HTTP/1 answers with `Connection: close`, HTTP/2 sends GOAWAY. */
  drain(): void;
  /** Ends it now, with every request on it; `abrupt` as in Endpoint. */
  close(abrupt?: boolean): void;
  /** Requests that are not over. */
  readonly active: number;
  /** performance.now() since when no request runs; 0 while one does. */
  readonly idleSince: number;
}

/** Limits on what a client may send and how long it may take. Times in ms, 0: no limit. */
export interface ServerOptions {
  /** `http` or `https`: what RequestHead.scheme says of an HTTP/1 request. */
  readonly scheme?: "http" | "https";
  /** Envoy's `max_request_headers_kb` in bytes. */
  readonly maxHeaderBytes?: number;
  /** Envoy's `max_headers_count`. */
  readonly maxHeaderCount?: number;
  /** Response bytes of one stream (HTTP/1: connection) that wait before `sendData` answers false. */
  readonly sendBuffer?: number;
  /** Envoy's `common_http_protocol_options.idle_timeout`: without a request; default 1 h. */
  readonly idleTimeoutMs?: number;
  /** Envoy's `request_headers_timeout`: from the first byte of a request to the end of its header section. */
  readonly headersTimeoutMs?: number;
  /** `Expect: 100-continue` is answered by the connection itself (default); false: 100 comes from whoever responds. */
  readonly answerContinue?: boolean;
  /** Value of `server` in answers that the connection gives by itself. */
  readonly serverName?: string;
}

export interface Http1ServerOptions extends ServerOptions {
  /** Envoy's `accept_http_10`; otherwise 426. */
  readonly acceptHttp10?: boolean;
  /** Names of fields are given on as they came (`RequestHead.originalNames`). */
  readonly keepCase?: boolean;
}

export interface Http2ServerOptions extends ServerOptions {
  /** SETTINGS_MAX_CONCURRENT_STREAMS; Envoy's default for connections inside a tunnel is no limit that matters. */
  readonly maxConcurrentStreams?: number;
  /** Receive windows, bytes. */
  readonly streamWindow?: number;
  readonly connectionWindow?: number;
}

export interface ClientOptions {
  readonly maxHeaderBytes?: number;
  readonly maxHeaderCount?: number;
  readonly sendBuffer?: number;
}

export interface Http1ClientOptions extends ClientOptions {
  readonly keepCase?: boolean;
}

export interface Http2ClientOptions extends ClientOptions {
  readonly streamWindow?: number;
  readonly connectionWindow?: number;
}

/** What hears of a client connection as a whole. */
export interface ClientConnectionOwner {
  /** It takes another request now, or more of them than before. */
  onAvailable(): void;
  /** It takes no more requests (GOAWAY, Connection: close); what runs goes on. */
  onDraining(): void;
  /** It is over; every stream's listener has been told. */
  onClosed(): void;
}

/** A server connection as the far side of a Relay: `serveHttp1(options, handler)`, `serveHttp2(options, handler)`. */
export type HttpServerEndpoint = Endpoint & ServerConnection;
/** A client connection, to be joined with the upstream's endpoint: `http1Client(options, owner)`, `http2Client(options, owner)`. */
export type HttpClientEndpoint = Endpoint & ClientConnection;

/** What the first bytes of a client say (spec/waypoint.md §1.6). */
export type SniffedProtocol = "http/1.0" | "http/1.1" | "h2c" | "other";

export const DEFAULT_MAX_HEADER_BYTES = 61_440; // Envoy: max_request_headers_kb 60
export const DEFAULT_MAX_HEADER_COUNT = 100; // Envoy: max_headers_count
/** Bytes that wait before their source is told to stop. */
export const DEFAULT_SEND_BUFFER: number = 256 << 10;
export const DEFAULT_IDLE_TIMEOUT_MS = 3_600_000; // Envoy: idle_timeout 1 h
