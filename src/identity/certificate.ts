import { DerError } from "./der.ts";
import { parseCertificate, type ParsedCertificate } from "./parsed_certificate.ts";
import { decodePem, pemBlocks } from "./pem.ts";

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

/** Reads one PEM block. Throws CertificateError, naming the certificate as `name` says, if it is none. */
export function readCertificate(pem: string, name: string): ParsedCertificate {
  const der = decodePem(pem);
  if (der === undefined) throw new CertificateError(`${name}: not a certificate: not base64`);
  try {
    return parseCertificate(der);
  } catch (error) {
    if (error instanceof DerError) throw new CertificateError(`${name}: not a certificate: ${error.message}`);
    throw error;
  }
}

/** As config_dump shows it. */
export function summarize(pem: string, certificate: ParsedCertificate): CertificateSummary {
  const { serialNumber, notBefore, notAfter } = certificate;
  return { pem, serialNumber: serialNumber.toString(), notBefore, notAfter };
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
  const chain = pemBlocks("CERTIFICATE", chainPem).map((pem, i) => {
    const certificate = readCertificate(pem, `${identity}: certificate ${i}`);
    return { uri: certificate.uris[0], summary: summarize(pem, certificate) };
  });
  const [leaf] = chain;
  if (leaf === undefined) throw new CertificateError(`chain returned from CA is empty for: ${identity}`);
  const roots = pemBlocks("CERTIFICATE", rootsPem).map((pem, i) =>
    summarize(pem, readCertificate(pem, `${identity}: root ${i}`))
  );
  if (roots.length === 0) throw new CertificateError(`no root certificate returned from CA for: ${identity}`);
  if (leaf.uri !== identity) {
    throw new CertificateError(`did not find expected SAN: ${identity}, got ${leaf.uri ?? "no URI"}`);
  }
  const { notBefore, notAfter, serialNumber } = leaf.summary;
  return {
    identity,
    keyPem,
    chainPem,
    rootsPem,
    notBefore,
    notAfter,
    serialNumber,
    certificates: chain.map(({ summary }) => summary),
    roots,
  };
}
