import { Buffer } from "node:buffer";
import { CR, LF } from "./characters.ts";

const NOTHING = new Uint8Array(0);
const END: Buffer = Buffer.from("\r\n\r\n", "latin1");
const FIRST_PENDING = 1 << 10; // bytes

/**
 * - `incomplete`: all was taken, the end has not come;
 * - `complete`: `bytes` holds the section from `start` to `end`, the empty line included;
 * - `line-end`: what has come holds a CR or LF on its own; `bytes` ends right behind it;
 * - `too-large`: the section is longer than the limit, and no lone CR or LF was in that much of it.
 */
export type SectionStatus = "incomplete" | "complete" | "line-end" | "too-large";

/**
 * Finds the end of a section of lines: a head or trailers, up to and with the empty line. A section that came whole is
 * not copied. One that did not is gathered; lone line ends are found at once then, because a peer that writes them
 * waits for an answer and will never send the CRLF CRLF.
 *
 * What is reported does not depend on how the octets were split.
 */
export class SectionReader {
  bytes: Uint8Array = NOTHING;
  start = 0;
  end = 0;
  status: SectionStatus = "incomplete";
  readonly #limit: number;
  #pending: Uint8Array = NOTHING;
  #used = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Something of an unfinished section has been kept. */
  get started(): boolean {
    return this.#used > 0;
  }

  /** Forgets the section; its bytes stay valid until the next `read`. */
  reset(): void {
    this.#used = 0;
    this.#pending = NOTHING;
    this.bytes = NOTHING;
  }

  /** Reads on from `at`; returns where the section ends, or the end of what there is. */
  read(source: Uint8Array, at: number): number {
    if (this.#used === 0) {
      const found = Buffer.prototype.indexOf.call(source as Buffer, END, at);
      if (found < 0) return this.#keep(source, at, source.length);
      const end = found + 4;
      if (end - at > this.#limit) return this.#keep(source, at, end);
      this.bytes = source;
      this.start = at;
      this.end = end;
      this.status = "complete";
      return end;
    }
    const missing = this.#missing(source, at);
    let end: number;
    if (missing > 0) end = at + missing;
    else {
      const found = Buffer.prototype.indexOf.call(source as Buffer, END, at);
      if (found < 0) return this.#keep(source, at, source.length);
      end = found + 4;
    }
    this.#keep(source, at, end);
    if (this.status === "incomplete") this.status = "complete";
    return end;
  }

  /** How many octets of `source` complete the empty line that has begun in what is kept; 0 when it is not so. */
  #missing(source: Uint8Array, at: number): number {
    const pending = this.#pending;
    const used = this.#used;
    let matched = 0;
    if (pending[used - 1] === CR) matched = used >= 3 && pending[used - 2] === LF && pending[used - 3] === CR ? 3 : 1;
    else if (used >= 2 && pending[used - 1] === LF && pending[used - 2] === CR) matched = 2;
    if (matched === 0 || source.length - at < 4 - matched) return 0;
    for (let i = matched; i < 4; i++) if (source[at + i - matched] !== END[i]) return 0;
    return 4 - matched;
  }

  /** Appends source[at, to) as far as the limit allows, and looks for what is wrong in it. Returns `to`. */
  #keep(source: Uint8Array, at: number, to: number): number {
    const room = Math.min(to - at, this.#limit - this.#used);
    const before = this.#used;
    const used = before + room;
    if (used > this.#pending.length) {
      const grown = new Uint8Array(Math.min(this.#limit, Math.max(FIRST_PENDING, used, 2 * this.#pending.length)));
      grown.set(this.#pending.subarray(0, before));
      this.#pending = grown;
    }
    const pending = this.#pending;
    pending.set(source.subarray(at, at + room), before);
    this.#used = used;
    this.bytes = pending;
    this.start = 0;
    this.end = used;
    // A CR that was last before may turn out to be alone now.
    for (let i = Math.max(0, before - 1); i < used; i++) {
      const octet = pending[i]!;
      if (octet > CR) continue;
      const alone = octet === LF
        ? i === 0 || pending[i - 1] !== CR
        : octet === CR && i + 1 < used && pending[i + 1] !== LF;
      if (alone) {
        this.end = i + 1;
        this.status = "line-end";
        return to;
      }
    }
    this.status = room < to - at ? "too-large" : "incomplete";
    return to;
  }
}
