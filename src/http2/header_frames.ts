import { ErrorCode } from "./errors.ts";
import { Flag, FrameType } from "./frames.ts";
import { checkRequest, checkResponse, trailersProblem } from "./headers.ts";
import { SKIP_PAYLOAD } from "./parser.ts";
import type { Session } from "./session.ts";
import { Stream } from "./stream.ts";
import type { HeaderList } from "./types.ts";

const FIRST_BLOCK = 4096; // bytes

/**
 * Receives HEADERS and CONTINUATION (RFC 9113 §6.2, §6.10). Every block is decoded, also of streams that are not
 * wanted, because the decoder must see all of them in order (§4.3).
 */
export class HeaderReceiver<T> {
  /** The stream whose header block is incomplete, or 0. */
  continuing = 0;
  readonly #session: Session<T>;
  #endStream = false; // of the incomplete block's HEADERS
  #frames = 0; // of the incomplete block
  #block: Uint8Array | undefined; // the incomplete block
  #length = 0;

  constructor(session: Session<T>) {
    this.#session = session;
  }

  /** Checks a frame header; the answer is as FrameSink.onFrameHeader's. */
  frameHeader(length: number, type: number, flags: number, streamId: number): number {
    const session = this.#session;
    if (length > session.options.maxFrameSize) {
      return this.#fail(ErrorCode.FRAME_SIZE_ERROR, "a header frame above SETTINGS_MAX_FRAME_SIZE");
    }
    if (type === FrameType.HEADERS) {
      if (!this.#admit(streamId)) return SKIP_PAYLOAD;
      const prefix = ((flags & Flag.PADDED) !== 0 ? 1 : 0) + ((flags & Flag.PRIORITY) !== 0 ? 5 : 0);
      if (length < prefix) return this.#fail(ErrorCode.FRAME_SIZE_ERROR, "HEADERS too short for its flags");
      this.#frames = 0;
      this.#length = 0;
    }
    const { limits, options } = session;
    if (++this.#frames > limits.headerFrames) {
      return this.#fail(ErrorCode.ENHANCE_YOUR_CALM, "a header block of too many frames");
    }
    if (this.#length + length > Math.max(limits.headerBlockBytes, options.maxHeaderListSize * 4)) {
      return this.#fail(ErrorCode.ENHANCE_YOUR_CALM, "a header block of too many octets");
    }
    return length;
  }

  /** Takes a frame's payload. */
  frame(type: number, flags: number, streamId: number, bytes: Uint8Array, at: number, end: number): void {
    const session = this.#session;
    if (type === FrameType.HEADERS) {
      this.#endStream = (flags & Flag.END_STREAM) !== 0;
      if ((flags & Flag.PADDED) !== 0) end -= bytes[at++]!;
      if ((flags & Flag.PRIORITY) !== 0) at += 5; // RFC 9113 §5.3.2: of no meaning any more
      if (end < at) {
        session.connectionError(ErrorCode.PROTOCOL_ERROR, "padding longer than the frame");
        return;
      }
    }
    const whole = (flags & Flag.END_HEADERS) !== 0;
    if (whole && this.#length === 0) {
      this.continuing = 0;
      this.#decode(streamId, bytes, at, end);
      return;
    }
    this.#keep(bytes, at, end);
    this.continuing = streamId;
    if (!whole) return;
    const block = this.#block!;
    this.continuing = 0;
    this.#block = undefined;
    this.#decode(streamId, block, 0, this.#length);
  }

  #keep(bytes: Uint8Array, at: number, end: number): void {
    const length = this.#length + end - at;
    let block = this.#block;
    if (block === undefined || block.length < length) {
      const larger = new Uint8Array(Math.max(length, FIRST_BLOCK, 2 * this.#length));
      if (block !== undefined) larger.set(block.subarray(0, this.#length));
      this.#block = block = larger;
    }
    block.set(bytes.subarray(at, end), this.#length);
    this.#length = length;
  }

  /** Which streams HEADERS may name at all. */
  #admit(streamId: number): boolean {
    const session = this.#session;
    if (session.table.has(streamId)) return true;
    if (streamId === 0 || (streamId & 1) === 0) {
      this.#fail(ErrorCode.PROTOCOL_ERROR, `HEADERS on stream ${streamId}`);
      return false;
    }
    if (session.isIdle(streamId)) {
      if (session.role === "server") return true;
      this.#fail(ErrorCode.PROTOCOL_ERROR, `HEADERS on idle stream ${streamId}`);
      return false;
    }
    if (session.closed.mayLinger(streamId) || session.closed.wasResetByPeer(streamId)) return true;
    if (session.closed.neverWas(streamId)) {
      this.#fail(ErrorCode.PROTOCOL_ERROR, `HEADERS on stream ${streamId} after higher ones`);
    } else this.#fail(ErrorCode.STREAM_CLOSED, `HEADERS on closed stream ${streamId}`);
    return false;
  }

  #fail(code: number, message: string): typeof SKIP_PAYLOAD {
    this.#session.connectionError(code, message);
    return SKIP_PAYLOAD;
  }

  #decode(streamId: number, bytes: Uint8Array, at: number, end: number): void {
    const session = this.#session;
    const { decoder } = session;
    const list = decoder.decode(bytes, at, end, session.options.maxHeaderListSize);
    if (list === undefined) {
      session.connectionError(ErrorCode.COMPRESSION_ERROR, decoder.error);
      return;
    }
    const stream = session.table.get(streamId);
    if (stream !== undefined) this.#message(stream, list, decoder.tooLarge);
    else if (session.role === "server" && session.isIdle(streamId)) this.#request(streamId, list, decoder.tooLarge);
    else if (session.closed.wasResetByPeer(streamId)) session.refuse(streamId, ErrorCode.STREAM_CLOSED);
  }

  /** A new stream of a client. */
  #request(streamId: number, list: HeaderList, tooLarge: boolean): void {
    const session = this.#session;
    const { options } = session;
    if (streamId > session.lastPeerStream + 2) {
      session.closed.skipped(session.lastPeerStream === 0 ? 1 : session.lastPeerStream + 2, streamId - 2);
    }
    session.lastPeerStream = streamId;
    if (session.goawaySent >= 0 && streamId > session.goawaySent) {
      session.closed.resetByUs(streamId); // told in GOAWAY; its frames are ignored (RFC 9113 §6.8)
      return;
    }
    if (
      tooLarge || (options.maxConcurrentStreams !== undefined && session.table.size >= options.maxConcurrentStreams)
    ) {
      session.refuse(streamId, ErrorCode.REFUSED_STREAM);
      return;
    }
    const facts = checkRequest(list, options.enableConnectProtocol === true);
    const ends = this.#endStream;
    if (facts.problem !== "" || (ends && facts.contentLength > 0)) {
      session.refuse(streamId, ErrorCode.PROTOCOL_ERROR);
      return;
    }
    const stream = new Stream<T>(session, streamId, undefined as T);
    stream.tunnel = facts.tunnel;
    stream.contentLeft = facts.contentLength;
    session.table.set(streamId, stream);
    if (ends) stream.endRemote();
    session.handler.onHeaders(stream, list, ends);
  }

  /** A block on an open stream: response, informational response or trailers. */
  #message(stream: Stream<T>, list: HeaderList, tooLarge: boolean): void {
    const session = this.#session;
    if (stream.state !== "open" && stream.state !== "half-closed-local") {
      session.streamError(stream, ErrorCode.STREAM_CLOSED);
    } else if (tooLarge) {
      session.streamError(stream, ErrorCode.PROTOCOL_ERROR);
    } else if (stream.headersReceived) this.#trailers(stream, list);
    else this.#response(stream, list);
  }

