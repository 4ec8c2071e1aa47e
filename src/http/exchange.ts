/**
 * The seam between HTTP connections (codecs on byte streams) and what handles requests. It is the same for HTTP/1 and
 * HTTP/2 and for both sides. All calls are synchronous callbacks; a call on a stream that has ended does nothing.
 *
 * Credit: every byte given to `onData` is given back by `consume` as soon as it has left on the other side (or is thrown
 * away). A connection stops reading while too much is owed.
 */
import type { HeaderList } from "../http2/mod.ts";
import type { RequestHead, ResponseHead } from "./message.ts";

/** Why a stream ended without an end of message. Names as Envoy's StreamResetReason. */
export type ResetReason =
  /** RST_STREAM by the peer, or this side found an error in the stream alone. */
  | "remote-reset"
  /** REFUSED_STREAM or GOAWAY above it: nothing was processed. */
  | "remote-refused-stream"
  /** The connection never came to be. */
  | "connection-failure"
  /** The connection ended under the stream. */
  | "connection-termination"
  /** The peer broke the protocol. */
  | "protocol-error"
  /** We ended it. */
  | "local-reset"
  /** A pool had no room for another waiting request. */
  | "overflow";

export interface Reset {
  readonly reason: ResetReason;
  /** For people, e.g. the operating system's text or the codec's complaint; may be empty. */
  readonly detail: string;
  /** Upstream only: no byte of the request was given to the connection's writer. */
  readonly unsent: boolean;
}

/**
 * One request as its server sees it: how to answer. A response that ends before its request ends that too: nothing more
 * of it comes, and the client is told to stop (HTTP/2: RST_STREAM NO_ERROR, HTTP/1: the connection closes).
 */
export interface ServerStream {
  /** Any number of 1xx, then one final head. 101 turns an HTTP/1 stream into raw bytes both ways. */
  respond(head: ResponseHead, endStream: boolean): void;
  /** False: stop until `onWritable`. The chunk must not change afterwards. */
  sendData(chunk: Uint8Array, endStream: boolean): boolean;
  /** Ends the response. Sent where the protocol and the client allow it, else dropped (the response still ends). */
  sendTrailers(fields: HeaderList): void;
  /** Ends the stream abnormally: RST_STREAM with that HTTP/2 error code, HTTP/1 closes its connection. */
  reset(code: number): void;
  consume(bytes: number): void;
  /** Keep-alive ends with this response (HTTP/1: Connection: close; HTTP/2: GOAWAY after it). Call before `respond`. */
  closeAfter(): void;
}

/** What hears of the rest of a request. After `onReset` or the end of both directions nothing more comes. */
export interface RequestListener {
  /** The chunk is a view that is valid only during the call unless the listener copies it or passes it to sendData. */
  onData(chunk: Uint8Array, endStream: boolean): void;
  /** Ends the request. */
  onTrailers(fields: HeaderList): void;
  /** The response's queue has room again. */
  onWritable(): void;
  /** The client is gone or has taken the request back; no answer can be sent any more. */
  onReset(reset: Reset): void;
}

/** What a server connection calls. */
export interface ServerConnectionHandler {
  /** A request arrived. The listener is asked for at once; the response may already have been given when this returns. */
  onRequest(stream: ServerStream, head: RequestHead, endStream: boolean): RequestListener;
  /** A message that could not be read was answered by the connection itself (400, 431 …), or reset. `details` as Envoy's response code details, e.g. `http1.codec_error`. */
  onRefused(status: number, details: string, head: RequestHead | undefined): void;
  /** The connection is over; every stream's listener has been told. */
  onConnectionClosed(): void;
}

/** One request as its client sees it: how to send the body. */
export interface ClientStream {
  sendData(chunk: Uint8Array, endStream: boolean): boolean;
  sendTrailers(fields: HeaderList): void;
  /** Takes the request back. No callback follows. */
  reset(): void;
  consume(bytes: number): void;
}

/** What hears of a response. */
export interface ResponseListener {
  /** 100, 102, 103: before the final head. 101 comes as onHeaders: the stream is raw bytes from then on. */
  onInformational(head: ResponseHead): void;
  onHeaders(head: ResponseHead, endStream: boolean): void;
  onData(chunk: Uint8Array, endStream: boolean): void;
  onTrailers(fields: HeaderList): void;
  /** The request's queue has room again. */
  onWritable(): void;
  /** The last call, when the response did not come to its end. */
  onReset(reset: Reset): void;
}

/** An HTTP connection to an upstream, or what chooses one. */
export interface ClientConnection {
  /** undefined: it takes no request now. The listener is never called before this returns. */
  request(head: RequestHead, endStream: boolean, listener: ResponseListener): ClientStream | undefined;
  /** Requests that are running. */
  readonly active: number;
  /** May take a request now. */
  readonly available: boolean;
  /** Lets what runs end, takes no more. */
  drain(): void;
  /** Ends it now. */
  close(): void;
}
