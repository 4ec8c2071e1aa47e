import type { HeaderList } from "../http2/mod.ts";
import type { RequestHead, ResponseHead } from "../http/message.ts";
import type { Http1Limits } from "./limits.ts";

/**
 * How the end of a message's content is found (RFC 9112 §6.3):
 * - `none`: there is none, whatever the fields say (HEAD, 204, 304, a request without Content-Length);
 * - `length`: Content-Length octets;
 * - `chunked`: chunks, maybe with trailers;
 * - `close`: a response that goes on to the end of the connection;
 * - `raw`: no HTTP any more (after 101, or 2xx to CONNECT): octets to the end of the connection.
 */
export type BodyKind = "none" | "length" | "chunked" | "close" | "raw";

export interface Framing {
  readonly body: BodyKind;
  /** Content-Length as sent, or -1; also where no body follows (HEAD, 304). */
  readonly contentLength: number;
  /** The peer keeps its connection after this message, as far as its head says (RFC 9112 §9.3). */
  readonly keepAlive: boolean;
}

/** A message that cannot be read. Nothing comes from the parser after it; the connection has to end. */
export interface Http1Error {
  /** Status to answer with; 502 when it was a response. */
  readonly status: number;
  /** Envoy's response code details: `http1.codec_error`, `http1.headers_too_large`, `low_version` … */
  readonly details: string;
  /** Body of the answer, as Envoy's: the reason phrase, "Bad Request", or nothing. */
  readonly text: string;
  /** What is wrong, for the log. Holds octets of the message only as JSON strings. */
  readonly problem: string;
  /** The request, when it was only its meaning that was refused (426, 501, Host). */
  readonly head?: RequestHead | undefined;
}

/** What a server's parser calls. Calls come from inside `receive` and `next`; the parser may be called from them. */
export interface RequestSink {
  /** A head. `onMessageEnd` follows, at once when `framing.body` is "none". */
  onRequest(head: RequestHead, framing: Framing): void;
  /** Content, as a view into what was received. After `raw()`: octets as they come. */
  onData(chunk: Uint8Array): void;
  /** Trailers without those that may not come late (RFC 9110 §6.5.1); only when some are left. */
  onTrailers(fields: HeaderList): void;
  /** The request is complete; the parser stops here until `next()` or `raw()`. */
  onMessageEnd(): void;
  onError(error: Http1Error): void;
}

/** What a client's parser calls; otherwise as RequestSink. */
export interface ResponseSink {
  /** 1xx other than 101. */
  onInformational(head: ResponseHead): void;
  /** The final head, or 101 to an upgrade. */
  onResponse(head: ResponseHead, framing: Framing): void;
  onData(chunk: Uint8Array): void;
  onTrailers(fields: HeaderList): void;
  /** The response is complete. Octets beyond it are an error until `expect()` is called again. */
  onMessageEnd(): void;
  onError(error: Http1Error): void;
}

export interface RequestParserOptions {
  readonly limits?: Partial<Http1Limits>;
  /** Take HTTP/1.0; otherwise 426 (Envoy's `accept_http_10`). */
  readonly acceptHttp10?: boolean;
  /** Give the names of fields as sent, too: `RequestHead.originalNames`. */
  readonly keepCase?: boolean;
  /** Of requests whose target does not say; `http` when left out. */
  readonly scheme?: "http" | "https";
}

export interface ResponseParserOptions {
  readonly limits?: Partial<Http1Limits>;
  readonly keepCase?: boolean;
}

/**
 * What the end of a connection means: `idle`: nothing was under way; `complete`: it was the end of the message, or of the
 * raw octets (`onMessageEnd` has been called); `truncated`: a message lacks its rest; `waiting`: complete or unfinished
 * requests wait for `next()`: ask again after it.
 */
export type EofState = "idle" | "complete" | "truncated" | "waiting";

/**
 * Reads the requests of one connection.
 *
 * Credit: every octet received either reaches `onData`, or is counted by what `receive`, `next` and `raw` return (heads,
 * chunk framing, and whatever came after the end), or is `held` behind a message. So a caller that gives back the
 * returned counts at once, and content when it was consumed, is owed exactly what is held.
 */
export interface Http1RequestParser {
  /** Takes octets and keeps the rest of them (no copy: they must not change). Returns octets that are used up. */
  receive(bytes: Uint8Array): number;
  /**
   * Goes on with the next request; once for each. Before the end of the current one: goes on when it ends. What was held
   * is read before this returns, except inside a call of the sink.
   */
  next(): number;
  /** Instead of `next`: no HTTP any more, all that follows the current request comes as `onData`. */
  raw(): number;
  /** Drops what is held and all that comes. Used up are: octets that are held now. */
  close(): number;
  /** The connection has ended (half-close): requests that are complete can be answered still. */
  eof(): EofState;
  /** Octets that wait for `next()`. */
  readonly held: number;
  /** No octet of a request has come since the last one ended. */
  readonly idle: boolean;
}

/** Reads the responses of one connection, one request at a time. Credit as in Http1RequestParser; nothing is held. */
export interface Http1ResponseParser {
  /** A request is about to be sent: what its response depends on (RFC 9112 §6.3). `upgrade`: it asks for one. */
  expect(method: string, upgrade: boolean): void;
  receive(bytes: Uint8Array): number;
  /** Drops all that comes. */
  close(): void;
  /** The connection has ended, which may be the end of the response; never `waiting`. */
  eof(): EofState;
}
