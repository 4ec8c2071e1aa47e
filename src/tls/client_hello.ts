/** What server a TLS client asks for, read from its first message and nothing but it (RFC 8446 §4.1.2, RFC 6066 §3). */

/** What the first bytes of a connection say of the server that is wanted. */
export type ServerName =
  /** In lower case, as Envoy keeps it: host names are compared without case. */
  | { readonly kind: "name"; readonly name: string }
  /** Other bytes than TLS, or a ClientHello that names no server. */
  | { readonly kind: "none" }
  /**
   * It began as TLS and cannot be read. Whoever reads it more generously may find a name in it: it must not be taken for
   * one without a name where a name decides.
   */
  | { readonly kind: "unreadable"; readonly reason: string };

/** Of the message, without the headers of its records; Envoy's limit. */
const MAX_MESSAGE = 16 << 10; // octets
/** Of all that is looked at: the message and the headers of its records, as many as fit. */
const MAX_BYTES = 20 << 10;
const RECORD_HEADER = 5;
const MESSAGE_HEADER = 4;
const MAX_RECORD = 1 << 14; // RFC 8446 §5.1
/** Types of records: change_cipher_spec to heartbeat. */
const FIRST_TYPE = 20;
const HANDSHAKE = 22;
const LAST_TYPE = 24;
const MAJOR_VERSION = 3; // SSL 3.0 and every TLS
const CLIENT_HELLO = 1;
const RANDOM = 32;
const MAX_SESSION_ID = 32;
const SERVER_NAME = 0; // extension
const HOST_NAME = 0; // kind of name
const MAX_NAME = 255;

const NONE: ServerName = { kind: "none" };

function unreadable(reason: string): ServerName {
  return { kind: "unreadable", reason };
}

/**
 * Reads a ClientHello that arrives in any pieces, in any number of records. Keeps no more than one message of at most
 * 16 KiB. With Encrypted ClientHello it is the outer name that is read: the other one nobody can see.
 */
export class ClientHelloReader {
  readonly #header = new Uint8Array(RECORD_HEADER);
  /** Octets of the record's header that are here. */
  #headerSize = 0;
  /** Octets of the record that are still to come. */
  #recordLeft = 0;
  #firstRecord = true;
  #message = new Uint8Array(512); // most are smaller
  #size = 0;
  #seen = 0;

