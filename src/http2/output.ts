import { giveRest, takeSlab } from "../net/slab.ts";
import { giveBuffer, LARGEST_BUFFER, takeBuffer } from "./buffers.ts";

/** Largest plaintext of a TLS record (RFC 8446 §5.1); each record costs its transport about the same, full or not. */
const TLS_RECORD = 16 << 10; // bytes

const NOTHING = new Uint8Array(0);

/**
 * Bytes on their way out. Frames are appended to one gather buffer; large payloads are queued by reference between two
 * ranges of it. A buffer goes back to the pool when its last piece has been taken and the next one is asked for, which
 * keeps each piece valid until then. Where pieces are given away, buffers are slabs that are used up instead, and no
 * piece ever changes.
 */
export class OutputQueue {
  /** The gather buffer; write at `used` after `reserve`. */
  buffer: Uint8Array = NOTHING;
  used = 0;
  /** Bytes queued and not yet taken. */
  pending = 0;
  #start = 0; // of the range of `buffer` that is not in #pieces yet
  #pieces: Uint8Array[] = [];
  #owners: (Uint8Array | undefined)[] = []; // buffer to release after the piece, beside #pieces
  #head = 0;
  #handed: Uint8Array | undefined; // buffer of the piece last taken, if that was its last piece
  readonly #givesAway: boolean;

  constructor(givesAway = false) {
    this.#givesAway = givesAway;
  }

  /** Makes room for `bytes` more and counts them as pending; the caller writes them at the returned offset. */
  reserve(bytes: number): number {
    const at = this.used;
    this.pending += bytes;
    if (at + bytes <= this.buffer.length) {
      this.used = at + bytes;
      return at;
    }
    return this.#grow(bytes);
  }

  /** How many octets after `bytes` more complete a TLS record of the range that is being gathered. */
  recordRoom(bytes: number): number {
    return TLS_RECORD - ((this.used - this.#start + bytes) % TLS_RECORD);
  }

  /** Queues a payload without copying it. */
  append(payload: Uint8Array): void {
    this.#closeRange(undefined);
    this.#pieces.push(payload);
    this.#owners.push(undefined);
    this.pending += payload.length;
  }

  /** The next piece, or undefined when nothing is pending. Ends the validity of the piece before. */
  take(): Uint8Array | undefined {
    if (this.#handed !== undefined) {
      giveBuffer(this.#handed);
      this.#handed = undefined;
    }
    if (this.#head < this.#pieces.length) {
      const piece = this.#pieces[this.#head]!;
      this.#handed = this.#owners[this.#head];
      if (++this.#head === this.#pieces.length) {
        this.#pieces.length = 0;
        this.#owners.length = 0;
        this.#head = 0;
      }
      this.pending -= piece.length;
      return piece;
    }
    const { buffer, used } = this;
    if (used === this.#start) {
      if (buffer !== NOTHING) this.#release();
      return undefined;
    }
    const piece = buffer.subarray(this.#start, used);
    this.pending -= piece.length;
    if (this.#givesAway) {
      this.#start = used;
      return piece;
    }
    this.#handed = buffer;
    this.buffer = NOTHING;
    this.used = this.#start = 0;
    return piece;
  }

  /** Drops everything. */
  clear(): void {
    this.#pieces = [];
    this.#owners = [];
    this.#head = 0;
    this.#handed = undefined;
    this.buffer = NOTHING;
    this.used = this.#start = this.pending = 0;
  }

  #release(): void {
    this.#giveBack(this.#givesAway ? this.buffer.subarray(this.used) : this.buffer);
    this.buffer = NOTHING;
    this.used = this.#start = 0;
  }

  #closeRange(owner: Uint8Array | undefined): void {
    if (this.used > this.#start) {
      this.#pieces.push(this.buffer.subarray(this.#start, this.used));
      this.#owners.push(owner);
      this.#start = this.used;
    }
  }

  #grow(bytes: number): number {
    const old = this.buffer;
    const waiting = this.used - this.#start;
    if (this.#start === 0 && waiting + bytes <= LARGEST_BUFFER) {
      // One contiguous piece is one write: move on to a larger buffer. No piece refers to the old one.
      const larger = this.#take(waiting + bytes);
      if (waiting > 0) larger.set(old.subarray(0, waiting));
      if (old !== NOTHING) this.#giveBack(old);
      this.buffer = larger;
      this.used = waiting + bytes;
      return waiting;
    }
    this.#closeRange(this.#givesAway ? undefined : old);
    this.buffer = this.#take(bytes);
    this.#start = 0;
    this.used = bytes;
    return 0;
  }

  #take(bytes: number): Uint8Array {
    return this.#givesAway ? takeSlab(bytes) : takeBuffer(bytes);
  }

  #giveBack(buffer: Uint8Array): void {
    if (this.#givesAway) giveRest(buffer);
    else giveBuffer(buffer);
  }
}