  #trailers(stream: Stream<T>, list: HeaderList): void {
    const session = this.#session;
    if (!this.#endStream || stream.tunnel || stream.contentLeft > 0 || trailersProblem(list) !== "") {
      session.streamError(stream, ErrorCode.PROTOCOL_ERROR);
      return;
    }
    stream.endRemote();
    session.handler.onTrailers(stream, list);
    session.finishIfClosed(stream);
  }

  #response(stream: Stream<T>, list: HeaderList): void {
    const session = this.#session;
    const ends = this.#endStream;
    const facts = checkResponse(list);
    const { status } = facts;
    const informational = status < 200;
    if (facts.problem !== "" || (informational && ends)) {
      session.streamError(stream, ErrorCode.PROTOCOL_ERROR);
      return;
    }
    if (!informational) {
      stream.headersReceived = true;
      if (stream.tunnel && status >= 300) stream.tunnel = false; // refused: an ordinary response
      if (stream.head || status === 204 || status === 304) stream.contentLeft = 0;
      else if (!stream.tunnel) stream.contentLeft = facts.contentLength;
      if (ends && stream.contentLeft > 0) {
        session.streamError(stream, ErrorCode.PROTOCOL_ERROR);
        return;
      }
    }
    if (ends) stream.endRemote();
    session.handler.onHeaders(stream, list, ends);
    if (ends) session.finishIfClosed(stream);
  }
}
