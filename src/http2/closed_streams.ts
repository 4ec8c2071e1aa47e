const REMEMBERED = 128; // streams of each kind
const GAPS = 16;

/**
 * What is remembered of streams that are gone. Frames may still come for a stream that we have reset; for any other
 * closed stream they are an error (RFC 9113 §5.1). Ids that a client jumped over were never opened, which is an error
 * of another kind (§5.1.1).
 */
export class ClosedStreams {
  #byUs: Set<number> | undefined;
  #byPeer: Set<number> | undefined;
  #forgottenUpTo = 0; // the highest id that #byUs had to forget
  #gaps: number[] | undefined; // pairs of first and last id

  resetByUs(id: number): void {
    const set = this.#byUs ??= new Set();
    set.add(id);
    if (set.size <= REMEMBERED) return;
    const oldest = set.values().next().value!;
    set.delete(oldest);
    if (oldest > this.#forgottenUpTo) this.#forgottenUpTo = oldest;
  }

  resetByPeer(id: number): void {
    const set = this.#byPeer ??= new Set();
    set.add(id);
    if (set.size > REMEMBERED) set.delete(set.values().next().value!);
  }

  skipped(first: number, last: number): void {
    const gaps = this.#gaps ??= [];
    gaps.push(first, last);
    if (gaps.length > GAPS * 2) gaps.splice(0, 2);
  }

  /** Frames of this stream may still be on their way and are to be ignored. */
  mayLinger(id: number): boolean {
    return id <= this.#forgottenUpTo || (this.#byUs !== undefined && this.#byUs.has(id));
  }

  wasResetByPeer(id: number): boolean {
    return this.#byPeer !== undefined && this.#byPeer.has(id);
  }

  /** The id was jumped over, so this stream never was. */
  neverWas(id: number): boolean {
    const gaps = this.#gaps;
    if (gaps === undefined) return false;
    for (let i = 0; i < gaps.length; i += 2) {
      if (id >= gaps[i]! && id <= gaps[i + 1]!) return true;
    }
    return false;
  }
}
