import { Buffer } from "node:buffer";
import { readRevocationList, type RevocationList, RevocationListError } from "./revocation_list.ts";

/** Of a file that is worth reading; a ConfigMap may have 1 MiB. */
export const MAX_REVOCATION_FILE = 64 << 20; // octets
/** Lists in a file. */
const MAX_LISTS = 4096;
const BEGIN = "-----BEGIN ";
const DASHES = "-----";
const CRL_LABEL = "X509 CRL";
/** Octets of base64 that are decoded in one go: some 0.5 ms. */
const DECODE_SLICE = 128 << 10;
const SEQUENCE_TAG = 0x30;

/**
 * Reads the lists of a file (CRL_PATH, spec/ztunnel.md §3.6): PEM with any number of blocks, of which those that are not
 * X509 CRL are passed over, or one list in DER; nothing: no lists. Yields between slices of less than a few ms. Throws
 * RevocationListError that says which list is bad and why; then none of the file counts.
 */
export function* readRevocationFile(bytes: Uint8Array): Generator<void, RevocationList[]> {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const lists: RevocationList[] = [];
  let at = text.indexOf(BEGIN);
  if (at < 0) {
    if (bytes.every((octet) => octet === 0x20 || (octet >= 0x09 && octet <= 0x0d))) return lists;
    if (bytes[0] !== SEQUENCE_TAG) throw new RevocationListError("the file is neither PEM nor DER");
    lists.push(yield* named("the list", bytes));
    return lists;
  }
  while (at >= 0) {
    const labelAt = at + BEGIN.length;
    const labelEnd = text.indexOf(DASHES, labelAt);
    const label = labelEnd < 0 ? "" : text.toString("latin1", labelAt, Math.min(labelEnd, labelAt + 64));
    const end = `${DASHES}END ${label}${DASHES}`;
    const endAt = labelEnd < 0 ? -1 : text.indexOf(end, labelEnd);
    if (endAt < 0) throw new RevocationListError(`the block ${JSON.stringify(label)} at octet ${at} has no end`);
    if (label === CRL_LABEL) {
      const name = `list ${lists.length + 1}, at octet ${at}`;
      if (lists.length >= MAX_LISTS) throw new RevocationListError(`the file has more than ${MAX_LISTS} lists`);
      const der = yield* decode(text.subarray(labelEnd + DASHES.length, endAt));
      if (der === undefined) throw new RevocationListError(`${name}: is not base64`);
      lists.push(yield* named(name, der));
    }
    at = text.indexOf(BEGIN, endAt + end.length);
    yield;
  }
  return lists;
}

function* named(name: string, der: Uint8Array): Generator<void, RevocationList> {
  try {
    return yield* readRevocationList(der);
  } catch (error) {
    if (error instanceof RevocationListError) throw new RevocationListError(`${name}: ${error.message}`);
    throw error;
  }
}

/** DER of a block's lines; undefined if they are not base64 (what a decoder passes over in silence). */
function* decode(lines: Buffer): Generator<void, Uint8Array | undefined> {
  const der = Buffer.allocUnsafe(Math.ceil(lines.length / 4) * 3);
  let size = 0;
  let rest = "";
  let ended = false;
  for (let at = 0; at < lines.length; at += DECODE_SLICE) {
    const text = rest + lines.toString("latin1", at, at + DECODE_SLICE).replace(/[\r\n\t ]+/g, "");
    if (!/^[A-Za-z0-9+/]*={0,2}$/.test(text) || (ended && text !== "")) return undefined;
    ended = text.endsWith("=");
    const whole = text.length - text.length % 4;
    size += der.write(text.slice(0, whole), size, "base64");
    rest = text.slice(whole);
    yield;
  }
  return rest === "" ? der.subarray(0, size) : undefined;
}
