/** Messages to bytes, names compressed (RFC 1035 §4.1.4), cut to what the other side takes. */
import { writeLabel } from "./name.ts";
import { dataLayout } from "./rdata.ts";
import {
  type DomainName,
  type Edns,
  MAX_MESSAGE,
  type Message,
  type Question,
  type ResourceRecord,
  TYPE,
} from "./types.ts";

const HEADER = 12; // bytes
const OPT_RECORD = 11; // bytes, without options
/** Compression pointers have 14 bits. */
const POINTER_REACH = 0x4000;

/** The message that is being written; calls are synchronous, so one is enough. A record is written before it is judged. */
const out = new Uint8Array(MAX_MESSAGE + 1024);
let at = 0;
/** Where names and their ends stand in the message. */
let places: Map<string, number> | undefined;
/** The name written last: most records have one owner. */
let lastName = "";
let lastPlace = 0;

function u16(value: number): void {
  out[at++] = value >>> 8;
  out[at++] = value;
}

function u32(value: number): void {
  u16(value >>> 16);
  u16(value & 0xffff);
}

/** Whether `length` bytes more fit at all; what does not fit the buffer never fits a message. */
function room(length: number): boolean {
  return at + length <= out.length;
}

function pointer(to: number): void {
  u16(0xc000 | to);
}

/** Writes a name. Throws RangeError when it is none: names come from the decoder or are checked before. */
function writeName(name: DomainName, compress: boolean): void {
  if (compress && name === lastName) {
    pointer(lastPlace);
    return;
  }
  const start = at;
  let label = 0;
  if (name !== ".") {
    while (label < name.length) {
      const rest = label === 0 ? name : name.slice(label);
      const known = compress ? places?.get(rest) : undefined;
      if (known !== undefined) {
        pointer(known);
        break;
      }
      const end = writeLabel(name, label, out, at);
      if (end < 0 || at - start > 255) throw new RangeError(`not a domain name: ${JSON.stringify(name)}`);
      if (at < POINTER_REACH) (places ??= new Map()).set(rest, at);
      at += (out[at] as number) + 1;
      label = end + 1;
    }
    if (compress && start < POINTER_REACH) {
      lastName = name;
      lastPlace = start;
    }
  }
  if (name === "." || label >= name.length) out[at++] = 0;
}

/** Writes a record; false when it is larger than any message. */
function writeRecord(record: ResourceRecord): boolean {
  if (!room(1024)) return false;
  writeName(record.name, true);
  u16(record.type);
  u16(record.class);
  u32(record.ttl);
  const length = at;
  at += 2;
  const compress = dataLayout(record.type)?.compressible === true;
  for (const part of record.data) {
    if (typeof part === "string") {
      if (!room(512)) return false;
      writeName(part, compress);
    } else {
      if (!room(part.length)) return false;
      out.set(part, at);
      at += part.length;
    }
  }
  const written = at - length - 2;
  out[length] = written >>> 8;
  out[length + 1] = written;
  return written <= MAX_MESSAGE;
}

function writeQuestion(question: Question): void {
  writeName(question.name, true);
  u16(question.type);
  u16(question.class);
}

function writeOpt(edns: Edns, rcode: number): void {
  out[at++] = 0;
  u16(TYPE.OPT);
  u16(edns.payloadSize);
  out[at++] = rcode >>> 4;
  out[at++] = edns.version;
  u16(edns.dnssecOk ? 0x8000 : 0);
  u16(0);
}

/** As many of the records as fit before `end`; what did not fit leaves no trace. */
function writeSection(records: readonly ResourceRecord[], end: number): number {
  for (let i = 0; i < records.length; i++) {
    const start = at;
    if (writeRecord(records[i] as ResourceRecord) && at <= end) continue;
    forgetFrom(start);
    return i;
  }
  return records.length;
}

/** Takes back what was written from `start` on, and what compression remembers of it. */
function forgetFrom(start: number): void {
  at = start;
  if (lastPlace >= start) lastName = "";
  if (places === undefined) return;
  for (const [name, place] of places) if (place >= start) places.delete(name);
}

/**
 * The message's bytes, at most `limit` of them. Where answers or authorities do not fit, the rest of the message is left
 * out and TC is set; additional records are left out silently (RFC 2181 §9). OPT always fits. Throws RangeError for
 * names that are none, and for a limit below what header, questions and OPT take.
 */
export function encodeMessage(message: Message, limit: number = MAX_MESSAGE): Uint8Array<ArrayBuffer> {
  const { questions, answers, authorities, additionals, edns, rcode } = message;
  at = HEADER;
  places = undefined;
  lastName = "";
  const end = Math.min(limit, MAX_MESSAGE) - (edns === undefined ? 0 : OPT_RECORD);
  for (const question of questions) {
    if (!room(512)) throw new RangeError("more questions than a message holds");
    writeQuestion(question);
  }
  if (at > end) throw new RangeError(`the question does not fit into ${limit} bytes`);
  const answered = writeSection(answers, end);
  let truncated = answered < answers.length;
  const authorized = truncated ? 0 : writeSection(authorities, end);
  truncated ||= authorized < authorities.length;
  let added = truncated ? 0 : writeSection(additionals, end);
  if (edns !== undefined) {
    writeOpt(edns, rcode);
    added++;
  }
  const length = at;
  at = 0;
  u16(message.id);
  out[at++] = (message.response ? 0x80 : 0) | (message.opcode << 3) | (message.authoritative ? 4 : 0) |
    (message.truncated || truncated ? 2 : 0) | (message.recursionDesired ? 1 : 0);
  out[at++] = (message.recursionAvailable ? 0x80 : 0) | (message.authenticData ? 0x20 : 0) |
    (message.checkingDisabled ? 0x10 : 0) | (rcode & 0xf);
  u16(questions.length);
  u16(answered);
  u16(authorized);
  u16(added);
  places = undefined;
  return out.slice(0, length) as Uint8Array<ArrayBuffer>;
}
