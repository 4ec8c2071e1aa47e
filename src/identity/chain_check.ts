import { CertificateError, type WorkloadCertificate } from "./certificate.ts";
import { DerError, sameBytes } from "./der.ts";
import { decodePem } from "./pem.ts";
import { hasSigned, type SignedCertificate, signedCertificate } from "./signature.ts";

/** Intermediates that are looked at; peers follow no chain of so many. */
const MAX_INTERMEDIATES = 16;
/** Issuers whose signature is tried where none has the name. */
const MAX_TRIED = 16;

/**
 * Holds what a CA answered against itself: leaf, intermediates and roots must belong together by their signatures, or every
 * peer would refuse what takes a good certificate's place. A signature that cannot be judged here is left to the peers.
 * What is above the leaves is remembered while it stays the same, so that a renewal costs one signature.
 */
export class ChainCheck {
  #above: { readonly pem: string; readonly issuers: Promise<readonly SignedCertificate[]> } | undefined;

  /** Rejects with CertificateError. */
  async check({ identity, certificates, rootsPem, roots }: WorkloadCertificate): Promise<void> {
    const [leaf, ...intermediates] = certificates.map(({ pem }) => pem);
    const pem = [...intermediates, rootsPem].join("");
    if (this.#above?.pem !== pem) {
      const issuers = anchored(intermediates.slice(0, MAX_INTERMEDIATES), roots.map((root) => root.pem));
      this.#above = { pem, issuers };
    }
    const read = readAll(leaf === undefined ? [] : [leaf])[0];
    if (read !== undefined && await signedByOne(read, await this.#above.issuers)) return;
    throw new CertificateError(`${identity}: the CA's certificate leads to none of the roots in its answer`);
  }
}

/** The roots, and of the intermediates those that lead to one. */
async function anchored(intermediates: readonly string[], roots: readonly string[]): Promise<SignedCertificate[]> {
  const issuers = readAll(roots);
  let left = readAll(intermediates);
  for (let before = -1; before !== left.length;) {
    before = left.length;
    const rest: SignedCertificate[] = [];
    for (const one of left) (await signedByOne(one, issuers) ? issuers : rest).push(one);
    left = rest;
  }
  return issuers;
}

async function signedByOne(one: SignedCertificate, issuers: readonly SignedCertificate[]): Promise<boolean> {
  const named = issuers.filter(({ subject }) => sameBytes(subject, one.issuer));
  for (const issuer of named) if (await signed(issuer, one) !== false) return true;
  if (named.length > 0) return false;
  // Equal names can be written in two ways, so the signature decides.
  for (const issuer of issuers.slice(0, MAX_TRIED)) if (await signed(issuer, one) === true) return true;
  return false;
}

async function signed(issuer: SignedCertificate, one: SignedCertificate): Promise<boolean | undefined> {
  try {
    return await hasSigned(issuer, one);
  } catch (error) {
    if (error instanceof DerError) return false;
    throw error;
  }
}

/** Those that can be read. */
function readAll(pems: readonly string[]): SignedCertificate[] {
  return pems.flatMap((pem) => {
    const der = decodePem(pem);
    if (der === undefined) return [];
    try {
      return [signedCertificate(der)];
    } catch (error) {
      if (error instanceof DerError) return [];
      throw error;
    }
  });
}
