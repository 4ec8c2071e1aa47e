import { Flag, FRAME_HEADER_SIZE, FrameType, PREFACE, readUint31 } from "./frames.ts";

/** What to do with the payload of a frame whose header was read. */
export const SKIP_PAYLOAD = -1;

/** The receiver of frames. Each method may set `stopped`, after which the parser leaves the rest alone. */
export interface FrameSink {
  readonly stopped: boolean;
  /** The client's preface was wrong. */
  onBadPreface(): void;
  /**
   * A frame header other than DATA's. Returns how many octets of the payload (from its start) to hand over whole in
   * `onFrame`, or SKIP_PAYLOAD to ignore the frame.
   */
  onFrameHeader(length: number, type: number, flags: number, streamId: number): number;
  /** The wanted octets of the payload: `bytes[at..end)`, valid during the call. */
  onFrame(type: number, flags: number, streamId: number, bytes: Uint8Array, at: number, end: number): void;
  /** A DATA frame begins. */
  onDataHeader(length: number, flags: number, streamId: number): void;
  /** Padding of the current DATA frame is `octets` long, with the length octet. A wrong one has `octets` above the frame's length. */
  onDataPadding(octets: number): void;
  /** Data of the current DATA frame: `bytes[at..end)`; at = end for a frame without data. `last`: it ends the frame's data. */
  onDataBytes(bytes: Uint8Array, at: number, end: number, last: boolean): void;
}

type Stage = "preface" | "header" | "payload" | "skip" | "pad-length" | "data";

/**
 * Reads frames from pieces of any size. Frame headers and whole control frames are read where they lie; what a piece
 * cuts off is kept. DATA is passed on as it comes.
 */
export class FrameParser {
  #stage: Stage;
  #left: number; // octets of the stage still to come
  #length = 0;
  #type = 0;
  #flags = 0;
  #streamId = 0;
  #padding = 0; // octets of padding behind the data
  #kept: Uint8Array | undefined; // the cut-off beginning of a frame header or payload
  #keptLength = 0;

  constructor(expectPreface: boolean) {
    this.#stage = expectPreface ? "preface" : "header";
    this.#left = expectPreface ? PREFACE.length : 0;
  }

  /** Reads a piece to its end, or until the sink stops. */
  push(bytes: Uint8Array, sink: FrameSink): void {
    const end = bytes.length;
    let at = 0;
    while (at < end && !sink.stopped) {
      switch (this.#stage) {
        case "header":
          at = this.#readHeader(bytes, at, end, sink);
          break;
        case "data": {
          const upTo = Math.min(end, at + this.#left);
          this.#left -= upTo - at;
          const last = this.#left === 0;
          if (last) this.#skip(this.#padding);
          const from = at;
          at = upTo;
          sink.onDataBytes(bytes, from, upTo, last);
          break;
        }
        case "payload":
          at = this.#readPayload(bytes, at, end, sink);
          break;
        case "skip": {
          const skipped = Math.min(end - at, this.#left);
          at += skipped;
          this.#skip(this.#left - skipped);
          break;
        }
        case "pad-length":
          this.#padLength(bytes, at++, sink);
          break;
        case "preface":
          at = this.#readPreface(bytes, at, end, sink);
          break;
      }
    }
  }

  /** Drops what is kept. */
  clear(): void {
    this.#kept = undefined;
  }

  #skip(octets: number): void {
    this.#left = octets;
    this.#stage = octets > 0 ? "skip" : "header";
  }

  #readHeader(bytes: Uint8Array, at: number, end: number, sink: FrameSink): number {
    if (this.#keptLength === 0 && end - at >= FRAME_HEADER_SIZE) {
      this.#begin(bytes, at, sink);
      return at + FRAME_HEADER_SIZE;
    }
    const kept = this.#kept ??= new Uint8Array(FRAME_HEADER_SIZE);
    while (at < end && this.#keptLength < FRAME_HEADER_SIZE) kept[this.#keptLength++] = bytes[at++]!;
    if (this.#keptLength === FRAME_HEADER_SIZE) {
      this.#keptLength = 0;
      this.#begin(kept, 0, sink);
    }
    return at;
  }

  #begin(bytes: Uint8Array, at: number, sink: FrameSink): void {
    const length = (bytes[at]! << 16) | (bytes[at + 1]! << 8) | bytes[at + 2]!;
    const type = bytes[at + 3]!;
    const flags = bytes[at + 4]!;
    const streamId = readUint31(bytes, at + 5);
    this.#length = length;
    if (type === FrameType.DATA) {
      this.#padding = 0;
      this.#left = length;
      this.#stage = (flags & Flag.PADDED) !== 0 ? "pad-length" : "data";
      sink.onDataHeader(length, flags, streamId);
      if (sink.stopped) return;
      if (length === 0) {
        this.#skip(0);
        if ((flags & Flag.PADDED) !== 0) sink.onDataPadding(1);
        else sink.onDataBytes(bytes, at, at, true);
      }
      return;
    }
    const wanted = sink.onFrameHeader(length, type, flags, streamId);
    if (wanted === SKIP_PAYLOAD) {
      this.#skip(length);
      return;
    }
    this.#type = type;
    this.#flags = flags;
    this.#streamId = streamId;
    if (wanted === 0) {
      this.#skip(length);
      sink.onFrame(type, flags, streamId, bytes, at, at);
      return;
    }
    this.#left = wanted;
    this.#stage = "payload";
  }

  #readPayload(bytes: Uint8Array, at: number, end: number, sink: FrameSink): number {
    const wanted = this.#left;
    let from = bytes;
    let start = at;
    if (this.#keptLength === 0 && end - at >= wanted) {
      at += wanted;
    } else {
      // Growing with what has come, not with what a frame header claims.
      const piece = Math.min(end - at, wanted - this.#keptLength);
      const needed = this.#keptLength + piece;
      let kept = this.#kept;
      if (kept === undefined || kept.length < needed) {
        kept = new Uint8Array(
          needed === wanted ? needed : Math.min(wanted, Math.max(needed, 2 * this.#keptLength, 64)),
        );
        if (this.#keptLength > 0) kept.set(this.#kept!.subarray(0, this.#keptLength));
        this.#kept = kept;
      }
      kept.set(bytes.subarray(at, at + piece), this.#keptLength);
      this.#keptLength = needed;
      at += piece;
      if (needed < wanted) return at;
      from = kept;
      start = 0;
      this.#kept = undefined;
      this.#keptLength = 0;
    }
    this.#skip(this.#length - wanted);
    sink.onFrame(this.#type, this.#flags, this.#streamId, from, start, start + wanted);
    return at;
  }

  #padLength(bytes: Uint8Array, at: number, sink: FrameSink): void {
    const padding = bytes[at]!;
    const data = this.#left - 1 - padding;
    this.#padding = padding;
    this.#left = data;
    this.#stage = "data";
    sink.onDataPadding(padding + 1);
    if (sink.stopped || data > 0) return;
    this.#skip(padding);
    sink.onDataBytes(bytes, at, at, true);
  }

  #readPreface(bytes: Uint8Array, at: number, end: number, sink: FrameSink): number {
    while (at < end && this.#left > 0) {
      if (bytes[at++] !== PREFACE[PREFACE.length - this.#left--]) {
        sink.onBadPreface();
        return at;
      }
    }
    if (this.#left === 0) this.#skip(0);
    return at;
  }
}
