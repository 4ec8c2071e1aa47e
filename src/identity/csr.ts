import { CertificateError } from "./certificate.ts";
import { contextTag, element, objectIdentifier, OID, sequence, TAG, unsignedInteger } from "./der.ts";
import { type NewKey, publicKeyInfo, signed, uriName } from "./issuance.ts";
import { encodePem } from "./pem.ts";
import { parseIdentity, quoteIdentity } from "./spiffe.ts";

const VERSION_1 = unsignedInteger(Uint8Array.of(0));
const NO_SUBJECT = sequence();

/**
 * A certificate signing request (PKCS#10, RFC 2986) as PEM, in the form that Istio's CA expects (spec/ztunnel.md §3.4):
 * no subject, one extension request with a critical subjectAltName that holds the SPIFFE id as its only name, signed
 * with ECDSA and SHA-256. Rejects with CertificateError for what is no workload's SPIFFE id.
 */
export async function createCsr(identity: string, key: NewKey): Promise<string> {
  if (parseIdentity(identity) === undefined) {
    throw new CertificateError(`invalid spiffe identity: ${quoteIdentity(identity)}`);
  }
  const extensions = sequence(uriName(identity));
  const extensionRequest = sequence(objectIdentifier(OID.extensionRequest), element(TAG.set, extensions));
  const attributes = element(contextTag(0, true), extensionRequest);
  const body = sequence(VERSION_1, NO_SUBJECT, publicKeyInfo(key.publicKey), attributes);
  return encodePem("CERTIFICATE REQUEST", await signed(body, key.privateKey));
}
