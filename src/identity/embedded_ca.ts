import { createPrivateKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import { homedir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import {
  type CertificateAuthority,
  CertificateError,
  parseCertificate,
  summarizeCertificate,
  type WorkloadCertificate,
} from "./certificate.ts";
import { readPrivateFile, writePrivateFileOnce } from "./private_file.ts";
import { parseIdentity } from "./spiffe.ts";
import {
  certificatePem,
  type Issuer,
  keyIdentifier,
  leafCertificate,
  rootCertificate,
  subjectName,
  subjectPublicKey,
  type Validity,
} from "./x509.ts";

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

/** /var/lib/ambient/ca for root, the XDG state directory for others. */
export function defaultCaDirectory(env: Record<string, string | undefined> = process.env): string {
  if (process.geteuid?.() === 0) return "/var/lib/ambient/ca";
  return join(env.XDG_STATE_HOME || join(homedir(), ".local", "state"), "ambient", "ca");
}

/**
 * A certificate authority inside the process, for one machine: every process that opens the same directory shares one
 * root. Leaves are signed with a new P-256 key each.
 */
export class EmbeddedCa implements CertificateAuthority {
  /** The root, PEM. */
  readonly rootPem: string;
  readonly #issuer: Issuer;
  readonly #root: ReturnType<typeof summarizeCertificate>;
  readonly #ttlMs: number;
  readonly #now: () => number;

  private constructor(root: Root, options: EmbeddedCaOptions) {
    this.rootPem = root.pem;
    this.#issuer = root.issuer;
    this.#root = summarizeCertificate(root.pem, options.directory);
    this.#ttlMs = options.ttlMs ?? LEAF_TTL_MS;
    this.#now = options.now ?? Date.now;
  }

  /** Loads the root of `directory`, making it first if there is none. Throws CertificateError that names the file. */
  static open(options: EmbeddedCaOptions): EmbeddedCa {
    const now = (options.now ?? Date.now)();
    const path = join(options.directory, ROOT_FILE);
    const text = readPrivateFile(path) ?? writePrivateFileOnce(path, () => newRoot(options.trustDomain, now));
    return new EmbeddedCa(loadRoot(text, path, now), options);
  }

  fetch(identity: string): Promise<WorkloadCertificate> {
    try {
      return Promise.resolve(this.issue(identity));
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** As fetch, at once; about 0.1 ms. Throws CertificateError if `identity` is no workload's SPIFFE id. */
  issue(identity: string): WorkloadCertificate {
    if (parseIdentity(identity) === undefined) throw new CertificateError(`invalid spiffe identity: ${identity}`);
    const now = this.#now();
    if (this.#root.notAfter <= now) {
      throw new CertificateError(`${identity}: the root expired at ${new Date(this.#root.notAfter).toISOString()}`);
    }
    const validity = wholeSeconds(now - BACKDATE_MS, Math.min(now + this.#ttlMs, this.#root.notAfter));
    const { publicKey, privateKey } = newKey();
    const pem = certificatePem(leafCertificate(this.#issuer, identity, publicKey, validity));
    const leaf = summarizeCertificate(pem, identity);
    return {
      identity,
      keyPem: privateKeyPem(privateKey),
      chainPem: pem,
      rootsPem: this.rootPem,
      notBefore: leaf.notBefore,
      notAfter: leaf.notAfter,
      serialNumber: leaf.serialNumber,
      certificates: [leaf],
      roots: [this.#root],
    };
  }
}

interface Root {
  readonly pem: string;
  readonly issuer: Issuer;
}

function newRoot(trustDomain: string, now: number): string {
  const key = newKey();
  const validity = wholeSeconds(now - BACKDATE_MS, now + ROOT_TTL_MS);
  return privateKeyPem(key.privateKey) + certificatePem(rootCertificate(trustDomain, key, validity));
}

function loadRoot(text: string, path: string, now: number): Root {
  const [keyPem] = text.match(/-----BEGIN PRIVATE KEY-----[^-]+-----END PRIVATE KEY-----/) ?? [];
  const [pem] = text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----\n?/) ?? [];
  if (keyPem === undefined) throw new CertificateError(`${path}: holds no PRIVATE KEY`);
  if (pem === undefined) throw new CertificateError(`${path}: holds no CERTIFICATE`);
  const privateKey = parsePrivateKey(keyPem, path);
  if (privateKey.asymmetricKeyType !== "ec" || privateKey.asymmetricKeyDetails?.namedCurve !== "prime256v1") {
    throw new CertificateError(`${path}: the private key is not a P-256 key`);
  }
  const certificate = parseCertificate(pem, path);
  if (!certificate.ca) throw new CertificateError(`${path}: the certificate is not a CA's`);
  if (!certificate.checkPrivateKey(privateKey)) {
    throw new CertificateError(`${path}: the private key is not the certificate's`);
  }
  if (!certificate.verify(certificate.publicKey)) {
    throw new CertificateError(`${path}: the certificate is not self-signed`);
  }
  const notAfter = Date.parse(certificate.validTo);
  if (notAfter <= now) {
    throw new CertificateError(
      `${path}: the root expired at ${new Date(notAfter).toISOString()}; remove it to make a new one`,
    );
  }
  return {
    pem,
    issuer: {
      subject: subjectName(certificate.raw),
      keyIdentifier: keyIdentifier(subjectPublicKey(certificate.publicKey)),
      privateKey,
    },
  };
}

function parsePrivateKey(pem: string, path: string): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch (error) {
    throw new CertificateError(`${path}: unreadable private key: ${error instanceof Error ? error.message : error}`);
  }
}

function newKey(): { publicKey: KeyObject; privateKey: KeyObject } {
  return generateKeyPairSync("ec", { namedCurve: "P-256" });
}

function privateKeyPem(key: KeyObject): string {
  return key.export({ type: "pkcs8", format: "pem" }).toString();
}

/** Certificates keep no milliseconds: what is said of them must not differ from what they hold. */
function wholeSeconds(notBefore: number, notAfter: number): Validity {
  return { notBefore: Math.floor(notBefore / 1000) * 1000, notAfter: Math.floor(notAfter / 1000) * 1000 };
}
