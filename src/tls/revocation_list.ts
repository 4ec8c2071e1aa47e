import { Buffer } from "node:buffer";
import { CONSTRUCTED, DER, DerCursor, MalformedDer, PRIMITIVE } from "./der_cursor.ts";
import { nameKey } from "./distinguished_name.ts";
import { MAX_SERIAL, SerialSet } from "./serial_set.ts";
import { type SignatureAlgorithm, signatureAlgorithm } from "./signature_algorithm.ts";

/** One certificate revocation list (RFC 5280 §5), not verified yet. Byte arrays are views into its DER. */
export interface RevocationList {
  /** nameKey of the issuer */
  readonly issuer: string;
  /** What the signature is over. */
  readonly signed: Uint8Array;
  readonly algorithm: SignatureAlgorithm;
  readonly signature: Uint8Array;
  readonly serials: SerialSet;
}

/** A list that cannot be used; the message says why, and where in it. */
export class RevocationListError extends Error {
  override name = "RevocationListError";
}

/** Entries that are read in one go: some 0.5 ms. */
const SLICE = 2048;
/** The smallest entry: its header, a serial of one octet, a UTCTime. */
const MIN_ENTRY = 2 + 3 + 15; // octets
const UTC_TIME = 13; // octets: YYMMDDHHMMSSZ
const GENERALIZED_TIME = 15;
const REMOVE_FROM_CRL = 8;

/** Extensions by the last octet of 2.5.29.n (RFC 5280 §5.2, §5.3). */
const ID_CE = [0x55, 29] as const;
const REASON_CODE = 21;
const INVALIDITY_DATE = 24;
const DELTA_CRL_INDICATOR = 27;
const ISSUING_DISTRIBUTION_POINT = 28;
const CERTIFICATE_ISSUER = 29;
/** Those that a complete list may be read without: names and numbers of issuer and list, and where deltas are. */
const HARMLESS = new Set([18, 20, 35, 46]);

/**
 * Reads a list, pausing (yielding) every few thousand entries. Everything of its form is checked, nothing of its truth.
 * When it was issued and when the next one is due does not matter (spec/ztunnel.md §3.6). Throws RevocationListError for
 * what is no list, and for lists that say something else than what they seem to: delta lists, indirect ones, those with
 * critical extensions that nobody here knows.
 */
export function* readRevocationList(der: Uint8Array): Generator<void, RevocationList> {
  try {
    return yield* read(der);
  } catch (error) {
    if (error instanceof MalformedDer) throw new RevocationListError(error.message);
    throw error;
  }
}

function* read(der: Uint8Array): Generator<void, RevocationList> {
  const file = new DerCursor(der);
  file.read(DER.sequence);
  file.finish();
  const parts = file.inside();
  const signedFrom = parts.at;
  parts.read(DER.sequence);
  const signed = der.subarray(signedFrom, parts.at);
  const body = parts.inside();

  let version = 1;
  if (body.tag === DER.integer) {
    body.integer(1);
    if (body.bytes[body.start] !== 1) body.fail("has another version than 2", body.start);
    version = 2;
  }
  body.read(DER.sequence);
  const innerAlgorithm = body.content();
  body.read(DER.sequence);
  const issuer = nameKey(body);
  readTime(body);
  if (body.tag === DER.utcTime || body.tag === DER.generalizedTime) readTime(body);
  let serials = new SerialSet(der, 0);
  if (body.readIf(DER.sequence)) {
    serials = new SerialSet(der, Math.ceil((body.stop - body.start) / MIN_ENTRY));
    yield* readEntries(body.inside(), serials, version);
  }
  if (version === 2 && body.readIf(CONSTRUCTED | 0)) {
    const explicit = body.inside();
    explicit.read(DER.sequence);
    explicit.finish();
    readExtensions(explicit.inside(), listExtension);
  }
  body.finish();

  parts.read(DER.sequence);
  if (!sameBytes(innerAlgorithm, parts.content())) {
    throw new RevocationListError("names two different algorithms of its signature");
  }
  const algorithm = signatureAlgorithm(parts);
  if (typeof algorithm === "string") throw new RevocationListError(algorithm);
  parts.read(DER.bitString);
  if (parts.stop - parts.start < 2 || der[parts.start] !== 0) parts.fail("has no whole signature", parts.start);
  const signature = der.subarray(parts.start + 1, parts.stop);
  parts.finish();
  return { issuer, signed, algorithm, signature, serials };
}

