/** Messages on a byte stream: two bytes of length before each (RFC 1035 §4.2.2). */

const LENGTH = 2; // bytes

/** Takes a stream apart. Holds at most one message and what came with it in one chunk. */
export class FrameReader {
  readonly #maxLength: number;
  #held: Uint8Array | undefined = undefined;

  /** @param maxLength longest message, bytes */
  constructor(maxLength: number) {
    this.#maxLength = maxLength;
  }

  /** Whether next() has something to say. */
  get ready(): boolean {
    const held = this.#held;
    if (held === undefined || held.length < LENGTH) return false;
    const length = lengthOf(held);
    return length > this.#maxLength || held.length >= LENGTH + length;
  }

  /** Takes the next bytes of the stream; they may be a view of a buffer that is used again. */
  push(chunk: Uint8Array): void {
    if (this.#held === undefined) {
      this.#held = chunk.slice();
      return;
    }
    const joined = new Uint8Array(this.#held.length + chunk.length);
    joined.set(this.#held);
    joined.set(chunk, this.#held.length);
    this.#held = joined;
  }

  /** The next whole message; `undefined`: not there yet; `too long`: nothing more can be read of this stream. */
  next(): Uint8Array | "too long" | undefined {
    const held = this.#held;
    if (held === undefined || held.length < LENGTH) return undefined;
    const length = lengthOf(held);
    if (length > this.#maxLength) return "too long";
    const end = LENGTH + length;
    if (held.length < end) return undefined;
    this.#held = held.length === end ? undefined : held.subarray(end);
    return held.subarray(LENGTH, end);
  }
}

function lengthOf(framed: Uint8Array): number {
  return ((framed[0] as number) << 8) | (framed[1] as number);
}

/** The message with its length before it. */
export function frame(message: Uint8Array): Uint8Array<ArrayBuffer> {
  const framed = new Uint8Array(LENGTH + message.length);
  framed[0] = message.length >>> 8;
  framed[1] = message.length;
  framed.set(message, LENGTH);
  return framed;
}
