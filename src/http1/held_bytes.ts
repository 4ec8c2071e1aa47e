/** Small pieces are copied together from this size down, so that a peer who sends single octets does not cost objects. */
const COPIED = 1 << 10; // bytes
const BLOCK = 4 << 10; // bytes

/** Octets that wait, in order. Large pieces by reference. */
export class HeldBytes {
  length = 0;
  #pieces: Uint8Array[] = [];
  /** The block that the last piece is a part of, when it was copied; and how much of it is used. */
  #block: Uint8Array | undefined;
  #used = 0;

  add(piece: Uint8Array): void {
    if (piece.length === 0) return;
    this.length += piece.length;
    if (piece.length > COPIED) {
      this.#block = undefined;
      this.#pieces.push(piece);
      return;
    }
    const block = this.#block;
    if (block !== undefined && this.#used + piece.length <= block.length) {
      block.set(piece, this.#used);
      const last = this.#pieces.length - 1;
      const start = this.#pieces[last]!.byteOffset - block.byteOffset;
      this.#used += piece.length;
      this.#pieces[last] = block.subarray(start, this.#used);
      return;
    }
    if (this.#pieces.length === 0) {
      this.#pieces.push(piece);
      return;
    }
    const made = new Uint8Array(BLOCK);
    made.set(piece);
    this.#block = made;
    this.#used = piece.length;
    this.#pieces.push(made.subarray(0, piece.length));
  }

  /** Puts back what was taken and not used. */
  putBack(piece: Uint8Array): void {
    if (piece.length === 0) return;
    this.length += piece.length;
    this.#pieces.unshift(piece);
  }

  /** The first piece, or undefined. */
  take(): Uint8Array | undefined {
    const piece = this.#pieces.shift();
    if (piece === undefined) return undefined;
    this.length -= piece.length;
    if (this.#pieces.length === 0) this.#block = undefined;
    return piece;
  }

  clear(): void {
    this.length = 0;
    this.#pieces = [];
    this.#block = undefined;
  }
}
