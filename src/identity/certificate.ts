import { X509Certificate } from "node:crypto";
import { subjectAltNameUris } from "./x509.ts";

/** What a reader of config_dump wants to know of one certificate. Times in ms since the epoch. */
export interface CertificateSummary {
  readonly pem: string;
  /** decimal */
  readonly serialNumber: string;
  readonly notBefore: number;
  readonly notAfter: number;
}

/** A workload's key and certificates: immutable; a rotation makes a new one. Times in ms since the epoch. */
export interface WorkloadCertificate {
  /** SPIFFE id */
  readonly identity: string;
  /** PKCS#8 */
  readonly keyPem: string;
  /** leaf and intermediates, no root */
  readonly chainPem: string;
  /** all trusted roots */
  readonly rootsPem: string;
  /** of the leaf */
  readonly notBefore: number;
  readonly notAfter: number;
  readonly serialNumber: string;
  /** the chain, leaf first */
  readonly certificates: readonly CertificateSummary[];
  readonly roots: readonly CertificateSummary[];
}

/** Where certificates come from. Rejects with CertificateError. */
export interface CertificateAuthority {
  fetch(identity: string): Promise<WorkloadCertificate>;
}

/** A certificate that cannot be had or used; the message says which and why. */
export class CertificateError extends Error {
  override name = "CertificateError";
}

const PEM_CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/** The certificates of a PEM text, each with a final newline. */
export function splitPem(text: string): string[] {
  return (text.match(PEM_CERTIFICATE) ?? []).map((pem) => `${pem}\n`);
}

/** Throws CertificateError if `pem` is not one certificate; `name` says in the message what it was. */
export function summarizeCertificate(pem: string, name: string): CertificateSummary {
  const certificate = parseCertificate(pem, name);
  return {
    pem,
    serialNumber: BigInt(`0x${certificate.serialNumber}`).toString(),
    notBefore: Date.parse(certificate.validFrom),
    notAfter: Date.parse(certificate.validTo),
  };
}

/** Throws CertificateError naming `name` if `pem` is not one certificate. */
export function parseCertificate(pem: string, name: string): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch (error) {
    throw new CertificateError(`${name}: not a certificate: ${error instanceof Error ? error.message : error}`);
  }
}

/**
 * Puts together what a CA answered. The leaf's first URI name must be the identity that was asked for
 * (spec/ztunnel.md §3.4). Throws CertificateError otherwise, or when a certificate cannot be read or none is there.
 */
export function workloadCertificate(
  identity: string,
  keyPem: string,
  chainPem: string,
  rootsPem: string,
): WorkloadCertificate {
  const certificates = splitPem(chainPem).map((pem, i) => summarizeCertificate(pem, `${identity}: certificate ${i}`));
  const leaf = certificates[0];
  if (leaf === undefined) throw new CertificateError(`chain returned from CA is empty for: ${identity}`);
  const roots = splitPem(rootsPem).map((pem, i) => summarizeCertificate(pem, `${identity}: root ${i}`));
  if (roots.length === 0) throw new CertificateError(`no root certificate returned from CA for: ${identity}`);
  const uri = subjectAltNameUris(new X509Certificate(leaf.pem).raw)[0];
  if (uri !== identity) {
    throw new CertificateError(`did not find expected SAN: ${identity}, got ${uri === undefined ? "no URI" : uri}`);
  }
  return {
    identity,
    keyPem,
    chainPem,
    rootsPem,
    notBefore: leaf.notBefore,
    notAfter: leaf.notAfter,
    serialNumber: leaf.serialNumber,
    certificates,
    roots,
  };
}