  /** Takes the next bytes. @returns what is known once it is; undefined: more is needed */
  receive(chunk: Uint8Array): ServerName | undefined {
    let at = 0;
    while (at < chunk.length) {
      if (this.#seen >= MAX_BYTES) return unreadable("the ClientHello is too long");
      if (this.#recordLeft === 0) {
        this.#header[this.#headerSize++] = chunk[at++]!;
        this.#seen++;
        const wrong = this.#checkHeader();
        if (wrong !== undefined) return wrong;
      } else {
        const size = Math.min(this.#recordLeft, chunk.length - at, MAX_BYTES - this.#seen);
        const verdict = this.#append(chunk.subarray(at, at + size));
        if (verdict !== undefined) return verdict;
        at += size;
      }
    }
    return undefined;
  }

  /** What it means that no more bytes come. */
  get unfinished(): ServerName {
    return unreadable(this.#seen === 0 ? "no ClientHello came" : "the ClientHello is not whole");
  }

  /** The record's header as far as it is here: what is no TLS is told as early as can be. */
  #checkHeader(): ServerName | undefined {
    const [type = 0, major, , high = 0, low = 0] = this.#header;
    const first = this.#firstRecord;
    switch (this.#headerSize) {
      case 1:
        if (first && (type < FIRST_TYPE || type > LAST_TYPE)) return NONE;
        return first || type === HANDSHAKE ? undefined : unreadable("another record inside the ClientHello");
      case 2:
        if (major === MAJOR_VERSION) return type === HANDSHAKE ? undefined : unreadable("TLS without a ClientHello");
        return first ? NONE : unreadable("a record of no version of TLS");
      case RECORD_HEADER: {
        this.#headerSize = 0;
        this.#firstRecord = false;
        this.#recordLeft = high << 8 | low;
        return this.#recordLeft > MAX_RECORD ? unreadable("a record is too long") : undefined;
      }
      default:
        return undefined;
    }
  }

  /** More of the message. */
  #append(piece: Uint8Array): ServerName | undefined {
    this.#recordLeft -= piece.length;
    this.#seen += piece.length;
    const size = this.#size + piece.length;
    if (size > this.#message.length) {
      const larger = new Uint8Array(Math.max(size, 2 * this.#message.length));
      larger.set(this.#message.subarray(0, this.#size));
      this.#message = larger;
    }
    this.#message.set(piece, this.#size);
    this.#size = size;
    const [type, high = 0, middle = 0, low = 0] = this.#message;
    if (type !== CLIENT_HELLO) return unreadable("TLS without a ClientHello");
    if (size < MESSAGE_HEADER) return undefined;
    const length = high << 16 | middle << 8 | low;
    if (length > MAX_MESSAGE) return unreadable("the ClientHello is too long");
    if (size < MESSAGE_HEADER + length) return undefined;
    return readServerName(this.#message.subarray(MESSAGE_HEADER, MESSAGE_HEADER + length));
  }
}

/** Thrown by Fields, caught in this file. */
class Malformed extends Error {}

/** Fields of a message, one after the other; throws Malformed where it is shorter than it says. */
class Fields {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  take(size: number): Uint8Array {
    if (size > this.left) throw new Malformed();
    this.#at += size;
    return this.#bytes.subarray(this.#at - size, this.#at);
  }

  byte(): number {
    return this.take(1)[0]!;
  }

  word(): number {
    return this.byte() << 8 | this.byte();
  }

  /** What has its own length, of one or two octets, before it. */
  vector(lengthSize: 1 | 2): Uint8Array {
    return this.take(lengthSize === 1 ? this.byte() : this.word());
  }

  end(): void {
    if (this.left > 0) throw new Malformed();
  }
}

/** @param body of a ClientHello */
function readServerName(body: Uint8Array): ServerName {
  try {
    const hello = new Fields(body);
    hello.word(); // legacy_version
    hello.take(RANDOM);
    if (hello.vector(1).length > MAX_SESSION_ID) throw new Malformed();
    hello.vector(2); // cipher_suites
    hello.vector(1); // legacy_compression_methods
    if (hello.left === 0) return NONE; // before TLS 1.3 there need not be extensions
    const extensions = new Fields(hello.vector(2));
    hello.end();
    let name: string | undefined;
    while (extensions.left > 0) {
      const type = extensions.word();
      const content = extensions.vector(2);
      if (type !== SERVER_NAME) continue;
      if (name !== undefined) throw new Malformed();
      name = hostName(content);
    }
    return name === undefined ? NONE : { kind: "name", name };
  } catch (error) {
    if (!(error instanceof Malformed)) throw error;
    return unreadable("the ClientHello is malformed");
  }
}

/** One host name and nothing else: what RFC 6066 leaves room for beyond that, no implementation sends. */
function hostName(extension: Uint8Array): string {
  const fields = new Fields(extension);
  const names = new Fields(fields.vector(2));
  fields.end();
  if (names.byte() !== HOST_NAME) throw new Malformed();
  const octets = names.vector(2);
  names.end();
  if (octets.length === 0 || octets.length > MAX_NAME) throw new Malformed();
  let name = "";
  for (const octet of octets) {
    if (octet <= 0x20 || octet >= 0x7f) throw new Malformed();
    name += String.fromCharCode(octet >= 0x41 && octet <= 0x5a ? octet | 0x20 : octet);
  }
  // RFC 6066 has none; servers that take it off would serve a name that no policy has heard of.
  if (name.endsWith(".")) throw new Malformed();
  return name;
}