function* readEntries(entries: DerCursor, serials: SerialSet, version: number): Generator<void, void> {
  const entry = new DerCursor(entries.bytes);
  let left = SLICE;
  while (!entries.atEnd) {
    entries.read(DER.sequence);
    entry.within(entries);
    entry.integer(MAX_SERIAL);
    serials.add(entry.start);
    readTime(entry);
    if (!entry.atEnd) {
      if (version === 1) entry.fail("is of version 1 and has extensions", entry.at);
      entry.read(DER.sequence);
      readExtensions(entry.inside(), entryExtension);
    }
    entry.finish();
    if (--left > 0) continue;
    left = SLICE;
    yield;
  }
}

function readTime(cursor: DerCursor): void {
  const short = cursor.tag === DER.utcTime;
  cursor.read(short ? DER.utcTime : DER.generalizedTime);
  const { bytes, start, stop } = cursor;
  const digits = short ? UTC_TIME : GENERALIZED_TIME;
  if (stop - start !== digits || bytes[stop - 1] !== 0x5a) cursor.fail("has a time in another form than DER's", start);
  for (let at = start; at < stop - 1; at++) {
    const octet = bytes[at] as number;
    if (octet < 0x30 || octet > 0x39) cursor.fail("has a time in another form than DER's", start);
  }
}

/** Takes an extension of 2.5.29. @returns whether it is known */
type ExtensionReader = (id: number, value: DerCursor) => boolean;

/** An empty list is none of RFC 5280's, but some issuers write one with every entry, and it says nothing. */
function readExtensions(extensions: DerCursor, known: ExtensionReader): void {
  while (!extensions.atEnd) {
    extensions.read(DER.sequence);
    const extension = extensions.inside();
    extension.read(DER.oid);
    const id = extension.content();
    const critical = extension.tag === DER.boolean && extension.boolean();
    extension.read(DER.octetString);
    extension.finish();
    const ours = id.length === 3 && id[0] === ID_CE[0] && id[1] === ID_CE[1];
    if ((!ours || !known(id[2] as number, extension.inside())) && critical) {
      const text = Buffer.from(id).toString("hex");
      throw new RevocationListError(`has a critical extension that is not known (object identifier ${text} in hex)`);
    }
  }
}

function listExtension(id: number, value: DerCursor): boolean {
  if (id === DELTA_CRL_INDICATOR) {
    throw new RevocationListError("is a delta list: only complete ones can be used");
  }
  if (id !== ISSUING_DISTRIBUTION_POINT) return HARMLESS.has(id);
  value.read(DER.sequence);
  const point = value.inside();
  while (!point.atEnd) {
    const { tag } = point;
    if (tag === (PRIMITIVE | 4) && point.boolean(tag)) {
      throw new RevocationListError(
        "is an indirect list: only those about their issuer's own certificates can be used",
      );
    } else if (tag === (PRIMITIVE | 5) && point.boolean(tag)) {
      throw new RevocationListError("is a list of attribute certificates");
    } else if (tag !== (PRIMITIVE | 4) && tag !== (PRIMITIVE | 5)) {
      point.read(); // a part of the certificates or reasons: what it names is revoked all the same
    }
  }
  return true;
}

function entryExtension(id: number, value: DerCursor): boolean {
  if (id === CERTIFICATE_ISSUER) {
    throw new RevocationListError("is an indirect list: only those about their issuer's own certificates can be used");
  }
  if (id === REASON_CODE) {
    value.integer(1, DER.enumerated);
    if (value.bytes[value.start] === REMOVE_FROM_CRL) {
      throw new RevocationListError("has an entry with the reason removeFromCRL, which only delta lists may have");
    }
    return true;
  }
  return id === INVALIDITY_DATE;
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((octet, i) => octet === b[i]);
}
