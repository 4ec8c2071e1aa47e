/**
 * A raw HBONE client of the lab's own: TLS with any certificate, then HTTP/2 written by hand (RFC 9113, HPACK without
 * compression), so that it can say what a well-behaved client never would. It shares no code with the proxy.
 */
import { Buffer } from "node:buffer";
import type { NetworkNamespace } from "../topology/mod.ts";
import { Conversation, ConversationError, type Destination } from "./conversation.ts";

/** Key, chain and roots as PEM; without a key the peer shows no certificate. */
export interface PeerCredentials {
  readonly key?: string;
  readonly chain?: string;
  readonly roots?: string;
}

const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
const FRAME_HEADER = 9;
const DATA = 0;
const HEADERS = 1;
const RST_STREAM = 3;
const SETTINGS = 4;
const GOAWAY = 7;
const END_STREAM = 1;
const ACK = 1;
const END_HEADERS = 4;
/** HPACK static table, RFC 7541 appendix A: the entries a status can be. */
const STATIC_STATUS: Readonly<Record<number, number>> = { 8: 200, 9: 204, 10: 206, 11: 304, 12: 400, 13: 404, 14: 500 };

export interface StreamEvents {
  status: number | undefined;
  data: string;
  ended: boolean;
  reset: number | undefined;
}

export class HbonePeer {
  readonly conversation: Conversation;
  readonly #streams = new Map<number, StreamEvents>();
  #nextStream = 1;
  #goaway = false;
  #reading: Promise<void>;

  /** @throws ConversationError when the connection or the handshake fails */
  static async connect(
    namespace: NetworkNamespace,
    destination: Destination,
    credentials: PeerCredentials,
  ): Promise<HbonePeer> {
    const conversation = await Conversation.open(namespace, destination, {
      tls: {
        ...(credentials.key === undefined ? {} : { key: credentials.key }),
        ...(credentials.chain === undefined ? {} : { cert: credentials.chain }),
        ...(credentials.roots === undefined ? {} : { ca: credentials.roots }),
        rejectUnauthorized: false,
        ALPNProtocols: "\x02h2",
      } as Bun.TLSOptions,
    });
    return new HbonePeer(conversation);
  }

  private constructor(conversation: Conversation) {
    this.conversation = conversation;
    // SETTINGS_HEADER_TABLE_SIZE 0: answers then come without a dynamic table, which this peer does not keep.
    conversation.write(Buffer.concat([PREFACE, frame(SETTINGS, 0, 0, Buffer.from([0, 1, 0, 0, 0, 0]))]));
    this.#reading = this.#read();
  }

  get goaway(): boolean {
    return this.#goaway;
  }

  /** Opens a stream with these headers and waits for its status. @throws ConversationError when none comes */
  async request(headers: readonly (readonly [string, string])[], endStream = false): Promise<StreamEvents> {
    const id = this.#nextStream;
    this.#nextStream += 2;
    const stream: StreamEvents = { status: undefined, data: "", ended: false, reset: undefined };
    this.#streams.set(id, stream);
    const block = Buffer.concat(headers.map(([name, value]) => literal(name, value)));
    this.conversation.write(frame(HEADERS, END_HEADERS | (endStream ? END_STREAM : 0), id, block));
    await this.#until(() => stream.status !== undefined || stream.reset !== undefined);
    if (stream.status === undefined && stream.reset === undefined) {
      throw this.conversation.failure ?? new ConversationError("EOF", "the peer closed without an answer");
    }
    return stream;
  }

  /** CONNECT to an authority, as HBONE. */
  connect(authority: string): Promise<StreamEvents> {
    return this.request([[":method", "CONNECT"], [":authority", authority]]);
  }

  send(stream: StreamEvents, text: string, endStream = false): void {
    for (const [id, known] of this.#streams) {
      if (known === stream) this.conversation.write(frame(DATA, endStream ? END_STREAM : 0, id, Buffer.from(text)));
    }
  }

  /** Waits until so many bytes of data came on the stream. */
  async received(stream: StreamEvents, bytes: number): Promise<string> {
    await this.#until(() => stream.data.length >= bytes || stream.ended || stream.reset !== undefined);
    return stream.data;
  }

