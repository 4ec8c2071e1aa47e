import { Buffer } from "node:buffer";
import {
  bitString,
  boolean,
  contextTag,
  element,
  objectIdentifier,
  octetString,
  OID,
  sequence,
  TAG,
  time,
  unsignedInteger,
  utf8String,
} from "./der.ts";

/** Bits of KeyUsage (RFC 5280 §4.2.1.3) as the one content byte and its count of unused bits. */
const KEY_USAGE_LEAF = bitString(Uint8Array.of(0b1010_0000), 5); // digitalSignature, keyEncipherment
const KEY_USAGE_ROOT = bitString(Uint8Array.of(0b0000_0110), 1); // keyCertSign, cRLSign

const SIGNATURE_ALGORITHM = sequence(objectIdentifier(OID.ecdsaWithSha256));
const KEY_ALGORITHM = sequence(objectIdentifier(OID.ecPublicKey), objectIdentifier(OID.p256));
const VERSION_3 = element(contextTag(0, true), unsignedInteger(Uint8Array.of(2)));

const LEAF_EXTENSIONS = [
  extension(OID.keyUsage, true, KEY_USAGE_LEAF),
  extension(
    OID.extendedKeyUsage,
    false,
    sequence(objectIdentifier(OID.serverAuth), objectIdentifier(OID.clientAuth)),
  ),
  extension(OID.basicConstraints, true, sequence()),
];

/** Validity in ms since the epoch; certificates keep whole seconds. */
export interface Validity {
  readonly notBefore: number;
  readonly notAfter: number;
}

/** A new key: PKCS#8 and the uncompressed point. */
export interface NewKey {
  readonly pkcs8: Uint8Array;
  readonly publicKey: Uint8Array;
  readonly privateKey: CryptoKey;
}

/** Who signs: the subject of the CA certificate as DER, its public point and its key. */
export interface Issuer {
  readonly subject: Uint8Array;
  readonly publicKey: Uint8Array;
  readonly privateKey: CryptoKey;
}

/** WebCrypto, which is built in: the module node:crypto would be loaded for this alone (1 to 2 MB of an idle process). */
const P256 = { name: "ECDSA", namedCurve: "P-256" };
const ECDSA_SHA256 = { name: "ECDSA", hash: "SHA-256" };

export async function newKey(): Promise<NewKey> {
  const { privateKey, publicKey } = await crypto.subtle.generateKey(P256, true, ["sign", "verify"]) as CryptoKeyPair;
  const [pkcs8, point] = await Promise.all([
    crypto.subtle.exportKey("pkcs8", privateKey),
    crypto.subtle.exportKey("raw", publicKey),
  ]);
  return { pkcs8: new Uint8Array(pkcs8), publicKey: new Uint8Array(point), privateKey };
}

/** A P-256 key from PKCS#8 with its public point. Rejects for anything else. */
export async function importKey(pkcs8: Uint8Array): Promise<NewKey> {
  const privateKey = await crypto.subtle.importKey("pkcs8", Buffer.from(pkcs8), P256, true, ["sign"]);
  const { x = "", y = "" } = await crypto.subtle.exportKey("jwk", privateKey);
  const publicKey = Buffer.concat([Uint8Array.of(4), Buffer.from(x, "base64url"), Buffer.from(y, "base64url")]);
  return { pkcs8, publicKey, privateKey };
}

/** A self-signed root with `O=<organization>`, as DER. */
export async function rootCertificate(organization: string, key: NewKey, validity: Validity): Promise<Uint8Array> {
  const { publicKey, privateKey } = key;
  const subject = sequence(
    element(TAG.set, sequence(objectIdentifier(OID.organizationName), utf8String(organization))),
  );
  return await signCertificate({ subject, publicKey, privateKey }, subject, validity, publicKey, [
    extension(OID.basicConstraints, true, sequence(boolean(true))),
    extension(OID.keyUsage, true, KEY_USAGE_ROOT),
    extension(OID.subjectKeyIdentifier, false, octetString(await keyIdentifier(publicKey))),
  ]);
}

/**
 * An X.509-SVID leaf as DER: no subject, one critical URI SAN (RFC 5280 §4.2.1.6 requires critical then), for TLS
 * server and client, as istiod issues them.
 */
export async function leafCertificate(
  issuer: Issuer,
  uri: string,
  publicKey: Uint8Array,
  validity: Validity,
): Promise<Uint8Array> {
  const authority = sequence(element(contextTag(0, false), await keyIdentifier(issuer.publicKey)));
  return await signCertificate(issuer, sequence(), validity, publicKey, [
    ...LEAF_EXTENSIONS,
    extension(OID.authorityKeyIdentifier, false, authority),
    uriName(uri),
  ]);
}

/** subjectAltName with one URI, critical because the subject is empty (RFC 5280 §4.2.1.6). */
export function uriName(uri: string): Uint8Array {
  return extension(OID.subjectAltName, true, sequence(element(contextTag(6, false), Buffer.from(uri, "latin1"))));
}

async function signCertificate(
  issuer: Issuer,
  subject: Uint8Array,
  validity: Validity,
  publicKey: Uint8Array,
  extensions: Uint8Array[],
): Promise<Uint8Array> {
  const toBeSigned = sequence(
    VERSION_3,
    unsignedInteger(serialNumber()),
    SIGNATURE_ALGORITHM,
    issuer.subject,
    sequence(time(validity.notBefore), time(validity.notAfter)),
    subject,
    publicKeyInfo(publicKey),
    element(contextTag(3, true), sequence(...extensions)),
  );
  return await signed(toBeSigned, issuer.privateKey);
}

/** SubjectPublicKeyInfo of a P-256 point. */
export function publicKeyInfo(publicKey: Uint8Array): Uint8Array {
  return sequence(KEY_ALGORITHM, bitString(publicKey));
}

/** What certificates and requests have in common: a body, the algorithm and the signature of the body. */
export async function signed(toBeSigned: Uint8Array, privateKey: CryptoKey): Promise<Uint8Array> {
  const signature = new Uint8Array(await crypto.subtle.sign(ECDSA_SHA256, privateKey, Buffer.from(toBeSigned)));
  return sequence(toBeSigned, SIGNATURE_ALGORITHM, bitString(ecdsaSignature(signature)));
}

/** RFC 3279 §2.2.3: a sequence of the two integers that WebCrypto gives one after another. */
function ecdsaSignature(raw: Uint8Array): Uint8Array {
  const half = raw.length / 2;
  return sequence(unsignedInteger(raw.subarray(0, half)), unsignedInteger(raw.subarray(half)));
}

/** RFC 7093 §2 method 1: the first 160 bits of the SHA-256 of the key, by which leaves name the CA's key. */
async function keyIdentifier(publicKey: Uint8Array): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", Buffer.from(publicKey)), 0, 20);
}

/** 128 bits, positive and never with a leading zero byte, so that all serials have one length (RFC 5280 §4.1.2.2). */
function serialNumber(): Uint8Array {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return bytes;
}

function extension(id: Uint8Array, critical: boolean, value: Uint8Array): Uint8Array {
  const name = objectIdentifier(id);
  return critical ? sequence(name, boolean(true), octetString(value)) : sequence(name, octetString(value));
}
