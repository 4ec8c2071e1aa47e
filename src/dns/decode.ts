/** Bytes to messages (RFC 1035 §4). Anything may come in: nothing here throws for it, and work is linear in its length. */
import { labelText, MAX_NAME } from "./name.ts";
import { dataLayout } from "./rdata.ts";
import {
  type DomainName,
  type Edns,
  type Header,
  type Malformed,
  type Message,
  type Query,
  type Question,
  type RecordData,
  type ResourceRecord,
  TYPE,
} from "./types.ts";

const HEADER = 12; // bytes
/** The least that a question and a record take. */
const LEAST_QUESTION = 5; // bytes
const LEAST_RECORD = 11; // bytes
/** Compression pointers in one name. A name has at most 127 labels, and a pointer is followed by one at least. */
const MAX_POINTERS = 127;

/** A name read from where a pointer led, for the next pointer to the same place. */
interface KnownName {
  readonly text: string;
  /** Uncompressed, without the root, bytes. */
  readonly wire: number;
}

/** What is wrong with a message; thrown and caught in this file only. */
class Wrong extends Error {}

class Reader {
  readonly bytes: Uint8Array;
  at = HEADER;
  #known: Map<number, KnownName> | undefined = undefined;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  u16(): number {
    const { bytes, at } = this;
    this.#need(2);
    this.at = at + 2;
    return ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
  }

  u32(): number {
    const high = this.u16();
    return high * 0x1_0000 + this.u16();
  }

  raw(length: number): Uint8Array {
    this.#need(length);
    const from = this.at;
    this.at = from + length;
    return this.bytes.slice(from, this.at);
  }

  /** The domain name at the current place, expanded. */
  name(): DomainName {
    const { text } = this.#nameAt(this.at, 0, true);
    return text === "" ? "." : text;
  }

  /** Passes over a name without expanding it. */
  skipName(): void {
    const { bytes } = this;
    for (;;) {
      this.#need(1);
      const length = bytes[this.at] as number;
      if (length >= 0xc0) {
        this.#need(2);
        this.at += 2;
        return;
      }
      if (length > 63) throw new Wrong("a label of an unknown kind");
      this.#need(length + 1);
      this.at += length + 1;
      if (length === 0) return;
    }
  }

  skip(length: number): void {
    this.#need(length);
    this.at += length;
  }

  #need(length: number): void {
    if (this.at + length > this.bytes.length) throw new Wrong("the message ends too early");
  }

  /**
   * @param pointers followed on the way here
   * @param here whether the reader goes on behind this name
   */
  #nameAt(start: number, pointers: number, here: boolean): KnownName {
    const { bytes } = this;
    let at = start;
    let text = "";
    let wire = 0;
    for (;;) {
      if (at >= bytes.length) throw new Wrong("the message ends within a name");
      const length = bytes[at] as number;
      if (length === 0) {
        if (here) this.at = at + 1;
        break;
      }
      if (length >= 0xc0) {
        if (at + 1 >= bytes.length) throw new Wrong("the message ends within a name");
        const target = ((length & 0x3f) << 8) | (bytes[at + 1] as number);
        if (here) this.at = at + 2;
        // Only backwards: so a name ends, whatever it says.
        if (target >= start || target < HEADER) throw new Wrong("a compression pointer that does not point back");
        if (pointers === MAX_POINTERS) throw new Wrong("a name with too many compression pointers");
        const rest = this.#known?.get(target) ?? this.#remember(target, pointers + 1);
        text += rest.text;
        wire += rest.wire;
        break;
      }
      if (length > 63) throw new Wrong("a label of an unknown kind");
      if (at + 1 + length > bytes.length) throw new Wrong("the message ends within a name");
      wire += length + 1;
      if (wire >= MAX_NAME) break;
      text += `${labelText(bytes, at + 1, at + 1 + length)}.`;
      at += length + 1;
    }
    if (wire >= MAX_NAME) throw new Wrong("a name of more than 255 bytes");
    return { text, wire };
  }

  #remember(target: number, pointers: number): KnownName {
    const name = this.#nameAt(target, pointers, false);
    (this.#known ??= new Map()).set(target, name);
    return name;
  }
}

function readHeader(bytes: Uint8Array): Header | undefined {
  if (bytes.length < HEADER) return undefined;
  const high = bytes[2] as number;
  const low = bytes[3] as number;
  return {
    id: ((bytes[0] as number) << 8) | (bytes[1] as number),
    response: (high & 0x80) !== 0,
    opcode: (high >> 3) & 0xf,
    authoritative: (high & 4) !== 0,
    truncated: (high & 2) !== 0,
    recursionDesired: (high & 1) !== 0,
    recursionAvailable: (low & 0x80) !== 0,
    authenticData: (low & 0x20) !== 0,
    checkingDisabled: (low & 0x10) !== 0,
    rcode: low & 0xf,
  };
}

/** Number of entries in section 0 to 3 as the header says it. */
function count(bytes: Uint8Array, section: number): number {
  return ((bytes[4 + 2 * section] as number) << 8) | (bytes[5 + 2 * section] as number);
}

