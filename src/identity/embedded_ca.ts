import {
  type CertificateAuthority,
  CertificateError,
  type CertificateSummary,
  readCertificate,
  summarize,
  type WorkloadCertificate,
} from "./certificate.ts";
import { sameBytes } from "./der.ts";
import { importKey, type Issuer, leafCertificate, newKey, rootCertificate, type Validity } from "./issuance.ts";
import { decodePem, encodePem, pemBlocks } from "./pem.ts";
import { readPrivateFile, writePrivateFileOnce } from "./private_file.ts";
import { parseIdentity } from "./spiffe.ts";

export interface EmbeddedCaOptions {
  /** Holds the root; made with mode 0700 if missing. */
  readonly directory: string;
  /** Organization of the root's subject, when a root has to be made. */
  readonly trustDomain: string;
  /** Life of a leaf; ms. SECRET_TTL. */
  readonly ttlMs?: number;
  /** ms since the epoch */
  readonly now?: () => number;
}

/** SECRET_TTL's default; ms. */
const LEAF_TTL_MS = 24 * 3600_000;
const ROOT_TTL_MS = 10 * 365 * 24 * 3600_000;
/** Certificates are valid from this long ago, for clocks that are a little behind; ms. */
const BACKDATE_MS = 120_000;
/** Key and certificate of the root in one file, so that there is never one without the other. */
const ROOT_FILE = "root.pem";

interface Root {
  readonly issuer: Issuer;
  readonly summary: CertificateSummary;
}

/**
 * A certificate authority inside the process, for one machine: every process that opens the same directory shares one
 * root. Leaves are signed with a new P-256 key each.
 */
export class EmbeddedCa implements CertificateAuthority {
  readonly #root: Promise<Root>;
  readonly #ttlMs: number;
  readonly #now: () => number;

  private constructor(options: EmbeddedCaOptions) {
    this.#ttlMs = options.ttlMs ?? LEAF_TTL_MS;
    this.#now = options.now ?? Date.now;
    this.#root = openRoot(options, this.#now());
    this.#root.catch(() => {}); // told by rootPem and by every fetch
  }

  /** Starts to load the root of the directory, making it first if there is none. */
  static open(options: EmbeddedCaOptions): EmbeddedCa {
    return new EmbeddedCa(options);
  }

  /** The root as PEM, once it is there. Rejects with a CertificateError that names the file or directory at fault. */
  async rootPem(): Promise<string> {
    return (await this.#root).summary.pem;
  }

  /**
   * A new certificate; about 0.2 ms of work. Rejects with CertificateError if the root cannot be had, as rootPem, or if
   * `identity` is no workload's SPIFFE id.
   */
  async fetch(identity: string): Promise<WorkloadCertificate> {
    if (parseIdentity(identity) === undefined) throw new CertificateError(`invalid spiffe identity: ${identity}`);
    const { issuer, summary: root } = await this.#root;
    const now = this.#now();
    if (root.notAfter <= now) {
      throw new CertificateError(`${identity}: the root expired at ${new Date(root.notAfter).toISOString()}`);
    }
    const validity = wholeSeconds(now - BACKDATE_MS, Math.min(now + this.#ttlMs, root.notAfter));
    const key = await newKey();
    const chainPem = encodePem("CERTIFICATE", await leafCertificate(issuer, identity, key.publicKey, validity));
    const leaf = summarize(chainPem, readCertificate(chainPem, identity));
    return {
      identity,
      keyPem: encodePem("PRIVATE KEY", key.pkcs8),
      chainPem,
      rootsPem: root.pem,
      notBefore: leaf.notBefore,
      notAfter: leaf.notAfter,
      serialNumber: leaf.serialNumber,
      certificates: [leaf],
      roots: [root],
    };
  }
}

async function openRoot({ directory, trustDomain }: EmbeddedCaOptions, now: number): Promise<Root> {
  const text = readPrivateFile(directory, ROOT_FILE) ??
    writePrivateFileOnce(directory, ROOT_FILE, await newRoot(trustDomain, now));
  return await loadRoot(text, `${directory}/${ROOT_FILE}`, now);
}

async function newRoot(trustDomain: string, now: number): Promise<string> {
  const key = await newKey();
  const validity = wholeSeconds(now - BACKDATE_MS, now + ROOT_TTL_MS);
  const certificate = await rootCertificate(trustDomain, key, validity);
  return encodePem("PRIVATE KEY", key.pkcs8) + encodePem("CERTIFICATE", certificate);
}

async function loadRoot(text: string, path: string, now: number): Promise<Root> {
  const [keyPem] = pemBlocks("PRIVATE KEY", text);
  const [pem] = pemBlocks("CERTIFICATE", text);
  if (keyPem === undefined) throw new CertificateError(`${path}: holds no PRIVATE KEY`);
  if (pem === undefined) throw new CertificateError(`${path}: holds no CERTIFICATE`);
  const { privateKey, publicKey } = await importKey(decodePem(keyPem) ?? new Uint8Array()).catch(() => {
    throw new CertificateError(`${path}: the private key is not a P-256 key`);
  });
  const certificate = readCertificate(pem, path);
  if (!certificate.ca) throw new CertificateError(`${path}: the certificate is not a CA's`);
  if (!sameBytes(certificate.publicKey, publicKey)) {
    throw new CertificateError(`${path}: the private key is not the certificate's`);
  }
  const { notAfter, subject } = certificate;
  if (notAfter <= now) {
    const ended = new Date(notAfter).toISOString();
    throw new CertificateError(`${path}: the root expired at ${ended}; remove it to make a new one`);
  }
  return { issuer: { subject, publicKey, privateKey }, summary: summarize(pem, certificate) };
}

/** Certificates keep no milliseconds: what is said of them must not differ from what they hold. */
function wholeSeconds(notBefore: number, notAfter: number): Validity {
  return { notBefore: Math.floor(notBefore / 1000) * 1000, notAfter: Math.floor(notAfter / 1000) * 1000 };
}
