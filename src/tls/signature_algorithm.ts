import { Buffer } from "node:buffer";
import { CONSTRUCTED, DER, DerCursor } from "./der_cursor.ts";

/** How a signature is made, as node:crypto's verify wants to be told. */
export interface SignatureAlgorithm {
  readonly name: string;
  /** undefined: it is the key's (Ed25519) */
  readonly hash: "sha256" | "sha384" | "sha512" | undefined;
  /** RSASSA-PSS: octets of salt; undefined: another scheme */
  readonly saltLength?: number;
}

/** By the hex of their object identifiers (RFC 5758, RFC 4055, RFC 8410). SHA-1 is not among them. */
const ALGORITHMS: Readonly<Record<string, SignatureAlgorithm>> = {
  "2a8648ce3d040302": { name: "ecdsa-with-SHA256", hash: "sha256" },
  "2a8648ce3d040303": { name: "ecdsa-with-SHA384", hash: "sha384" },
  "2a8648ce3d040304": { name: "ecdsa-with-SHA512", hash: "sha512" },
  "2a864886f70d01010b": { name: "sha256WithRSAEncryption", hash: "sha256" },
  "2a864886f70d01010c": { name: "sha384WithRSAEncryption", hash: "sha384" },
  "2a864886f70d01010d": { name: "sha512WithRSAEncryption", hash: "sha512" },
  "2b6570": { name: "Ed25519", hash: undefined },
};
const RSASSA_PSS = "2a864886f70d01010a";
const PSS_HASHES: Readonly<Record<string, { hash: "sha256" | "sha384" | "sha512"; size: number }>> = {
  "608648016503040201": { hash: "sha256", size: 32 },
  "608648016503040202": { hash: "sha384", size: 48 },
  "608648016503040203": { hash: "sha512", size: 64 },
};

/**
 * Reads an AlgorithmIdentifier of a signature. @param cursor whose last element it is. @returns what is wrong with one that
 * is not known. Throws MalformedDer.
 */
export function signatureAlgorithm(cursor: DerCursor): SignatureAlgorithm | string {
  const fields = cursor.inside();
  fields.read(DER.oid);
  const id = hex(fields.content());
  if (id === RSASSA_PSS) return fields.atEnd ? "is signed with RSASSA-PSS and SHA-1" : pss(fields);
  const known = ALGORITHMS[id];
  if (known === undefined) return `is signed with an algorithm that is not known (object identifier ${id} in hex)`;
  if (!fields.atEnd) fields.read(DER.null);
  fields.finish();
  return known;
}

/** RFC 4055 §3.1; the mask is taken to have the same hash, as RFC 5756 recommends: another one does not verify. */
function pss(fields: DerCursor): SignatureAlgorithm | string {
  fields.read(DER.sequence);
  const parameters = fields.inside();
  if (!parameters.readIf(CONSTRUCTED | 0)) return "is signed with RSASSA-PSS and SHA-1";
  const explicit = parameters.inside();
  explicit.read(DER.sequence);
  const algorithm = explicit.inside();
  algorithm.read(DER.oid);
  const found = PSS_HASHES[hex(algorithm.content())];
  if (found === undefined) return "is signed with RSASSA-PSS and a hash that is not known";
  parameters.readIf(CONSTRUCTED | 1); // mask
  let saltLength = 20; // the default
  if (parameters.readIf(CONSTRUCTED | 2)) {
    const salt = parameters.inside();
    salt.integer(1);
    saltLength = salt.bytes[salt.start] as number;
  }
  return { name: "RSASSA-PSS", hash: found.hash, saltLength };
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("hex");
}