function checkCounts(bytes: Uint8Array): void {
  const records = count(bytes, 1) + count(bytes, 2) + count(bytes, 3);
  if (count(bytes, 0) * LEAST_QUESTION + records * LEAST_RECORD > bytes.length - HEADER) {
    throw new Wrong("more entries than the message has room for");
  }
}

function readQuestion(reader: Reader): Question {
  const name = reader.name();
  const type = reader.u16();
  return { name, type, class: reader.u16() };
}

function readEdns(size: number, ttl: number): Edns {
  return { payloadSize: size, version: (ttl >>> 16) & 0xff, dnssecOk: (ttl & 0x8000) !== 0 };
}

/** OPT's upper eight bits of the answer code, above the header's four. */
function extendedRcode(rcode: number, ttl: number): number {
  return ((ttl >>> 24) << 4) | rcode;
}

function readData(reader: Reader, type: number, length: number): RecordData {
  const layout = dataLayout(type);
  if (layout === undefined || length === 0) return [reader.raw(length)];
  const end = reader.at + length;
  const data: (Uint8Array | DomainName)[] = [];
  for (const part of layout.parts) {
    if (part === "name") data.push(reader.name());
    else data.push(reader.raw(part === "text" ? 1 + (reader.bytes[reader.at] ?? 0) : part));
    if (reader.at > end) throw new Wrong("the data of a record is longer than the record says");
  }
  if (reader.at < end) data.push(reader.raw(end - reader.at));
  return data;
}

interface Sections {
  readonly answers: ResourceRecord[];
  readonly authorities: ResourceRecord[];
  readonly additionals: ResourceRecord[];
  edns: Edns | undefined;
  rcode: number;
}

function readRecord(reader: Reader, into: ResourceRecord[], sections: Sections): void {
  const name = reader.name();
  const type = reader.u16();
  const recordClass = reader.u16();
  const ttl = reader.u32();
  const length = reader.u16();
  if (reader.at + length > reader.bytes.length) throw new Wrong("the message ends within a record");
  if (type !== TYPE.OPT) {
    into.push({ name, type, class: recordClass, ttl, data: readData(reader, type, length) });
    return;
  }
  if (into !== sections.additionals || name !== ".") throw new Wrong("OPT where there must be none");
  if (sections.edns !== undefined) throw new Wrong("more than one OPT");
  sections.edns = readEdns(recordClass, ttl);
  sections.rcode = extendedRcode(sections.rcode, ttl);
  reader.skip(length);
}

/** Reads `body` or says what was wrong; everything else that is thrown is a bug. */
function attempt<T extends object>(bytes: Uint8Array, body: (header: Header) => T): T | Malformed {
  const header = readHeader(bytes);
  if (header === undefined) return { ok: false, error: "shorter than a header", header };
  try {
    return body(header);
  } catch (error) {
    if (error instanceof Wrong) return { ok: false, error: error.message, header };
    throw error;
  }
}

/** A whole message, with every name expanded. Bytes after it are ignored. */
export function decodeMessage(bytes: Uint8Array): { readonly ok: true; readonly message: Message } | Malformed {
  return attempt(bytes, (header) => {
    checkCounts(bytes);
    const reader = new Reader(bytes);
    const questions: Question[] = [];
    for (let i = count(bytes, 0); i > 0; i--) questions.push(readQuestion(reader));
    const sections: Sections = {
      answers: [],
      authorities: [],
      additionals: [],
      edns: undefined,
      rcode: header.rcode,
    };
    for (let i = count(bytes, 1); i > 0; i--) readRecord(reader, sections.answers, sections);
    for (let i = count(bytes, 2); i > 0; i--) readRecord(reader, sections.authorities, sections);
    for (let i = count(bytes, 3); i > 0; i--) readRecord(reader, sections.additionals, sections);
    return { ok: true, message: { ...header, questions, ...sections } };
  });
}

/**
 * What matters of a query: one question, and OPT if there is one. Other records are only passed over, so that what a
 * client sends beside its question costs next to nothing.
 */
export function decodeQuery(bytes: Uint8Array): { readonly ok: true; readonly query: Query } | Malformed {
  return attempt(bytes, (header) => {
    checkCounts(bytes);
    if (count(bytes, 0) !== 1) throw new Wrong(`${count(bytes, 0)} questions instead of one`);
    const reader = new Reader(bytes);
    const question = readQuestion(reader);
    let edns: Edns | undefined;
    const before = count(bytes, 1) + count(bytes, 2);
    for (let i = before + count(bytes, 3); i > 0; i--) {
      const root = bytes[reader.at] === 0;
      reader.skipName();
      const type = reader.u16();
      const size = reader.u16();
      const ttl = reader.u32();
      reader.skip(reader.u16());
      if (type !== TYPE.OPT || !root) continue;
      if (edns !== undefined) throw new Wrong("more than one OPT");
      edns = readEdns(size, ttl);
    }
    return { ok: true, query: { ...header, question, edns } };
  });
}
