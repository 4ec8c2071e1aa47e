import { Buffer } from "node:buffer";
import { contextTag, DerError, DerReader, element, OID, sameBytes, TAG } from "./der.ts";

/** What is asked of an X.509 certificate here (RFC 5280 §4.1). Byte arrays are views into the certificate. */
export interface ParsedCertificate {
  readonly serialNumber: bigint;
  /** ms since the epoch */
  readonly notBefore: number;
  readonly notAfter: number;
  /** DER of the subject's Name. */
  readonly subject: Uint8Array;
  /** The subject's public key: the bits alone, for P-256 an uncompressed point. */
  readonly publicKey: Uint8Array;
  /** basicConstraints says CA:TRUE. */
  readonly ca: boolean;
  /** URI names of subjectAltName, in order. */
  readonly uris: readonly string[];
}

/** Of a serial number; RFC 5280 §4.1.2.2 knows 20. In decimal one of a megabyte would take seconds. */
const MAX_SERIAL = 64; // octets
/** Of what should be a time, in an error. */
const MAX_SHOWN = 32; // characters

const VERSION = contextTag(0, true);
const EXTENSIONS = contextTag(3, true);
/** uniformResourceIdentifier of GeneralName. */
const URI = contextTag(6, false);

/**
 * Reads a certificate. Names are taken from the DER, not from a text such as X509Certificate.subjectAltName, where a
 * name may hold the separator and only quoting rules tell names apart. Nothing is verified.
 * Throws DerError for bytes that are not a certificate.
 */
export function parseCertificate(der: Uint8Array): ParsedCertificate {
  const certificate = new DerReader(der).enter(TAG.sequence);
  const body = certificate.enter(TAG.sequence);
  if (body.nextTag === VERSION) body.read();
  const serial = body.read(TAG.integer);
  if (serial.length > MAX_SERIAL) throw new DerError(`a serial number of ${serial.length} octets`);
  const serialNumber = BigInt(`0x0${hex(serial)}`);
  body.read(TAG.sequence); // signature
  body.read(TAG.sequence); // issuer
  const validity = body.enter(TAG.sequence);
  const notBefore = readTime(validity);
  const notAfter = readTime(validity);
  const subject = element(TAG.sequence, body.read(TAG.sequence));
  const key = body.enter(TAG.sequence);
  key.read(TAG.sequence); // algorithm
  const publicKey = key.read(TAG.bitString).subarray(1);
  let ca = false;
  const uris: string[] = [];
  while (!body.atEnd) {
    if (body.nextTag !== EXTENSIONS) {
      body.read(); // unique identifiers
      continue;
    }
    const extensions = body.enter(EXTENSIONS).enter(TAG.sequence);
    while (!extensions.atEnd) {
      const extension = extensions.enter(TAG.sequence);
      const id = extension.read(TAG.oid);
      if (extension.nextTag === TAG.boolean) extension.read(); // critical
      const value = extension.enter(TAG.octetString);
      if (sameBytes(id, OID.subjectAltName)) readUris(value.enter(TAG.sequence), uris);
      if (sameBytes(id, OID.basicConstraints)) ca = readCa(value.enter(TAG.sequence));
    }
  }
  return { serialNumber, notBefore, notAfter, subject, publicKey, ca, uris };
}

function readCa(constraints: DerReader): boolean {
  return constraints.nextTag === TAG.boolean && constraints.read()[0] === 0xff;
}

function readUris(names: DerReader, uris: string[]): void {
  while (!names.atEnd) {
    const isUri = names.nextTag === URI;
    const name = names.read();
    if (isUri) uris.push(latin1(name));
  }
}

/** UTCTime or GeneralizedTime in the one form that RFC 5280 §4.1.2.5 allows for each; ms since the epoch. */
function readTime(reader: DerReader): number {
  const short = reader.nextTag === TAG.utcTime;
  const text = latin1(reader.read(short ? TAG.utcTime : TAG.generalizedTime));
  const parts = /^(\d\d)?(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/.exec(text);
  if (parts === null || short !== (parts[1] === undefined)) throw noTime(text);
  const [, century, year, month, day, hour, minute, second] = parts;
  const full = `${century ?? (Number(year) < 50 ? "20" : "19")}${year}`;
  const time = Date.parse(`${full}-${month}-${day}T${hour}:${minute}:${second}Z`);
  if (Number.isNaN(time)) throw noTime(text);
  return time;
}

function noTime(text: string): DerError {
  return new DerError(`time ${JSON.stringify(text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text)}`);
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1");
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("hex");
}
