import type { HeaderList } from "../http2/mod.ts";
import { CR, HEX, LF, SEMICOLON } from "./characters.ts";
import { Details, type Problem, problem } from "./errors.ts";
import { facts, keepTrailers, readFields } from "./fields.ts";
import { latin1 } from "./latin1.ts";
import type { Http1Limits } from "./limits.ts";
import { SectionReader } from "./section_reader.ts";

/** What a ContentReader calls. `contentEnded` and `contentFailed` are the last calls for a message. */
export interface ContentOwner {
  contentData(view: Uint8Array): void;
  contentTrailers(fields: HeaderList): void;
  contentEnded(): void;
  contentFailed(found: Problem): void;
}

type State =
  | "none"
  | "length"
  | "endless" // to the end of the connection
  | "size"
  | "extension"
  | "size-lf"
  | "data"
  | "data-cr"
  | "data-lf"
  | "trailers-start"
  | "trailers-lf"
  | "trailers";

const MAX_SIZE_DIGITS = 16; // leading zeros included
const MAX_SIZE = Number.MAX_SAFE_INTEGER;

const TCHAR = "[!#$%&'*+\\-.^_`|~0-9A-Za-z]+";
const QUOTED = '"(?:[\\t !#-\\[\\]-~\\x80-\\xff]|\\\\[\\t -~\\x80-\\xff])*"';
/**
 * chunk-ext (RFC 9112 §7.1.1) without the white space that its grammar calls bad: nobody sends it, and readers differ
 * about it.
 */
const EXTENSION = new RegExp(`^(?:;${TCHAR}(?:=(?:${TCHAR}|${QUOTED}))?)+$`);

function bad(text: string): Problem {
  return problem(400, Details.CODEC_ERROR, text);
}

/** Reads the content of messages (RFC 9112 §6, §7): by length, by chunks, or without end. */
export class ContentReader {
  #state: State = "none";
  /** Octets left of the content, or of the chunk. */
  #left = 0;
  #digits = 0;
  /** Extension of the chunk that is being read, and octets of all extensions of the message. */
  #extension = "";
  #extensionBytes = 0;
  readonly #trailers: SectionReader;
  readonly #limits: Http1Limits;
  readonly #owner: ContentOwner;

  constructor(limits: Http1Limits, owner: ContentOwner) {
    this.#limits = limits;
    this.#owner = owner;
    this.#trailers = new SectionReader(limits.maxHeaderBytes);
  }

  beginLength(bytes: number): void {
    this.#left = bytes;
    this.#state = "length";
  }

  beginChunks(): void {
    this.#state = "size";
    this.#left = this.#digits = this.#extensionBytes = 0;
    this.#extension = "";
  }

  beginEndless(): void {
    this.#state = "endless";
  }

  /** Reads on from `at` to the end of the content or of the bytes; returns where it stopped. */
  read(bytes: Uint8Array, from: number): number {
    let at = from;
    const length = bytes.length;
    while (at < length && this.#state !== "none") {
      switch (this.#state) {
        case "endless":
          this.#owner.contentData(at === 0 ? bytes : bytes.subarray(at));
          return length;
        case "length":
        case "data":
          at = this.#data(bytes, at);
          break;
        case "trailers":
          at = this.#readTrailers(bytes, at);
          break;
        case "trailers-start":
          if (bytes[at] === CR) {
            this.#state = "trailers-lf";
            at++;
          } else this.#state = "trailers";
          break;
        default: {
          const wrong = this.#frame(bytes[at]!);
          if (wrong !== undefined) {
            this.#fail(wrong);
            return at;
          }
          at++;
        }
      }
    }
    return at;
  }

  #data(bytes: Uint8Array, at: number): number {
    const end = Math.min(bytes.length, at + this.#left);
    this.#left -= end - at;
    const done = this.#left === 0;
    const last = done && this.#state === "length";
    if (done) this.#state = last ? "none" : "data-cr";
    this.#owner.contentData(at === 0 && end === bytes.length ? bytes : bytes.subarray(at, end));
    if (last) this.#owner.contentEnded();
    return end;
  }

  /** One octet of what is around chunks. Returns what is wrong with it. */
  #frame(octet: number): Problem | undefined {
    switch (this.#state) {
      case "size": {
        const digit = HEX[octet]!;
        if (digit !== 0) {
          if (++this.#digits > MAX_SIZE_DIGITS) return bad("chunk size has too many digits");
          this.#left = this.#left * 16 + digit - 1;
          return this.#left > MAX_SIZE ? bad("chunk size is too large") : undefined;
        }
        if (this.#digits === 0) return bad("chunk size is not a hexadecimal number");
        if (octet === CR) this.#state = "size-lf";
        else if (octet === SEMICOLON) {
          this.#state = "extension";
          return this.#extend(octet);
        } else return bad("chunk size is not a hexadecimal number");
        return undefined;
      }
      case "extension":
        if (octet !== CR) return this.#extend(octet);
        if (!EXTENSION.test(this.#extension)) return bad("malformed chunk extension");
        this.#state = "size-lf";
        return undefined;
      case "size-lf":
        if (octet !== LF) return bad("CR without LF after a chunk size");
        this.#digits = 0;
        this.#extension = "";
        this.#state = this.#left === 0 ? "trailers-start" : "data";
        return undefined;
      case "data-cr":
        if (octet !== CR) return bad("chunk is longer than its size");
        this.#state = "data-lf";
        return undefined;
      case "data-lf":
        if (octet !== LF) return bad("CR without LF after a chunk");
        this.#state = "size";
        return undefined;
      case "trailers-lf":
        if (octet !== LF) return bad("CR without LF after the last chunk");
        this.#state = "none";
        this.#owner.contentEnded();
        return undefined;
      default:
        throw new Error(`no chunk framing in state ${this.#state}`);
    }
  }

  #extend(octet: number): Problem | undefined {
    if (octet === LF) return bad("LF without CR after a chunk size");
    if (++this.#extensionBytes > this.#limits.maxChunkExtensionBytes) return bad("chunk extensions are too large");
    this.#extension += String.fromCharCode(octet);
    return undefined;
  }

  #readTrailers(bytes: Uint8Array, at: number): number {
    const reader = this.#trailers;
    const end = reader.read(bytes, at);
    if (reader.status === "incomplete") return end;
    if (reader.status === "too-large") {
      this.#fail(problem(431, Details.HEADERS_TOO_LARGE, "trailers are too large"));
      return end;
    }
    const text = latin1(reader.bytes, reader.start, reader.end);
    const wrong = readFields(
      reader.bytes,
      reader.start,
      reader.end,
      text,
      reader.start,
      this.#limits.maxHeaderCount,
      false,
    );
    reader.reset();
    if (wrong !== undefined) {
      this.#fail(wrong);
      return end;
    }
    if (facts.lengths > 0 || facts.encodings > 0) {
      // Whoever sends them late wants somebody to believe them (RFC 9110 §6.5.1).
      this.#fail(bad("Content-Length or Transfer-Encoding in trailers"));
      return end;
    }
    const fields = facts.fields;
    keepTrailers(fields);
    this.#state = "none";
    if (fields.length > 0) this.#owner.contentTrailers(fields);
    this.#owner.contentEnded();
    return end;
  }

  #fail(found: Problem): void {
    this.#state = "none";
    this.#owner.contentFailed(found);
  }
}
