import { DerError } from "./der.ts";
import { parseCertificate, type ParsedCertificate } from "./parsed_certificate.ts";
import { decodePem } from "./pem.ts";

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

/** Whether two certificates of one workload are signed by one authority, as far as their intermediates tell. */
export function sameSigner(one: WorkloadCertificate, other: WorkloadCertificate): boolean {
  const above = ({ certificates }: WorkloadCertificate) => certificates.slice(1).map(({ pem }) => pem).join("");
  return above(one) === above(other);
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

/** How far ahead the CA's clock may be: a certificate that begins later than so many ms from now is refused. */
const MAX_CLOCK_SKEW_MS = 5 * 60_000;

/**
 * When a certificate ceases to be of use; ms since the epoch. A chain ends with the first of its certificates, and
 * without any valid root no peer can be verified.
 */
export function usableUntil({ notAfter, certificates, roots }: WorkloadCertificate): number {
  const lastRoot = roots.length === 0 ? Infinity : Math.max(...roots.map((root) => root.notAfter));
  return Math.min(notAfter, lastRoot, ...certificates.map((certificate) => certificate.notAfter));
}

/**
 * Why a certificate cannot be used at `now`; undefined if it can. One that begins a little later can: that is a clock
 * somewhat behind the CA's, and peers need not share it.
 */
export function whyUnusable(certificate: WorkloadCertificate, now: number): string | undefined {
  const { notBefore, notAfter, certificates } = certificate;
  if (notAfter <= now) return `the CA issued a certificate that ended at ${at(notAfter)}`;
  const end = usableUntil(certificate);
  if (end <= now) {
    const what = certificates.some((link) => link.notAfter === end) ? "an intermediate certificate" : "only roots";
    return `the CA sent ${what} that ended at ${at(end)}`;
  }
  if (notBefore > now + MAX_CLOCK_SKEW_MS) {
    return `the CA issued a certificate that begins at ${at(notBefore)}, and it is ${at(now)} here: one clock is wrong`;
  }
  return undefined;
}

function at(time: number): string {
  return new Date(time).toISOString();
}
