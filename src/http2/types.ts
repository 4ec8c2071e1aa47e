import type { Http2Limits } from "./limits.ts";
import type { PeerSettings } from "./settings.ts";

/**
 * A header list in the order of the wire: pseudo-header fields first, names in lower case.
 * Strings carry octets (one UTF-16 unit for each octet, "latin1"), so opaque values survive a round trip.
 */
export type HeaderList = [name: string, value: string][];

/** Which end of the connection this is (RFC 9113 §3.4). */
export type Role = "client" | "server";

/** RFC 9113 §5.1, without the states that an object is never in (idle) or that push would need (reserved). */
export type StreamState = "open" | "half-closed-local" | "half-closed-remote" | "closed";

/**
 * What a transport gives to a connection. One object serves all connections of a transport: every call names its
 * connection or stream. Calls come synchronously from `receive()`, from a sending call or from `nextOutput()`; any
 * method may be called from inside them.
 */
export interface Http2Handler<T> {
  /**
   * Output went from empty to non-empty. Called at most once until `nextOutput()` has returned undefined.
   * Not called for the connection preface: a new connection has output from the start.
   */
  onOutput(connection: Http2Connection<T>): void;
  /** Server: a request. Client: a response, informational (1xx) ones too. Already validated (RFC 9113 §8.2, §8.3). */
  onHeaders(stream: Http2Stream<T>, headers: HeaderList, endStream: boolean): void;
  /** The trailer section; it ends the peer's side of the stream. */
  onTrailers(stream: Http2Stream<T>, trailers: HeaderList): void;
  /**
   * A piece of DATA as it arrived: a view into the bytes given to `receive()`, not a whole frame. It is empty only
   * together with `endStream`. Credit goes back to the peer only by `stream.consume()`.
   */
  onData(stream: Http2Stream<T>, chunk: Uint8Array, endStream: boolean): void;
  /** After `sendData` returned false: the stream's queue fell to half of `maxSendBuffer` or below. */
  onWritable(stream: Http2Stream<T>): void;
  /**
   * The stream ended abnormally: RST_STREAM received (`remote`), a stream error found by this side, or the death of
   * the connection. Not called for the application's own `stream.reset()`. A stream that a GOAWAY declares
   * unprocessed gets REFUSED_STREAM and `remote`: it may be retried elsewhere (RFC 9113 §8.7).
   */
  onReset(stream: Http2Stream<T>, code: number, remote: boolean): void;
  /** Both directions have ended, or the stream was reset by either side: the last call for this stream. */
  onStreamClosed(stream: Http2Stream<T>): void;
  /** The peer's SETTINGS were applied; see `connection.peerSettings`. */
  onSettings?(connection: Http2Connection<T>): void;
  /** GOAWAY received. Streams of ours above `lastStreamId` have had their `onReset` before this call. */
  onGoaway?(connection: Http2Connection<T>, lastStreamId: number, code: number, debug: string): void;
  /** The peer answered a PING of ours. `payload` (8 octets) is a view valid only during the call. */
  onPong?(connection: Http2Connection<T>, payload: Uint8Array): void;
  /** A connection error (RFC 9113 §5.4.1) was found and GOAWAY(code) queued: flush what remains, then close. */
  onConnectionError(connection: Http2Connection<T>, code: number, message: string): void;
}

export interface Http2Options {
  /** SETTINGS_INITIAL_WINDOW_SIZE: bytes that a peer may send on one stream before we consume, 1 to 2^31-1. */
  readonly initialWindowSize: number;
  /** Bytes that a peer may send on all streams before we consume, at least 65 535; raised by WINDOW_UPDATE at start. */
  readonly connectionWindowSize: number;
  /** SETTINGS_MAX_FRAME_SIZE: largest frame payload we take, 16 384 to 16 777 215 bytes. */
  readonly maxFrameSize: number;
  /** SETTINGS_MAX_HEADER_LIST_SIZE: largest decoded header list we take, bytes as counted by RFC 9113 §6.5.2. */
  readonly maxHeaderListSize: number;
  /** SETTINGS_MAX_CONCURRENT_STREAMS: streams that the peer may hold open; no limit when left out. */
  readonly maxConcurrentStreams?: number;
  /** SETTINGS_HEADER_TABLE_SIZE: bytes of HPACK dynamic table for decoding; 4096 when left out. */
  readonly headerTableSize?: number;
  /** Server push does not exist here; a client always sends ENABLE_PUSH = 0. */
  readonly enablePush?: false;
  /** Server: offer extended CONNECT (RFC 8441). */
  readonly enableConnectProtocol?: boolean;
  /** Bytes that one stream may have queued before `sendData` answers false. */
  readonly maxSendBuffer: number;
  /** Pieces of nextOutput() belong to the caller and never change: for output that is queued elsewhere. */
  readonly ownedOutput?: boolean;
  /** Guards against abusive peers; see Http2Limits for defaults. */
  readonly limits?: Partial<Http2Limits>;
  /** Clock in milliseconds, for guards and stall times; performance.now when left out. */
  readonly now?: () => number;
}