  close(): void {
    this.conversation.close();
  }

  #waiting = new Set<() => void>();

  async #until(ready: () => boolean): Promise<void> {
    while (!ready() && !this.conversation.ended) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#waiting.add(resolve);
      await Promise.race([promise, this.#reading]);
      this.#waiting.delete(resolve);
    }
  }

  async #read(): Promise<void> {
    try {
      while (true) {
        const head = await this.conversation.readBytes(FRAME_HEADER);
        const length = head.readUIntBE(0, 3);
        const body = length === 0 ? Buffer.alloc(0) : await this.conversation.readBytes(length);
        this.#frame(head[3] ?? 0, head[4] ?? 0, head.readUInt32BE(5) & 0x7fffffff, body);
        for (const wake of this.#waiting) wake();
      }
    } catch {
      // The end of the connection; who waits looks at it.
    } finally {
      for (const wake of this.#waiting) wake();
    }
  }

  #frame(type: number, flags: number, id: number, body: Buffer): void {
    if (type === SETTINGS && (flags & ACK) === 0) this.conversation.write(frame(SETTINGS, ACK, 0, Buffer.alloc(0)));
    if (type === GOAWAY) this.#goaway = true;
    const stream = this.#streams.get(id);
    if (stream === undefined) return;
    if (type === HEADERS) stream.status ??= statusOf(body);
    if (type === DATA) stream.data += body.toString("latin1");
    if (type === RST_STREAM) stream.reset = body.readUInt32BE(0);
    if ((type === HEADERS || type === DATA) && (flags & END_STREAM) !== 0) stream.ended = true;
  }
}

function frame(type: number, flags: number, stream: number, body: Buffer): Buffer {
  const head = Buffer.alloc(FRAME_HEADER);
  head.writeUIntBE(body.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, body]);
}

/** Literal header field without indexing, new name, no Huffman (RFC 7541 §6.2.2); names and values are short. */
function literal(name: string, value: string): Buffer {
  const text = (part: string) => {
    const bytes = Buffer.from(part);
    if (bytes.length > 126) return Buffer.concat([Buffer.from([127, ...varint(bytes.length - 127)]), bytes]);
    return Buffer.concat([Buffer.from([bytes.length]), bytes]);
  };
  return Buffer.concat([Buffer.from([0]), text(name), text(value)]);
}

function varint(value: number): number[] {
  const bytes: number[] = [];
  while (value >= 128) {
    bytes.push((value & 127) | 128);
    value >>>= 7;
  }
  return [...bytes, value];
}

/** `:status` is the first field of a response: indexed, or a literal whose name is indexed (8 to 14). */
function statusOf(block: Buffer): number | undefined {
  let at = 0;
  // Dynamic table size updates may come first.
  while (((block[at] ?? 0) & 0xe0) === 0x20) at++;
  const first = block[at] ?? 0;
  if ((first & 0x80) !== 0) return STATIC_STATUS[first & 0x7f];
  const name = (first & 0x40) !== 0 ? first & 0x3f : first & 0x0f;
  if (name < 8 || name > 14) return undefined;
  const length = block[at + 1] ?? 0;
  const value = block.subarray(at + 2, at + 2 + (length & 0x7f));
  return Number((length & 0x80) === 0 ? value.toString() : huffmanDigits(value));
}

/** Huffman codes of the digits (RFC 7541 appendix B): 0 to 2 have five bits, 3 to 9 six. */
function huffmanDigits(bytes: Buffer): string {
  let bits = "";
  for (const byte of bytes) bits += byte.toString(2).padStart(8, "0");
  let digits = "";
  while (bits.length >= 5) {
    const five = Number.parseInt(bits.slice(0, 5), 2);
    if (five <= 2) {
      digits += five;
      bits = bits.slice(5);
      continue;
    }
    const six = bits.length < 6 ? Number.NaN : Number.parseInt(bits.slice(0, 6), 2);
    if (!(six >= 0x19 && six <= 0x1f)) break;
    digits += six - 0x19 + 3;
    bits = bits.slice(6);
  }
  return digits;
}
