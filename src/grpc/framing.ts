/** Length-prefixed messages (gRPC over HTTP/2): one octet of flags, four of length, the message. Without I/O. */
import { GrpcError, GrpcStatus } from "./status.ts";

/** Octets before each message. */
export const PREFIX = 5;
const COMPRESSED = 1;
/** Messages up to this many bytes leave together with their prefix; larger ones are not copied. */
const JOINED = 16 << 10;

/** A message as the pieces to send, the message itself unchanged in them. Throws RangeError beyond 4 GiB. */
export function frameMessage(message: Uint8Array): readonly Uint8Array[] {
  const { length } = message;
  if (length > 0xffff_ffff) throw new RangeError(`grpc: a message of ${length} bytes cannot be framed`);
  const joined = length <= JOINED;
  const head = new Uint8Array(PREFIX + (joined ? length : 0));
  head[1] = length >>> 24;
  head[2] = length >>> 16;
  head[3] = length >>> 8;
  head[4] = length;
  if (!joined) return [head, message];
  head.set(message, PREFIX);
  return [head];
}

/**
 * Puts messages together from pieces of any size. The memory of a message is taken once, when its length is known and
 * allowed, and each byte is copied once: a large message costs a piece as much as a small one does.
 */
export class MessageReader {
  readonly #limit: number;
  /** grpc-encoding of the response, for the error. */
  encoding = "identity";
  #message: Uint8Array | undefined = undefined;
  /** Set for good when what came is no message that is taken. */
  problem: GrpcError | undefined = undefined;
  readonly #prefix = new Uint8Array(PREFIX);
  /** Octets of the prefix that are here. */
  #prefixSize = 0;
  #body: Uint8Array | undefined = undefined;
  #bodySize = 0;

  /** @param limit of one message, bytes */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Whether a message has begun and is not whole. */
  get inside(): boolean {
    return this.#prefixSize > 0;
  }

  /** How much of the message is here: `12 of 5000 bytes`. */
  get progress(): string {
    if (this.#body === undefined) return `${this.#prefixSize} of the ${PREFIX} bytes of a prefix`;
    return `${this.#bodySize} of ${this.#body.length} bytes`;
  }

  /** The message that read() has made whole, once; it is the taker's own. */
  take(): Uint8Array | undefined {
    const message = this.#message;
    this.#message = undefined;
    return message;
  }

  /** Takes bytes from `at` on, up to the end of the message or of the bytes. @returns where it stopped */
  read(bytes: Uint8Array, at: number): number {
    if (this.problem !== undefined) return bytes.length;
    while (this.#body === undefined) {
      if (at === bytes.length) return at;
      this.#prefix[this.#prefixSize++] = bytes[at++]!;
      if (this.#prefixSize === PREFIX && !this.#begin()) return bytes.length;
    }
    const body = this.#body;
    const size = Math.min(body.length - this.#bodySize, bytes.length - at);
    if (size > 0) body.set(size === bytes.length ? bytes : bytes.subarray(at, at + size), this.#bodySize);
    this.#bodySize += size;
    if (this.#bodySize === body.length) {
      this.#message = body;
      this.#body = undefined;
      this.#bodySize = this.#prefixSize = 0;
    }
    return at + size;
  }

  /** Lets go of a message that will not be finished. */
  clear(): void {
    this.#body = this.#message = undefined;
    this.#bodySize = this.#prefixSize = 0;
  }

  /** The prefix is here. */
  #begin(): boolean {
    const [flags = 0, a = 0, b = 0, c = 0, d = 0] = this.#prefix;
    const length = ((a << 24) | (b << 16) | (c << 8) | d) >>> 0;
    if (flags === COMPRESSED) {
      return this.#refuse(
        GrpcStatus.internal,
        `a message is compressed (grpc-encoding ${this.encoding}), and no compression was offered`,
      );
    }
    if (flags !== 0) return this.#refuse(GrpcStatus.internal, `a message has unknown flags 0x${flags.toString(16)}`);
    if (length > this.#limit) {
      const text = `a message of ${length} bytes is larger than the ${this.#limit} bytes that are taken`;
      return this.#refuse(GrpcStatus.resourceExhausted, text);
    }
    this.#body = new Uint8Array(length);
    return true;
  }

  #refuse(code: number, text: string): false {
    this.problem = new GrpcError("protocol", code, text);
    this.#prefixSize = 0;
    return false;
  }
}