/** One HTTP/2 connection without I/O: bytes in by `receive`, bytes out by `nextOutput`, events to the handler. */
export interface Http2Connection<T = unknown> {
  readonly role: Role;
  /** A slot for the transport; the codec never touches it. */
  data: unknown;
  /** Takes bytes from the transport. Never throws for anything that a peer sends. */
  receive(bytes: Uint8Array): void;
  /**
   * The next piece to write, unmodified until the next call of nextOutput() (for ever with `ownedOutput`); undefined when
   * nothing can be written.
   */
  nextOutput(): Uint8Array | undefined;
  /** Whether nextOutput() would give something. */
  readonly hasOutput: boolean;
  /** Client: opens a stream. undefined while `canRequest` is false. */
  request(headers: HeaderList, endStream: boolean, data: T): Http2Stream<T> | undefined;
  /** Client, alive, no GOAWAY in either direction, below the peer's MAX_CONCURRENT_STREAMS, stream ids left. */
  readonly canRequest: boolean;
  /** Streams that are not closed. */
  readonly openStreams: number;
  /** Streams that are not closed, in the order they were opened. */
  streams(): IterableIterator<Http2Stream<T>>;
  /** What the peer announced; the protocol's defaults until `settingsReceived`. */
  readonly peerSettings: Readonly<PeerSettings>;
  readonly settingsReceived: boolean;
  /** Whether the peer has acknowledged our SETTINGS. */
  readonly settingsAcknowledged: boolean;
  /** Clock reading (ms) of the last `receive()` or, before any, of construction. */
  readonly lastActivity: number;
  /** Clock reading (ms) since when data waits for the connection's own window; 0 when none does. */
  readonly stalledSince: number;
  /** Visits streams whose data has waited for the peer's window (stream's or connection's) since `before` or earlier (ms of the clock). */
  visitStalled(before: number, visit: (stream: Http2Stream<T>, since: number) => void): void;
  /** Sends PING; 8 octets, by default the fixed payload that ztunnel uses. The answer comes as onPong. */
  ping(payload?: Uint8Array): void;
  /** First step of a graceful end: GOAWAY(2^31-1, NO_ERROR). New streams are still served. Repeated calls do nothing. */
  goaway(): void;
  /** GOAWAY with the last stream id that was processed; later new streams are ignored, open ones go on. */
  finalGoaway(code?: number, debug?: string): void;
  /** GOAWAY was sent or received, or the connection has failed or closed: open no new streams. */
  readonly closing: boolean;
  /** Closing, and no stream is open. */
  readonly drained: boolean;
  /** Why the connection has failed or closed; "" while it is alive. Set before the streams are told. */
  readonly endReason: string;
  /** I/O has ended: every open stream gets onReset(…, remote = true) and onStreamClosed. Idempotent. */
  transportClosed(reason: string): void;
}

/** One stream. Its calls never throw because the stream has ended; they then do nothing. */
export interface Http2Stream<T = unknown> {
  readonly id: number;
  readonly connection: Http2Connection<T>;
  /** A slot for the transport. On a server it is undefined until onHeaders sets it. */
  data: T;
  readonly state: StreamState;
  /** Server: sends response headers; any number of 1xx, then one final. Throws when called after the final one. */
  respond(headers: HeaderList, endStream: boolean): void;
  /**
   * Sends payload; the chunk must not change afterwards. False: stop until onWritable.
   * Throws when a server has not sent its final response headers yet. On a stream that has ended locally it drops and returns true.
   */
  sendData(chunk: Uint8Array, endStream: boolean): boolean;
  /** Sends the trailer section after all queued data, which ends this side. */
  sendTrailers(trailers: HeaderList): void;
  /**
   * RST_STREAM; queued data is dropped. onStreamClosed follows at once, onReset does not. On a closed stream it only
   * gives back what was delivered and not consumed.
   */
  reset(code: number): void;
  /**
   * Gives credit for that many delivered bytes back, to stream and connection. Needed for every byte delivered, also
   * after the peer has ended the stream or the stream has closed (or the connection's window shrinks for good); not after a
   * reset, which gives back what was left.
   */
  consume(bytes: number): void;
  /** Bytes queued in this stream, not yet moved on to the connection's output. */
  readonly pendingBytes: number;
  /** Clock reading (ms) since when queued data has waited for the peer's stream window; 0 when it does not wait. */
  readonly stalledSince: number;
}
