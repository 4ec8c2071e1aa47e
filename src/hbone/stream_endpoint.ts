import { ErrorCode, type HeaderList, type Http2Stream } from "../http2/mod.ts";
import { CLOSE_GRACE_MS, Endpoint } from "../net/endpoint.ts";
import type { RelayError } from "../net/relay.ts";
import { type ConnectFailure, connectFailure } from "./failure.ts";
import { resetText } from "./reset_text.ts";
import type { StreamUser } from "./stream_user.ts";
import type { HboneTransport } from "./transport.ts";

const EMPTY = new Uint8Array(0);
/** Chunks from this size on are written at once. */
const BULK_CHUNK = 32 * 1024; // bytes

function transportOf(stream: Http2Stream<StreamUser>): HboneTransport {
  return stream.connection.data as HboneTransport;
}

/** Who asked for a tunnel: hears exactly one of the two. */
export interface ConnectOwner {
  /** The peer answered 200: bytes may flow. `headers` are those of the response. */
  connected(endpoint: StreamEndpoint, headers: HeaderList): void;
  connectFailed(failure: ConnectFailure): void;
}

/** Decides about a CONNECT that was reset before it was answered: true when it is sent again elsewhere. */
export interface ConnectRetrier {
  retry(endpoint: StreamEndpoint, code: number): boolean;
}

/**
 * A CONNECT stream of an HBONE transport as one end of a relay.
 *
 * Client side: created with an owner that waits for the response. Server side: created for an accepted request.
 * Received bytes return their flow-control credit only once they have left through the peer, so what this endpoint
 * can make the process hold is bounded by the stream's window.
 */
export class StreamEndpoint extends Endpoint implements StreamUser {
  #stream: Http2Stream<StreamUser> | undefined = undefined;
  #owner: ConnectOwner | undefined;
  #retrier: ConnectRetrier | undefined = undefined;
  /** Bytes handed to the codec and not yet reported to the peer as consumed. */
  #owed = 0;
  #unread = 0;
  /** The codec's queue of this stream is full; it calls onWritable. */
  #full = false;
  /** The transport calls onDrained. */
  #awaitsDrain = false;
  #reading: "open" | "ended" = "open";
  #writing: "open" | "finishing" | "closing" | "closed" = "open";
  /** Bytes that came between the response (or request) and the join. */
  #early: Uint8Array[] | undefined = undefined;
  #error: RelayError | undefined = undefined;
  /** The stream was reset, by either side. */
  #abrupt = false;

  /** Set when nobody waits for the answer any more. */
  abandoned = false;

  constructor(owner: ConnectOwner | undefined) {
    super();
    this.#owner = owner;
  }

  /** Binds the codec's stream. A client stream that is retried is bound again. */
  bind(stream: Http2Stream<StreamUser>, retrier: ConnectRetrier | undefined): void {
    this.#stream = stream;
    this.#retrier = retrier;
    this.#error = undefined;
  }

  get stream(): Http2Stream<StreamUser> | undefined {
    return this.#stream;
  }

  get closed(): boolean {
    return this.#writing === "closed";
  }

  /** The other side has said all; it may have left, or wait for an answer. */
  get halfClosed(): boolean {
    return this.#reading === "ended";
  }

  /** The owner no longer wants the tunnel; nothing is reported to it. */
  abandon(): void {
    this.abandoned = true;
    this.#owner = undefined;
    this.#stream?.reset(ErrorCode.CANCEL);
  }

