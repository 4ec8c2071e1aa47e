/** Whether one certificate's key has signed another certificate (RFC 5280 §4.1.1.3), by WebCrypto: node:crypto is 3.5 MB. */
import { Buffer } from "node:buffer";
import { DerReader, TAG } from "./der.ts";

/** What of a certificate a signature is about. Byte arrays are views into it. */
export interface SignedCertificate {
  /** Names as they are written. */
  readonly issuer: Uint8Array;
  readonly subject: Uint8Array;
  /** SubjectPublicKeyInfo */
  readonly key: Uint8Array;
  readonly body: Uint8Array;
  /** Object identifier in hex. */
  readonly algorithm: string;
  readonly signature: Uint8Array;
}

type Hash = "SHA-256" | "SHA-384" | "SHA-512";
interface Algorithm {
  readonly name: "ECDSA" | "RSASSA-PKCS1-v1_5" | "Ed25519";
  readonly hash?: Hash;
}

/** By their object identifiers in hex (RFC 5758, RFC 4055, RFC 8410). */
const ALGORITHMS: Readonly<Record<string, Algorithm>> = {
  "2a8648ce3d040302": { name: "ECDSA", hash: "SHA-256" },
  "2a8648ce3d040303": { name: "ECDSA", hash: "SHA-384" },
  "2a8648ce3d040304": { name: "ECDSA", hash: "SHA-512" },
  "2a864886f70d01010b": { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" },
  "2a864886f70d01010c": { name: "RSASSA-PKCS1-v1_5", hash: "SHA-384" },
  "2a864886f70d01010d": { name: "RSASSA-PKCS1-v1_5", hash: "SHA-512" },
  "2b6570": { name: "Ed25519" },
};

interface Curve {
  readonly namedCurve: string;
  /** Octets of each of the two numbers of a signature. */
  readonly size: number;
}

/** By their object identifiers in hex (RFC 5480). */
const CURVES: Readonly<Record<string, Curve>> = {
  "2a8648ce3d030107": { namedCurve: "P-256", size: 32 },
  "2b81040022": { namedCurve: "P-384", size: 48 },
  "2b81040023": { namedCurve: "P-521", size: 66 },
};

/** Takes a certificate apart. Throws DerError for bytes that are none. */
export function signedCertificate(der: Uint8Array): SignedCertificate {
  const outer = new DerReader(der).read(TAG.sequence);
  const parts = new DerReader(outer);
  const content = parts.read(TAG.sequence);
  const algorithm = hex(parts.enter(TAG.sequence).read(TAG.oid));
  const signature = parts.read(TAG.bitString).subarray(1);
  const body = new DerReader(content);
  if (body.nextTag !== TAG.integer) body.read(); // version
  body.read(TAG.integer); // serial number
  body.read(TAG.sequence); // signature's algorithm
  const issuer = body.read(TAG.sequence);
  body.read(TAG.sequence); // validity
  const subject = body.read(TAG.sequence);
  const key = body.read(TAG.sequence);
  return {
    issuer,
    subject,
    key: between(der, endOf(subject), endOf(key)),
    body: between(der, outer.byteOffset, endOf(content)),
    algorithm,
    signature,
  };
}

/** Undefined: that cannot be told here, for the algorithm or the kind of key is not known. Throws DerError. */
export async function hasSigned(
  { key }: SignedCertificate,
  { algorithm, body, signature }: SignedCertificate,
): Promise<boolean | undefined> {
  const known = ALGORITHMS[algorithm];
  if (known === undefined) return undefined;
  const parts = new DerReader(key).enter(TAG.sequence).enter(TAG.sequence);
  parts.read(TAG.oid);
  const curve = known.name === "ECDSA" && parts.nextTag === TAG.oid ? CURVES[hex(parts.read())] : undefined;
  if (known.name === "ECDSA" && curve === undefined) return undefined;
  const given = { ...known, ...(curve === undefined ? {} : { namedCurve: curve.namedCurve }) };
  const signed = curve === undefined ? Buffer.from(signature) : plainSignature(signature, curve.size);
  try {
    const imported = await crypto.subtle.importKey("spki", Buffer.from(key), given, false, ["verify"]);
    return await crypto.subtle.verify(given, imported, signed, Buffer.from(body));
  } catch {
    return undefined; // a key of another kind than the algorithm's, or none that the runtime knows
  }
}

/** ECDSA's two numbers one after the other, as WebCrypto has them, of SEQUENCE { r, s }. */
function plainSignature(signature: Uint8Array, size: number): Buffer<ArrayBuffer> {
  const numbers = new DerReader(signature).enter(TAG.sequence);
  const plain = Buffer.alloc(2 * size);
  for (const end of [size, 2 * size]) {
    const number = numbers.read(TAG.integer);
    const digits = number.subarray(Math.max(0, number.length - size));
    plain.set(digits, end - digits.length);
  }
  return plain;
}

function endOf(view: Uint8Array): number {
  return view.byteOffset + view.length;
}

function between(der: Uint8Array, start: number, end: number): Uint8Array {
  return der.subarray(start - der.byteOffset, end - der.byteOffset);
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("hex");
}
