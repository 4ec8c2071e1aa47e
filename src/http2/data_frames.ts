import { ErrorCode } from "./errors.ts";
import { Flag } from "./frames.ts";
import type { Session } from "./session.ts";
import type { Stream } from "./stream.ts";

/** Receives DATA (RFC 9113 §6.1): flow control by frame, delivery by piece. */
export class DataReceiver<T> {
  readonly #session: Session<T>;
  #stream: Stream<T> | undefined; // of the current frame; undefined when its bytes are dropped
  #ends = false; // the current frame has END_STREAM
  #length = 0; // of the current frame

  constructor(session: Session<T>) {
    this.#session = session;
  }

  /** A frame begins: its whole length counts against the windows (§6.9.1), whatever becomes of it. */
  header(length: number, flags: number, streamId: number): void {
    const session = this.#session;
    this.#stream = undefined;
    this.#length = length;
    this.#ends = (flags & Flag.END_STREAM) !== 0;
    if (length > session.received.available) {
      session.connectionError(
        streamId === 0 ? ErrorCode.PROTOCOL_ERROR : ErrorCode.FLOW_CONTROL_ERROR,
        "DATA beyond the connection window",
      );
      return;
    }
    session.received.available -= length;
    const stream = session.table.get(streamId);
    if (stream === undefined) {
      this.#withoutStream(streamId);
      return;
    }
    if (length > session.options.maxFrameSize) {
      session.streamError(stream, ErrorCode.FRAME_SIZE_ERROR);
      return;
    }
    if (stream.state !== "open" && stream.state !== "half-closed-local") {
      session.streamError(stream, ErrorCode.STREAM_CLOSED);
      return;
    }
    if (length > stream.received.available) {
      session.streamError(stream, ErrorCode.FLOW_CONTROL_ERROR);
      return;
    }
    stream.received.available -= length;
    if (!stream.headersReceived) {
      session.streamError(stream, ErrorCode.PROTOCOL_ERROR);
      return;
    }
    this.#stream = stream;
  }

  /** The frame is padded; padding is credit at once. */
  padding(octets: number): void {
    const session = this.#session;
    if (octets > this.#length) {
      session.connectionError(ErrorCode.PROTOCOL_ERROR, "padding longer than the frame");
      return;
    }
    const stream = this.#stream;
    if (stream !== undefined && stream.state !== "closed") stream.credit(octets);
    else session.credit(octets);
  }

  /** A piece of the frame's data. */
  bytes(bytes: Uint8Array, at: number, end: number, last: boolean): void {
    const session = this.#session;
    const stream = this.#stream;
    const size = end - at;
    if (stream === undefined || stream.state === "closed") {
      if (size > 0) session.credit(size);
      return;
    }
    const ends = last && this.#ends;
    if (size === 0 && !ends) {
      session.allow("emptyData", "too many empty DATA frames");
      return;
    }
    if (stream.contentLeft >= 0) {
      stream.contentLeft -= size;
      if (stream.contentLeft < 0 || (ends && stream.contentLeft > 0)) {
        session.credit(size);
        session.streamError(stream, ErrorCode.PROTOCOL_ERROR); // RFC 9113 §8.1.1
        return;
      }
    }
    stream.unconsumed += size;
    if (ends) stream.endRemote();
    session.handler.onData(stream, size === bytes.length ? bytes : bytes.subarray(at, end), ends);
    if (ends) session.finishIfClosed(stream);
  }

  /** DATA for a stream that is not open. */
  #withoutStream(streamId: number): void {
    const session = this.#session;
    if (streamId === 0) {
      session.connectionError(ErrorCode.PROTOCOL_ERROR, "DATA on stream 0");
    } else if (session.isIdle(streamId) || session.closed.neverWas(streamId)) {
      session.connectionError(ErrorCode.PROTOCOL_ERROR, `DATA on idle stream ${streamId}`);
    } else if (session.closed.wasResetByPeer(streamId)) {
      session.refuse(streamId, ErrorCode.STREAM_CLOSED);
    } else if (!session.closed.mayLinger(streamId)) {
      session.connectionError(ErrorCode.STREAM_CLOSED, `DATA on closed stream ${streamId}`);
    }
  }
}
