import type { OutputQueue } from "./output.ts";
import { Flag, FRAME_HEADER_SIZE, FrameType, writeFrameHeader } from "./frames.ts";
import { BY_REFERENCE, writeData } from "./frame_writer.ts";
import type { HeaderList } from "./types.ts";

/** Waiting chunks smaller than this are merged into common frames. */
const MERGED_FRAME = 16 << 10; // bytes

/** A small view of a larger buffer is copied when it must wait, so that it does not keep the whole buffer alive. */
const COPIED_VIEW = 8 << 10; // bytes

/** What one stream has to send and could not send at once. */
export class SendQueue {
  /** Payload bytes waiting. */
  bytes = 0;
  /** The last byte ends the stream. */
  end = false;
  /** To send after the last byte; they end the stream. */
  trailers: HeaderList | undefined;
  readonly #chunks: Uint8Array[] = [];
  #head = 0;
  #offset = 0; // bytes of the first chunk that were sent

  push(chunk: Uint8Array): void {
    const size = chunk.length;
    if (size === 0) return;
    this.#chunks.push(size < COPIED_VIEW && size * 2 < chunk.buffer.byteLength ? chunk.slice() : chunk);
    this.bytes += size;
  }

  /** Moves up to `allowed` bytes on as DATA frames; returns how many. END_STREAM goes with the last byte. */
  moveTo(output: OutputQueue, streamId: number, allowed: number, maxFrameSize: number): number {
    const total = Math.min(allowed, this.bytes);
    let left = total;
    while (left > 0) {
      const chunk = this.#chunks[this.#head]!;
      const rest = chunk.length - this.#offset;
      let size = Math.min(left, maxFrameSize);
      if (rest >= size || rest >= BY_REFERENCE) {
        size = Math.min(size, rest);
        this.bytes -= size;
        writeData(output, streamId, chunk, this.#offset, this.#offset + size, this.#ends());
        this.#advance(size);
      } else {
        size = Math.min(size, MERGED_FRAME);
        this.bytes -= size;
        this.#writeMerged(output, streamId, size);
      }
      left -= size;
    }
    return total;
  }

  #ends(): boolean {
    return this.end && this.bytes === 0 && this.trailers === undefined;
  }

  #writeMerged(output: OutputQueue, streamId: number, size: number): void {
    let at = output.reserve(FRAME_HEADER_SIZE + size);
    const buffer = output.buffer;
    writeFrameHeader(buffer, at, size, FrameType.DATA, this.#ends() ? Flag.END_STREAM : 0, streamId);
    at += FRAME_HEADER_SIZE;
    for (let left = size; left > 0;) {
      const chunk = this.#chunks[this.#head]!;
      const from = this.#offset;
      const taken = Math.min(left, chunk.length - from);
      buffer.set(taken === chunk.length ? chunk : chunk.subarray(from, from + taken), at);
      this.#advance(taken);
      at += taken;
      left -= taken;
    }
  }

  #advance(bytes: number): void {
    this.#offset += bytes;
    if (this.#offset < this.#chunks[this.#head]!.length) return;
    this.#offset = 0;
    this.#chunks[this.#head] = EMPTY; // let the bytes go
    if (++this.#head === this.#chunks.length) {
      this.#chunks.length = 0;
      this.#head = 0;
    } else if (this.#head >= 64 && this.#head * 2 >= this.#chunks.length) {
      this.#chunks.splice(0, this.#head);
      this.#head = 0;
    }
  }
}

const EMPTY = new Uint8Array(0);
