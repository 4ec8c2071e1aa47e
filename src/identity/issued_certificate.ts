import { CertificateError, readCertificate, summarize, type WorkloadCertificate } from "./certificate.ts";
import { sameBytes } from "./der.ts";
import type { NewKey } from "./issuance.ts";
import type { ParsedCertificate } from "./parsed_certificate.ts";
import { encodePem, pemBlocks } from "./pem.ts";
import { quoteIdentity } from "./spiffe.ts";

export interface IssuedChain {
  /** The SPIFFE id that was asked for. */
  readonly identity: string;
  /** Whose public half was in the request. */
  readonly key: NewKey;
  /** As the CA answered: the leaf, any intermediates, and last the roots, one or more in one text. PEM. */
  readonly chain: readonly string[];
  /** Whether the leaf's first URI must be the identity: in shared mode (spec/ztunnel.md §3.4). */
  readonly checkName: boolean;
}

interface Block {
  readonly pem: string;
  readonly certificate: ParsedCertificate;
}

/**
 * Puts together what a CA answered. Throws CertificateError that names the identity and what is wrong: no root or no
 * certificate where one must be, an element that is none, a leaf for another key or (in shared mode) another identity.
 */
export function issuedCertificate({ identity, key, chain, checkName }: IssuedChain): WorkloadCertificate {
  const [first] = chain;
  const last = chain.length - 1;
  if (first === undefined) throw new CertificateError(`chain returned from CA is empty for: ${identity}`);
  if (last === 0) {
    throw new CertificateError(
      `chain returned from CA is empty for: ${identity}: it is the leaf alone, without a root`,
    );
  }
  const elements = chain.map((pem, i) => read(identity, pem, i, i === last ? "root" : "certificate"));
  const roots = elements[last] ?? [];
  const [leaf, ...rest] = elements.slice(0, last).flat();
  if (leaf === undefined) throw new CertificateError(`chain returned from CA is empty for: ${identity}`);
  // A root among the intermediates is nothing that a peer needs to be sent.
  const intermediates = rest.filter(({ pem }) => !roots.some((root) => root.pem === pem));
  checkLeaf(identity, leaf.certificate, key, checkName);
  const presented = [leaf, ...intermediates];
  const { notBefore, notAfter, serialNumber } = summarize(leaf.pem, leaf.certificate);
  return {
    identity,
    keyPem: encodePem("PRIVATE KEY", key.pkcs8),
    chainPem: joined(presented),
    rootsPem: joined(roots),
    notBefore,
    notAfter,
    serialNumber,
    certificates: presented.map(({ pem, certificate }) => summarize(pem, certificate)),
    roots: roots.map(({ pem, certificate }) => summarize(pem, certificate)),
  };
}

function read(identity: string, text: string, index: number, what: string): Block[] {
  const place = `${identity}: ${what} of the CA's answer (cert_chain[${index}])`;
  const blocks = pemBlocks("CERTIFICATE", text);
  if (blocks.length === 0) throw new CertificateError(`${place}: holds no PEM certificate`);
  return blocks.map((pem) => {
    const certificate = readCertificate(pem, place);
    if (certificate.notAfter < certificate.notBefore) throw new CertificateError(`${place}: ends before it begins`);
    return { pem, certificate };
  });
}

function checkLeaf(identity: string, leaf: ParsedCertificate, key: NewKey, checkName: boolean): void {
  const [uri] = leaf.uris;
  if (checkName && uri !== identity) {
    const got = uri === undefined ? "no URI" : quoteIdentity(uri);
    throw new CertificateError(`did not find expected SAN: ${identity}, got ${got}`);
  }
  if (!sameBytes(leaf.publicKey, key.publicKey)) {
    throw new CertificateError(`${identity}: the CA's certificate is for another key than that of our request`);
  }
}

function joined(blocks: readonly Block[]): string {
  return blocks.map(({ pem }) => pem).join("");
}
