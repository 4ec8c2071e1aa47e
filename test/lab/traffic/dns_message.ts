/** DNS messages (RFC 1035 §4, RFC 6891 for OPT) as a test's client writes and reads them: a second opinion on the proxy's codec. */
import { Buffer } from "node:buffer";

export const DNS_TYPES = { A: 1, CNAME: 5, MX: 15, TXT: 16, AAAA: 28, OPT: 41 } as const;
export type DnsType = keyof typeof DNS_TYPES;
export const DNS_CODES = ["NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"] as const;

const CLASS_IN = 1;
const DNSSEC_OK = 0x8000;

export interface DnsQuestion {
  readonly name: string;
  readonly type?: DnsType;
  readonly id?: number;
  /** Whole flags word; default: a query that asks for recursion. */
  readonly flags?: number;
  /** Adds OPT: payload size, and whether DNSSEC is wanted. */
  readonly edns?: { readonly size: number; readonly dnssec?: boolean };
}

export interface DnsRecord {
  readonly name: string;
  readonly type: number;
  readonly ttl: number;
  /** An address or a name; hexadecimal for other types. */
  readonly data: string;
}

export interface DnsAnswer {
  readonly id: number;
  readonly flags: number;
  /** One of DNS_CODES, or the number. */
  readonly code: string;
  readonly authoritative: boolean;
  readonly truncated: boolean;
  readonly question: { readonly name: string; readonly type: number } | undefined;
  readonly answers: readonly DnsRecord[];
  /** OPT of the answer. */
  readonly edns: { readonly size: number; readonly version: number; readonly dnssec: boolean } | undefined;
  readonly length: number;
}

function nameBytes(name: string): Buffer {
  const labels = name.split(".").filter(Boolean);
  return Buffer.concat([
    ...labels.map((label) => Buffer.from([label.length, ...Buffer.from(label)])),
    Buffer.from([0]),
  ]);
}

function words(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 2);
  values.forEach((value, index) => bytes.writeUInt16BE(value, index * 2));
  return bytes;
}

export function encodeQuestion(question: DnsQuestion): Buffer {
  const { name, type = "A", id = 0x4242, flags = 0x0100, edns } = question;
  const head = words(id, flags, 1, 0, 0, edns === undefined ? 0 : 1);
  const asked = Buffer.concat([nameBytes(name), words(DNS_TYPES[type], CLASS_IN)]);
  if (edns === undefined) return Buffer.concat([head, asked]);
  const opt = Buffer.concat([
    Buffer.from([0]),
    words(DNS_TYPES.OPT, edns.size, 0, edns.dnssec === true ? DNSSEC_OK : 0, 0),
  ]);
  return Buffer.concat([head, asked, opt]);
}

/** @throws RangeError where the message is cut short, Error where its names go in circles */
export function parseAnswer(message: Buffer): DnsAnswer {
  const flags = message.readUInt16BE(2);
  const [questions, answers, authorities, additionals] = [4, 6, 8, 10].map((at) => message.readUInt16BE(at));
  let at = 12;
  let question: DnsAnswer["question"];
  for (let index = 0; index < (questions ?? 0); index++) {
    const name = readName(message, at);
    question ??= { name: name.text, type: message.readUInt16BE(name.end) };
    at = name.end + 4;
  }
  const records: DnsRecord[] = [];
  let edns: DnsAnswer["edns"];
  const all = (answers ?? 0) + (authorities ?? 0) + (additionals ?? 0);
  for (let index = 0; index < all; index++) {
    const name = readName(message, at);
    const type = message.readUInt16BE(name.end);
    const data = name.end + 10;
    const length = message.readUInt16BE(name.end + 8);
    if (type === DNS_TYPES.OPT) {
      const version = message[name.end + 5] ?? 0;
      const dnssec = (message.readUInt16BE(name.end + 6) & DNSSEC_OK) !== 0;
      edns = { size: message.readUInt16BE(name.end + 2), version, dnssec };
    } else if (index < (answers ?? 0)) {
      const ttl = message.readUInt32BE(name.end + 4);
      records.push({ name: name.text, type, ttl, data: readData(message, type, data, length) });
    }
    at = data + length;
  }
  if (at !== message.length) throw new RangeError(`the message has ${message.length - at} bytes too many`);
  return {
    id: message.readUInt16BE(0),
    flags,
    code: DNS_CODES[flags & 0xf] ?? `${flags & 0xf}`,
    authoritative: (flags & 0x0400) !== 0,
    truncated: (flags & 0x0200) !== 0,
    question,
    answers: records,
    edns,
    length: message.length,
  };
}

function readName(message: Buffer, start: number): { text: string; end: number } {
  const labels: string[] = [];
  let at = start;
  let end: number | undefined;
  for (let steps = 0; steps < 128; steps++) {
    const length = message.readUInt8(at);
    if (length === 0) return { text: `${labels.join(".")}.`, end: end ?? at + 1 };
    if (length >= 0xc0) {
      end ??= at + 2;
      at = message.readUInt16BE(at) & 0x3fff;
      continue;
    }
    labels.push(message.toString("latin1", at + 1, at + 1 + length));
    at += 1 + length;
  }
  throw new Error("a name that goes in circles");
}

function readData(message: Buffer, type: number, at: number, length: number): string {
  if (type === DNS_TYPES.CNAME) return readName(message, at).text;
  const bytes = message.subarray(at, at + length);
  if (type === DNS_TYPES.A) return bytes.join(".");
  if (type !== DNS_TYPES.AAAA) return bytes.toString("hex");
  // The kernel of the URL parser shortens it as everybody writes it.
  const groups = Array.from({ length: 8 }, (_, index) => bytes.readUInt16BE(index * 2).toString(16));
  return new URL(`http://[${groups.join(":")}]`).hostname.slice(1, -1);
}
