import { ErrorCode, type HeaderList, type Http2Stream } from "../http2/mod.ts";
import { surfaceBug } from "../net/surface.ts";
import { frameMessage, MessageReader } from "./framing.ts";
import { HeldBytes } from "./held_bytes.ts";
import { judgeHeaders, judgeTrailers, resetError } from "./response.ts";
import { GrpcError, GrpcStatus } from "./status.ts";
import type { GrpcStream } from "./types.ts";

/** Who made a call. */
export interface CallUser {
  opened(): void;
  /** Response headers are here that are no refusal. */
  accepted(): void;
  message(bytes: Uint8Array): void;
  ended(error: GrpcError | undefined): void;
}

/** What a call is told of the stream that it runs on. */
export interface Carrier {
  /** `istiod.istio-system.svc:15012`, for errors. */
  readonly peer: string;
  /** Why the connection has ended; "" while it is alive. */
  readonly endReason: string;
  /** Takes no new calls any more. */
  retire(): void;
  /** Whether nothing has come since, ms of the clock. */
  silentSince(time: number): boolean;
  readonly now: number;
}

/**
 * What may wait for a server that does not read when there is more to say, bytes: a multiple of the largest requests, which
 * are the first ones of ADS. A server that pushes on and lets no answer through would have all of them kept.
 */
const MAX_UNREAD = 32 << 20;

export interface CallOptions {
  /** Largest message that is taken, bytes. */
  readonly maxMessage: number;
  /** The first message sent is the only one: the request ends with it. */
  readonly unary: boolean;
}

/**
 * One call from its beginning to its one end. It exists before its stream does: what is sent meanwhile waits.
 *
 * Received bytes give window back only as they are read. While the call is paused they are held, so a server can send one
 * stream window more and no message.
 */
export class Call implements GrpcStream {
  readonly path: string;
  /** waiting: for metadata, connection or a free stream. */
  state: "waiting" | "open" | "ended" = "waiting";
  /** Ended without the server's application having seen it: it may be made once more (RFC 9113 §8.7). */
  unprocessed = false;
  /** Hears of the end before the user does; the channel's. */
  whenEnded: (() => void) | undefined = undefined;
  readonly #user: CallUser;
  readonly #unary: boolean;
  readonly #reader: MessageReader;
  #carrier: Carrier | undefined = undefined;
  #stream: Http2Stream<Call> | undefined = undefined;
  #outbox: Uint8Array[] = [];
  #begunAt = 0;
  #answered = false;
  #paused = false;
  #reading = false;
  readonly #held = new HeldBytes();
  /** What the server told at its end, while messages from before it are held. */
  #status: { readonly error: GrpcError | undefined } | undefined = undefined;

  constructor(path: string, user: CallUser, options: CallOptions) {
    this.path = path;
    this.#user = user;
    this.#unary = options.unary;
    this.#reader = new MessageReader(options.maxMessage);
  }

  // The user's side.

