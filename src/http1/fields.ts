/** Field lines of a head or trailer section (RFC 9112 §5), read into a header list and what the codec must know of it. */
import type { HeaderList } from "../http2/mod.ts";
import { COLON, CR, LF, SPACE, TAB, TOKEN, VALUE } from "./characters.ts";
import { Details, type Problem, problem } from "./errors.ts";
import { fieldName, hashOctet, Kind } from "./field_names.ts";

/** Facts of one section. One object is enough for a thread: it is read before the next section is looked at. */
export interface FieldFacts {
  /** Without the fields that are about this hop. Host is among them no more than Connection. */
  fields: HeaderList;
  host: string | undefined;
  hosts: number;
  /** Content-Length, or -1; its lines; whether all were numbers. */
  contentLength: number;
  lengths: number;
  lengthValid: boolean;
  /** Lines of Transfer-Encoding, and whether the last one is `chunked`. */
  encodings: number;
  chunked: boolean;
  /** All lines joined by commas; "" when there is none. */
  connection: string;
  upgrade: string;
  teTrailers: boolean;
  expectContinue: boolean;
  names: Map<string, string> | undefined;
}

export const facts: FieldFacts = {
  fields: [],
  host: undefined,
  hosts: 0,
  contentLength: -1,
  lengths: 0,
  lengthValid: true,
  encodings: 0,
  chunked: false,
  connection: "",
  upgrade: "",
  teTrailers: false,
  expectContinue: false,
  names: undefined,
};

function reset(keepCase: boolean): void {
  facts.fields = [];
  facts.host = undefined;
  facts.hosts = facts.lengths = facts.encodings = 0;
  facts.contentLength = -1;
  facts.lengthValid = true;
  facts.chunked = facts.teTrailers = facts.expectContinue = false;
  facts.connection = facts.upgrade = "";
  facts.names = keepCase ? new Map() : undefined;
}

const MAX_LENGTH_DIGITS = 15; // below 2^53

function lengthOf(value: string): number {
  if (value.length === 0 || value.length > MAX_LENGTH_DIGITS) return -1;
  let length = 0;
  for (let i = 0; i < value.length; i++) {
    const digit = value.charCodeAt(i) - 0x30;
    if (digit < 0 || digit > 9) return -1;
    length = length * 10 + digit;
  }
  return length;
}

/** `trailers` among the codings of TE (RFC 9110 §10.1.4). */
function namesTrailers(value: string): boolean {
  if (value === "trailers") return true;
  return value.split(",").some((coding) => coding.trim().toLowerCase() === "trailers");
}

function joined(before: string, value: string): string {
  return before === "" ? value : `${before},${value}`;
}

/** Takes a field that the codec itself must know. */
function special(kind: number, name: string, value: string): void {
  switch (kind) {
    case Kind.HOST:
      facts.hosts++;
      facts.host = value;
      return;
    case Kind.CONTENT_LENGTH: {
      const length = lengthOf(value);
      facts.lengths++;
      if (length < 0) facts.lengthValid = false;
      facts.contentLength = length;
      facts.fields.push([name, value]);
      return;
    }
    case Kind.TRANSFER_ENCODING:
      facts.encodings++;
      facts.chunked = value === "chunked" || value.toLowerCase() === "chunked";
      return;
    case Kind.CONNECTION:
      facts.connection = joined(facts.connection, value);
      return;
    case Kind.UPGRADE:
      facts.upgrade = joined(facts.upgrade, value);
      return;
    case Kind.TE:
      if (!facts.teTrailers && namesTrailers(value)) {
        facts.teTrailers = true;
        facts.fields.push([name, "trailers"]);
      }
      return;
    case Kind.EXPECT:
      if (value.toLowerCase() === "100-continue") facts.expectContinue = true;
      facts.fields.push([name, value]);
      return;
  }
}

/** What stands where a name's or value's octets end wrongly. */
function badLine(octet: number | undefined, inValue: boolean): Problem {
  if (octet === LF) return problem(400, Details.CODEC_ERROR, "LF without CR in a field line");
  if (octet === CR) return problem(400, Details.CODEC_ERROR, "CR without LF in a field line, or a line without colon");
  if (inValue) return problem(400, Details.INVALID_CHARACTERS, "control character in a field value");
  if (octet === SPACE || octet === TAB) {
    return problem(400, Details.CODEC_ERROR, "white space in or before a field name (obs-fold, or space before colon)");
  }
  return problem(400, Details.CODEC_ERROR, "field name is not a token");
}

/**
 * Reads the lines in bytes[at, end), which end with the empty line, into `facts`. `text` holds the section as latin1 from
 * `base` on. A section that a lone CR or LF has cut short (SectionReader) is sure to run into it. Returns what is wrong.
 */
export function readFields(
  bytes: Uint8Array,
  start: number,
  end: number,
  text: string,
  base: number,
  maxCount: number,
  keepCase: boolean,
): Problem | undefined {
  reset(keepCase);
  const fields = facts.fields;
  let at = start;
  let count = 0;
  while (at < end) {
    let octet = bytes[at]!;
    if (octet === CR && bytes[at + 1] === LF) return undefined;
    const nameStart = at;
    let hash = 0;
    let lower = TOKEN[octet]!;
    while (lower !== 0) {
      hash = hashOctet(hash, lower);
      octet = bytes[++at]!;
      lower = TOKEN[octet]!;
    }
    if (octet !== COLON || at === nameStart) return badLine(octet, false);
    const name = fieldName(bytes, nameStart, at, hash);
    if (keepCase && !facts.names!.has(name.lower)) {
      facts.names!.set(name.lower, text.slice(nameStart - base, at - base));
    }
    octet = bytes[++at]!;
    while (octet === SPACE || octet === TAB) octet = bytes[++at]!;
    const valueStart = at;
    while (VALUE[octet] === 1) octet = bytes[++at]!;
    if (octet !== CR || bytes[at + 1] !== LF) return badLine(octet, true);
    let valueEnd = at;
    while (valueEnd > valueStart && (bytes[valueEnd - 1] === SPACE || bytes[valueEnd - 1] === TAB)) valueEnd--;
    at += 2;
    if (++count > maxCount) return problem(431, Details.TOO_MANY_HEADERS, `more than ${maxCount} fields`);
    const value = text.slice(valueStart - base, valueEnd - base);
    if (name.kind === Kind.ORDINARY) fields.push([name.lower, value]);
    else special(name.kind, name.lower, value);
  }
  return problem(400, Details.CODEC_ERROR, "section without an empty line");
}

/**
 * Fields that may not come late (RFC 9110 §6.5.1): routing, modifiers, authentication, what says how content is read.
 * Host, Connection and its kin never reach the list; framing fields are errors.
 */
const NOT_IN_TRAILERS: ReadonlySet<string> = new Set([
  ...["expect", "te", "trailer", "cache-control", "max-forwards", "pragma", "range"],
  ...["if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range"],
  ...["authorization", "www-authenticate", "proxy-authorization", "proxy-authenticate", "cookie", "set-cookie"],
  ...["content-encoding", "content-type", "content-range", "location", "forwarded"],
]);

/** Drops what may not be in trailers. */
export function keepTrailers(fields: HeaderList): void {
  let kept = 0;
  for (const field of fields) {
    const name = field[0];
    if (!NOT_IN_TRAILERS.has(name) && !name.startsWith("x-forwarded-")) fields[kept++] = field;
  }
  fields.length = kept;
}
