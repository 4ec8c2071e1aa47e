import type { KeyObject, X509Certificate } from "node:crypto";
import { parseCertificate } from "../identity/mod.ts";
import { DER, DerCursor } from "./der_cursor.ts";
import { nameKey } from "./distinguished_name.ts";
import { serialKey } from "./serial_set.ts";

/** node:crypto, loaded only where chains are looked at: it costs several MB. */
export type Crypto = Pick<typeof import("node:crypto"), "X509Certificate" | "verify">;

/** Certificates that were seen in a peer's chain and are no leaf: few, shared by all peers, and kept whole. */
export class Issuer {
  readonly certificate: X509Certificate;
  readonly key: KeyObject;
  /** nameKey of the subject */
  readonly name: string;
  /** serialKey of its own certificate */
  readonly serial: string;
  /** ms since the epoch */
  readonly notBefore: number;
  readonly notAfter: number;
  /** Who is known to have signed it. */
  readonly #signers = new Set<Issuer>();
  readonly #links = new Map<ChainLink | undefined, ChainLink>();

  /** Throws MalformedDer, DerError or what node:crypto throws for a certificate that it cannot read. */
  constructor(certificate: X509Certificate) {
    const { subject, notBefore, notAfter } = parseCertificate(certificate.raw);
    const name = new DerCursor(subject);
    name.read(DER.sequence);
    this.certificate = certificate;
    this.key = certificate.publicKey;
    this.name = nameKey(name);
    this.serial = serialKey(certificate.serialNumber);
    this.notBefore = notBefore;
    this.notAfter = notAfter;
  }

  /** Whether it may sign certificates. */
  get ca(): boolean {
    return this.certificate.ca;
  }

  /** Whether `certificate` says that this one issued it, and its signature says so too. */
  signed(certificate: X509Certificate): boolean {
    return this.ca && certificate.checkIssued(this.certificate) && certificate.verify(this.key);
  }

  /** As `signed`, remembering the answer if it is yes. */
  signedIssuer(issuer: Issuer): boolean {
    if (issuer.#signers.has(this)) return true;
    if (!this.signed(issuer.certificate)) return false;
    issuer.#signers.add(this);
    return true;
  }

  /** Whether what this one signed is signed by the other too: a certificate that was renewed with its key. */
  sameAuthority(other: Issuer): boolean {
    return this === other || (this.name === other.name && this.key.equals(other.key));
  }

  /** The link from this one to `next`; one object for all chains that share it. */
  link(next: ChainLink | undefined): ChainLink {
    let link = this.#links.get(next);
    if (link === undefined) this.#links.set(next, link = { issuer: this, next });
    return link;
  }
}

/** The issuers above a leaf, in order; the last one is a root. Equal chains are one object. */
export interface ChainLink {
  readonly issuer: Issuer;
  readonly next: ChainLink | undefined;
}

/** Different issuers that are remembered. CAs are few; only one that does nothing else could make more. */
const MAX_ISSUERS = 1024;

/** Issuers by what they are, so that there is one object for each. */
export class IssuerStore {
  readonly #crypto: Crypto;
  readonly #issuers = new Map<string, Issuer>();

  constructor(crypto: Crypto) {
    this.#crypto = crypto;
  }

  /** The issuer, known or new, but not remembered yet; undefined for what is no certificate that can be read. */
  find(raw: Uint8Array | string): Issuer | undefined {
    try {
      const certificate = new this.#crypto.X509Certificate(raw);
      return this.#issuers.get(certificate.fingerprint256) ?? new Issuer(certificate);
    } catch {
      return undefined; // it helps no chain, and a chain that needs it cannot be followed
    }
  }

  /** As find, by a fingerprint that is known already (SHA-256, as X509Certificate has it). */
  known(fingerprint: string): Issuer | undefined {
    return this.#issuers.get(fingerprint);
  }

  /** Remembers one that is part of a chain that was verified. */
  keep(issuer: Issuer): void {
    const { fingerprint256 } = issuer.certificate;
    if (this.#issuers.has(fingerprint256)) return;
    // Chains keep what they are made of: forgetting costs only that equal ones are no longer one object.
    if (this.#issuers.size >= MAX_ISSUERS) this.#issuers.clear();
    this.#issuers.set(fingerprint256, issuer);
  }
}
