/**
 * Window arithmetic (RFC 9113 §5.2, §6.9).
 *
 * Invariant of a receive window, as long as its size does not change:
 * `available + credit + (bytes delivered and not yet consumed) = size`.
 * So when all delivered bytes are consumed, either `available` is above half of the size or the credit reaches the
 * half that is announced: a peer never waits for a consumer that has nothing left to consume.
 */
export const MAX_WINDOW = 0x7fff_ffff; // bytes, RFC 9113 §6.9.1

/** What a peer may still send, and what has been consumed but not announced yet. */
export class ReceiveWindow {
  /** Bytes that the peer may send before the next announcement; negative after a shrinking SETTINGS. */
  available: number;
  #credit = 0;
  #size: number;

  constructor(size: number) {
    this.available = size;
    this.#size = size;
  }

  /**
   * Moves the window's size, and with it what is available (RFC 9113 §6.9.2). Returns the increment to announce now:
   * what was little of a large window may be all of a small one.
   */
  resize(size: number): number {
    this.available += size - this.#size;
    this.#size = size;
    return this.consume(0);
  }

  /**
   * Takes bytes back. Returns the increment to announce now, or 0 to gather more: announcements are made for half of
   * the window, or for an eighth once the peer has little left to send.
   */
  consume(bytes: number): number {
    const credit = this.#credit + bytes;
    const size = this.#size;
    if (credit * 2 >= size || (credit * 8 >= size && this.available * 4 <= size)) {
      this.available += credit;
      this.#credit = 0;
      return credit;
    }
    this.#credit = credit;
    return 0;
  }
}
