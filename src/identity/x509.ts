import { createHash, type KeyObject, randomBytes, sign } from "node:crypto";
import { Buffer } from "node:buffer";
import {
  bitString,
  boolean,
  contextTag,
  DerReader,
  element,
  octetString,
  oid,
  sequence,
  TAG,
  time,
  unsignedInteger,
  utf8String,
} from "./der.ts";

const OID_ECDSA_WITH_SHA256 = oid("1.2.840.10045.4.3.2");
const OID_ORGANIZATION = oid("2.5.4.10");
const OID_SUBJECT_KEY_ID = oid("2.5.29.14");
const OID_KEY_USAGE = oid("2.5.29.15");
const OID_SUBJECT_ALT_NAME = oid("2.5.29.17");
const OID_BASIC_CONSTRAINTS = oid("2.5.29.19");
const OID_AUTHORITY_KEY_ID = oid("2.5.29.35");
const OID_EXTENDED_KEY_USAGE = oid("2.5.29.37");
const OID_SERVER_AUTH = oid("1.3.6.1.5.5.7.3.1");
const OID_CLIENT_AUTH = oid("1.3.6.1.5.5.7.3.2");

/** Bits of KeyUsage (RFC 5280 §4.2.1.3) as the one content byte and its count of unused bits. */
const KEY_USAGE_LEAF = bitString(Uint8Array.of(0b1010_0000), 5); // digitalSignature, keyEncipherment
const KEY_USAGE_ROOT = bitString(Uint8Array.of(0b0000_0110), 1); // keyCertSign, cRLSign

const SIGNATURE_ALGORITHM = sequence(OID_ECDSA_WITH_SHA256);
const VERSION_3 = element(contextTag(0, true), unsignedInteger(Uint8Array.of(2)));

const LEAF_EXTENSIONS = [
  extension(OID_KEY_USAGE, true, KEY_USAGE_LEAF),
  extension(OID_EXTENDED_KEY_USAGE, false, sequence(OID_SERVER_AUTH, OID_CLIENT_AUTH)),
  extension(OID_BASIC_CONSTRAINTS, true, sequence()),
];

/** Validity in ms since the epoch; certificates keep whole seconds. */
export interface Validity {
  readonly notBefore: number;
  readonly notAfter: number;
}

/** A self-signed ECDSA-SHA256 root with `O=<organization>`, as DER. */
export function rootCertificate(
  organization: string,
  key: { publicKey: KeyObject; privateKey: KeyObject },
  validity: Validity,
): Uint8Array {
  const publicKey = subjectPublicKey(key.publicKey);
  const name = organizationName(organization);
  return signCertificate(name, name, validity, publicKey, key.privateKey, [
    extension(OID_BASIC_CONSTRAINTS, true, sequence(boolean(true))),
    extension(OID_KEY_USAGE, true, KEY_USAGE_ROOT),
    extension(OID_SUBJECT_KEY_ID, false, octetString(keyIdentifier(publicKey))),
  ]);
}

/** Who signs leaves: the subject of the CA certificate as DER, its key identifier and its P-256 key. */
export interface Issuer {
  readonly subject: Uint8Array;
  readonly keyIdentifier: Uint8Array;
  readonly privateKey: KeyObject;
}

/**
 * An X.509-SVID leaf as DER: no subject, one critical URI SAN (RFC 5280 §4.2.1.6 requires critical then), for TLS
 * server and client, as istiod issues them.
 */
export function leafCertificate(issuer: Issuer, uri: string, publicKey: KeyObject, validity: Validity): Uint8Array {
  const san = sequence(element(contextTag(6, false), Buffer.from(uri, "latin1")));
  const aki = sequence(element(contextTag(0, false), issuer.keyIdentifier));
  return signCertificate(issuer.subject, sequence(), validity, subjectPublicKey(publicKey), issuer.privateKey, [
    ...LEAF_EXTENSIONS,
    extension(OID_AUTHORITY_KEY_ID, false, aki),
    extension(OID_SUBJECT_ALT_NAME, true, san),
  ]);
}

