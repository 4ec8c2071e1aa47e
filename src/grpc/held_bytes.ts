const FIRST = 4 << 10; // bytes

/**
 * What came for a reader that does not read. Copied together, so that a peer that sends it in tiny pieces costs no more
 * than the bytes; the window of its stream bounds how many there are.
 */
export class HeldBytes {
  #buffer: Uint8Array | undefined = undefined;
  #start = 0;
  #end = 0;

  get length(): number {
    return this.#end - this.#start;
  }

  push(bytes: Uint8Array): void {
    const size = this.length + bytes.length;
    let buffer = this.#buffer;
    if (buffer === undefined || this.#end + bytes.length > buffer.length) {
      const place = buffer !== undefined && size <= buffer.length / 2
        ? buffer // enough of it has been read
        : new Uint8Array(Math.max(FIRST, size, 2 * (buffer?.length ?? 0)));
      if (buffer === place) place.copyWithin(0, this.#start, this.#end);
      else if (buffer !== undefined) place.set(buffer.subarray(this.#start, this.#end));
      this.#end -= this.#start;
      this.#start = 0;
      this.#buffer = buffer = place;
    }
    buffer.set(bytes, this.#end);
    this.#end += bytes.length;
  }

  /** All that is here, until the next push or drop. */
  view(): Uint8Array {
    return this.#buffer?.subarray(this.#start, this.#end) ?? EMPTY;
  }

  /** Forgets that many bytes from the beginning; the memory goes with the last of them. */
  drop(bytes: number): void {
    this.#start += bytes;
    if (this.#start < this.#end) return;
    this.#buffer = undefined;
    this.#start = this.#end = 0;
  }
}

const EMPTY = new Uint8Array(0);