  send(message: Uint8Array): void {
    if (this.state === "ended") return;
    const pieces = frameMessage(message);
    if (this.#stream === undefined) this.#outbox.push(...pieces);
    else if (this.#stream.pendingBytes <= MAX_UNREAD) this.#write(this.#stream, pieces);
    else {
      const text = `the server does not read: ${this.#stream.pendingBytes} bytes wait for it`;
      this.#carrier?.retire();
      this.fail(new GrpcError("protocol", GrpcStatus.resourceExhausted, text), "later");
    }
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    if (!this.#reading && this.state === "open") this.#readHeld();
  }

  get holds(): boolean {
    return this.#held.length > 0;
  }

  cancel(): void {
    this.fail(new GrpcError("protocol", GrpcStatus.cancelled, "the call was cancelled"), "later");
  }

  // The channel's side.

  get over(): boolean {
    return this.state === "ended";
  }

  /** The request's headers have been written on this stream. */
  begin(stream: Http2Stream<Call>, carrier: Carrier): void {
    this.state = "open";
    this.#stream = stream;
    this.#carrier = carrier;
    this.#begunAt = carrier.now;
    const pieces = this.#outbox;
    this.#outbox = [];
    this.#write(stream, pieces);
    this.#tell(() => this.#user.opened());
  }

  /** Ends the call from this side. `later`: the user, in whose call we may be, hears of it in a microtask. */
  fail(error: GrpcError, when: "now" | "later" = "now"): void {
    if (this.state === "ended") return;
    this.#release();
    if (when === "now") this.#tellEnd(error);
    else queueMicrotask(() => this.#tellEnd(error));
  }

  /** Its time is over. A connection from which nothing came in all of it is not trusted with the next call. */
  expire(error: GrpcError): void {
    const carrier = this.#carrier;
    this.fail(error);
    if (carrier?.silentSince(this.#begunAt) === true) carrier.retire();
  }

  // The stream's side.

  onHeaders(headers: HeaderList, endStream: boolean): void {
    if (this.state !== "open") return;
    this.#answered = true;
    const verdict = judgeHeaders(headers, endStream);
    if (verdict.kind === "ended") this.#end(verdict.error);
    else if (verdict.kind === "goes-on") {
      this.#reader.encoding = verdict.encoding;
      this.#tell(() => this.#user.accepted());
    }
  }

  onTrailers(trailers: HeaderList): void {
    if (this.state === "open") this.#told(judgeTrailers(trailers));
  }

  onData(chunk: Uint8Array, endStream: boolean): void {
    if (this.state !== "open") {
      this.#stream?.consume(chunk.length);
      return;
    }
    if (this.#paused || this.#reading || this.#held.length > 0) this.#held.push(chunk);
    else {
      const used = this.#read(chunk);
      if (used < chunk.length) this.#held.push(chunk.subarray(used));
      this.#stream?.consume(used);
    }
    if (endStream && this.#open) this.#told(judgeTrailers([]));
  }

  onReset(code: number, remote: boolean): void {
    // With a status told, all of the answer is here.
    if (this.state !== "open" || this.#status !== undefined) return;
    const { endReason = "", peer = "" } = this.#carrier ?? {};
    if (endReason !== "") {
      this.#end(new GrpcError("protocol", GrpcStatus.unavailable, `lost the connection to ${peer}: ${endReason}`));
    } else if (code === ErrorCode.REFUSED_STREAM && remote && !this.#answered) {
      this.refused(`${peer} refused the call before it looked at it`);
    } else this.#end(resetError(code, remote));
  }

  /** Ends the call, which no application has seen. */
  refused(text: string): void {
    if (this.state === "ended") return;
    this.unprocessed = true;
    this.#end(new GrpcError("connect", GrpcStatus.unavailable, text));
  }

  get #open(): boolean {
    return this.state === "open";
  }

  /** Reads messages until the user pauses. @returns how many bytes were read */
  #read(bytes: Uint8Array): number {
    let at = 0;
    this.#reading = true;
    while (at < bytes.length && !this.#paused && this.#open) {
      at = this.#reader.read(bytes, at);
      const { problem } = this.#reader;
      const message = this.#reader.take();
      if (problem !== undefined) this.#end(problem);
      else if (message !== undefined) this.#tell(() => this.#user.message(message));
    }
    this.#reading = false;
    return at;
  }

  #readHeld(): void {
    const used = this.#read(this.#held.view());
    this.#held.drop(used);
    this.#stream?.consume(used);
    if (this.#open && this.#status !== undefined && !this.#paused) this.#told(this.#status.error);
  }

  /** The server has told its status; messages that it sent before come before it. */
  #told(error: GrpcError | undefined): void {
    if (this.#held.length > 0 && this.#paused) {
      this.#status = { error };
    } else if (error === undefined && this.#reader.inside) {
      const text = `the answer ended inside a message, after ${this.#reader.progress}`;
      this.#end(new GrpcError("protocol", GrpcStatus.internal, text));
    } else this.#end(error);
  }

  #write(stream: Http2Stream<Call>, pieces: readonly Uint8Array[]): void {
    for (const [i, piece] of pieces.entries()) stream.sendData(piece, this.#unary && i === pieces.length - 1);
  }

  #end(error: GrpcError | undefined): void {
    if (this.state === "ended") return;
    this.#release();
    this.#tellEnd(error);
  }

  /** Nothing is kept and nothing is told any more. */
  #release(): void {
    this.state = "ended";
    this.whenEnded?.();
    this.#outbox = [];
    this.#reader.clear();
    const stream = this.#stream;
    if (stream !== undefined) {
      stream.consume(this.#held.length);
      // A server that has said all gets the end of what we say; any other is told to stop.
      if (stream.state === "half-closed-remote" && stream.pendingBytes === 0) stream.sendData(EMPTY, true);
      else stream.reset(ErrorCode.CANCEL);
    }
    this.#held.drop(this.#held.length);
  }

  #tellEnd(error: GrpcError | undefined): void {
    try {
      this.#user.ended(error);
    } catch (bug) {
      surfaceBug(bug as Error);
    }
  }

  /** A bug of the user's ends its call, and is not hidden. */
  #tell(event: () => void): void {
    try {
      event();
    } catch (bug) {
      surfaceBug(bug as Error);
      const text = `the call's own handler failed: ${(bug as Error).message}`;
      this.fail(new GrpcError("protocol", GrpcStatus.internal, text));
    }
  }
}

const EMPTY = new Uint8Array(0);