/** RFC 7093 §2 method 1: the first 160 bits of the SHA-256 of the key, by which leaves name the CA's key. */
export function keyIdentifier(subjectPublicKeyInfo: Uint8Array): Uint8Array {
  const info = new DerReader(subjectPublicKeyInfo).enter(TAG.sequence);
  info.read(TAG.sequence);
  const key = info.read(TAG.bitString).subarray(1);
  return createHash("sha256").update(key).digest().subarray(0, 20);
}

export function organizationName(organization: string): Uint8Array {
  return sequence(element(TAG.set, sequence(OID_ORGANIZATION, utf8String(organization))));
}

export function subjectPublicKey(key: KeyObject): Uint8Array {
  return key.export({ type: "spki", format: "der" });
}

/** PEM of one certificate (RFC 7468 §5). */
export function certificatePem(der: Uint8Array): string {
  const lines = Buffer.from(der).toString("base64").match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`;
}

function signCertificate(
  issuer: Uint8Array,
  subject: Uint8Array,
  validity: Validity,
  publicKey: Uint8Array,
  signer: KeyObject,
  extensions: Uint8Array[],
): Uint8Array {
  const toBeSigned = sequence(
    VERSION_3,
    unsignedInteger(serialNumber()),
    SIGNATURE_ALGORITHM,
    issuer,
    sequence(time(validity.notBefore), time(validity.notAfter)),
    subject,
    publicKey,
    element(contextTag(3, true), sequence(...extensions)),
  );
  return sequence(toBeSigned, SIGNATURE_ALGORITHM, bitString(sign("sha256", toBeSigned, signer)));
}

/** 128 bits, positive and never with a leading zero byte, so that all serials have one length (RFC 5280 §4.1.2.2). */
function serialNumber(): Uint8Array {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return bytes;
}

function extension(id: Uint8Array, critical: boolean, value: Uint8Array): Uint8Array {
  return critical ? sequence(id, boolean(true), octetString(value)) : sequence(id, octetString(value));
}

/** The subject of a certificate as DER, for the issuer field of what it signs. Throws DerError. */
export function subjectName(certificate: Uint8Array): Uint8Array {
  const toBeSigned = new DerReader(certificate).enter(TAG.sequence).enter(TAG.sequence);
  if (toBeSigned.nextTag === VERSION_TAG) toBeSigned.read();
  toBeSigned.read(TAG.integer); // serialNumber
  toBeSigned.read(TAG.sequence); // signature
  toBeSigned.read(TAG.sequence); // issuer
  toBeSigned.read(TAG.sequence); // validity
  return element(TAG.sequence, toBeSigned.read(TAG.sequence));
}

/**
 * URI names of the subjectAltName extension, in order; empty if there are none.
 *
 * Read from the DER, not from the text that X509Certificate.subjectAltName prints: there a name may hold the separator,
 * and what tells names apart is quoting rules.
 * Throws DerError for bytes that are not an X.509 v3 certificate.
 */
export function subjectAltNameUris(certificate: Uint8Array): string[] {
  const uris: string[] = [];
  const toBeSigned = new DerReader(certificate).enter(TAG.sequence).enter(TAG.sequence);
  while (!toBeSigned.atEnd) {
    const isExtensions = toBeSigned.nextTag === EXTENSIONS_TAG;
    const content = toBeSigned.read();
    if (!isExtensions) continue;
    const extensions = new DerReader(content).enter(TAG.sequence);
    while (!extensions.atEnd) {
      const one = extensions.enter(TAG.sequence);
      if (!sameBytes(one.read(TAG.oid), OID_SUBJECT_ALT_NAME.subarray(2))) continue;
      if (one.nextTag === TAG.boolean) one.read();
      const names = new DerReader(one.read(TAG.octetString)).enter(TAG.sequence);
      while (!names.atEnd) {
        const isUri = names.nextTag === URI_TAG;
        const name = names.read();
        if (isUri) uris.push(Buffer.from(name.buffer, name.byteOffset, name.length).toString("latin1"));
      }
    }
  }
  return uris;
}

const VERSION_TAG = 0xa0; // [0] of TBSCertificate
const EXTENSIONS_TAG = 0xa3; // [3] of TBSCertificate
const URI_TAG = 0x86; // [6] of GeneralName

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