  override joined(): void {
    const early = this.#early;
    this.#early = undefined;
    this.#unread = 0;
    if (early !== undefined) {
      for (const chunk of early) this.#forward(chunk);
    }
    if (this.#reading === "ended") this.peer?.finish();
    if (this.#writing === "closed") this.relay?.endpointClosed(this, this.#error, this.#abrupt);
  }

  // --- towards the tunnel ---

  override deliver(chunk: Uint8Array): void {
    if (this.#writing !== "open" || this.#stream === undefined) {
      this.peer?.consumed(chunk.length);
      return;
    }
    this.#owed += chunk.length;
    if (!this.#stream.sendData(chunk, false)) this.#full = true;
    // Much data gains nothing from waiting for other streams, and its source must learn at once whether it fits.
    if (chunk.length >= BULK_CHUNK) transportOf(this.#stream).flush();
    this.#settle();
  }

  /** Reports to the peer what has left: unless the codec's queue is full, or much waits for the socket. */
  #settle(): void {
    const owed = this.#owed;
    if (owed === 0 || this.#full) return;
    if (owed >= BULK_CHUNK && this.#stream !== undefined) {
      const transport = transportOf(this.#stream);
      if (transport.blocked) {
        if (!this.#awaitsDrain) transport.whenDrained(this);
        this.#awaitsDrain = true;
        return;
      }
    }
    this.#owed = 0;
    this.peer?.consumed(owed);
  }

  override consumed(bytes: number): void {
    this.#unread -= bytes;
    this.#stream?.consume(bytes);
  }

  override finish(): void {
    if (this.#writing !== "open") return;
    this.#writing = "finishing";
    this.#stream?.sendData(EMPTY, true);
  }

  override close(abrupt: boolean): void {
    if (this.#writing === "closed") return;
    this.finish();
    this.#writing = "closing";
    // What was delivered still leaves; only then is the rest of the peer's direction cancelled.
    if (this.#stream !== undefined && this.#stream.pendingBytes === 0) this.abort();
    else if (abrupt) setTimeout(() => this.abort(), CLOSE_GRACE_MS).unref();
  }

  override abort(): void {
    this.#abrupt = true;
    this.#stream?.reset(ErrorCode.CANCEL);
  }

  /** What the codec handed over and the peer has not sent on. */
  get unread(): number {
    return this.#unread;
  }

  cut(error: RelayError): void {
    if (this.relay !== undefined) this.relay.cut(error);
    else this.abort();
  }

  doom(error: RelayError): void {
    if (this.relay !== undefined) this.relay.cut(error);
    else this.#error ??= error;
  }

  /** Why it ended, where that was not in order; for whoever did not join it yet. */
  get error(): RelayError | undefined {
    return this.#error;
  }

  // --- from the codec ---

  onHeaders(headers: HeaderList, endStream: boolean): void {
    const owner = this.#owner;
    if (owner === undefined) return;
    const status = headers[0]?.[1] ?? "";
    if (status.length === 3 && status.charCodeAt(0) === 0x31) return; // informational: the answer is yet to come
    this.#owner = undefined;
    this.#retrier = undefined;
    if (status === "200") {
      if (endStream) this.#reading = "ended";
      owner.connected(this, headers);
      return;
    }
    this.#stream?.reset(ErrorCode.CANCEL);
    owner.connectFailed(connectFailure(`http status: ${statusText(status)}`, "CONNECT", status === "503"));
  }

  onData(chunk: Uint8Array, endStream: boolean): void {
    if (chunk.length > 0) {
      if (this.peer !== undefined) {
        this.#forward(chunk);
      } else {
        (this.#early ??= []).push(chunk);
        this.#unread += chunk.length;
      }
    }
    if (endStream) this.#readEnded();
  }

  onWritable(): void {
    this.#full = false;
    this.#settle();
    if (this.#writing === "closing" && this.#stream?.pendingBytes === 0) this.abort();
  }

  onDrained(): void {
    this.#awaitsDrain = false;
    this.#settle();
  }

  onReset(code: number, remote: boolean): void {
    const refused = this.#stream;
    if (this.#owner !== undefined && remote && this.#retrier?.retry(this, code)) {
      // The first attempt is nobody's now: its end, which follows, is not this endpoint's.
      if (this.#stream === refused) this.#stream = undefined;
      return;
    }
    this.#abrupt = true;
    // A stream that goes away with its connection reads as an end of file too, as a reset TCP connection does.
    if (code !== ErrorCode.NO_ERROR && code !== ErrorCode.CANCEL) {
      this.#error ??= { text: resetText(code, remote) };
    }
    const owner = this.#owner;
    this.#owner = undefined;
    this.#readEnded();
    const { text, flag } = this.#error ?? { text: resetText(code, remote) };
    owner?.connectFailed(connectFailure(text, flag ?? "H2_HANDSHAKE_FAILURE", true));
  }

  onClosed(stream: Http2Stream<StreamUser>): void {
    if (stream !== this.#stream || this.#writing === "closed") return; // e.g. the first attempt of a retried CONNECT
    this.#writing = "closed";
    const owed = this.#owed;
    this.#owed = 0;
    if (owed > 0) this.peer?.consumed(owed);
    // The stream stays known: bytes that it delivered may leave later, and their credit belongs to its connection.
    this.relay?.endpointClosed(this, this.#error, this.#abrupt);
  }

  #forward(chunk: Uint8Array): void {
    this.bytesRead += chunk.length;
    if (this.readCounter !== undefined) this.readCounter.value += chunk.length;
    this.#unread += chunk.length;
    (this.peer as Endpoint).deliver(chunk);
  }

  #readEnded(): void {
    if (this.#reading === "ended") return;
    this.#reading = "ended";
    this.peer?.finish();
  }
}

const REASONS: Readonly<Record<string, string>> = {
  "400": "Bad Request",
  "401": "Unauthorized",
  "403": "Forbidden",
  "404": "Not Found",
  "405": "Method Not Allowed",
  "429": "Too Many Requests",
  "431": "Request Header Fields Too Large",
  "500": "Internal Server Error",
  "502": "Bad Gateway",
  "503": "Service Unavailable",
  "504": "Gateway Timeout",
};

function statusText(status: string): string {
  const reason = REASONS[status];
  return reason === undefined ? status : `${status} ${reason}`;
}
