import type { X509Certificate } from "node:crypto";
import type { ChainLink, Issuer, IssuerStore } from "./issuer.ts";
import { serialKey } from "./serial_set.ts";

/**
 * What is asked of a socket whose handshake is over, at any time until it closes; Bun.Socket has it.
 *
 * What the runtime gives, found by experiment and kept by test/tls/peer_chain.test.ts, the same for accepted sockets, for
 * those that we make and for those on a socket pair (the inner tunnel):
 *
 * - `getPeerX509Certificate()` is the leaf, and its `issuerCertificate` is always undefined.
 * - `getPeerCertificate(false)` is a list linked by `issuerCertificate`: every certificate that the peer sent, in the
 *   order in which it sent them, whether or not they belong together; then, if the context's roots have the issuer of the
 *   last one, that. A root is linked to itself. (`true` is the leaf alone; the argument must be there.)
 *
 * So it is not the chain that was verified: a peer may put others among its certificates, of the same name as the one
 * that is revoked. The chain has to be found again, by signatures.
 */
export interface ChainSocket {
  getPeerCertificate(abbreviated: boolean): unknown;
  getPeerX509Certificate(): X509Certificate | undefined;
}

/** A peer's certificate as lists know it, and who stands above it. */
export interface PeerChain {
  /** serialKey */
  readonly serial: string;
  readonly link: ChainLink;
}

export type ChainOutcome =
  | { readonly kind: "chain"; readonly chain: PeerChain }
  /** There are chains, and all have a revoked certificate; this is one of them. */
  | { readonly kind: "revoked"; readonly serial: string; readonly issuer: Issuer }
  | { readonly kind: "none" };

/** What a chain must be like. */
export interface ChainRules {
  readonly roots: readonly Issuer[];
  /** Issuers must be valid then; ms since the epoch. undefined: it does not matter, a handshake has decided. */
  readonly at?: number | undefined;
  /** Whether the certificate with this serial is revoked by its issuer. */
  revoked(serial: string, issuer: Issuer): boolean;
}

/** Certificates that a peer sends and that are looked at, the leaf not counted. */
const MAX_SENT = 16;

interface SentCertificate {
  readonly raw: Uint8Array;
  readonly fingerprint256: string;
  readonly issuerCertificate?: unknown;
}

/** Follows a peer's chain from its leaf to one of the roots, by signatures, past decoys and past what is revoked. */
export function followChain(socket: ChainSocket, store: IssuerStore, rules: ChainRules): ChainOutcome {
  const leaf = socket.getPeerX509Certificate();
  if (leaf === undefined) return { kind: "none" };
  return new Search(sentIssuers(socket, store), store, rules).from(leaf);
}

/** What the peer sent besides its leaf. */
function sentIssuers(socket: ChainSocket, store: IssuerStore): Issuer[] {
  const issuers: Issuer[] = [];
  const seen = new Set<unknown>();
  let next = socket.getPeerCertificate(false);
  for (let i = 0; i <= MAX_SENT && isSent(next) && !seen.has(next); i++) {
    seen.add(next);
    const issuer = i === 0 ? undefined : store.known(next.fingerprint256) ?? store.find(next.raw);
    if (issuer !== undefined && !issuers.includes(issuer)) issuers.push(issuer);
    next = next.issuerCertificate;
  }
  return issuers;
}

function isSent(value: unknown): value is SentCertificate {
  return typeof value === "object" && value !== null && "raw" in value && value.raw instanceof Uint8Array &&
    "fingerprint256" in value;
}

class Search {
  readonly #sent: readonly Issuer[];
  readonly #store: IssuerStore;
  readonly #rules: ChainRules;
  /** Sent certificates that were tried: each leads on, or does not, whoever asks. */
  readonly #tried = new Set<Issuer>();
  #revoked: ChainOutcome | undefined = undefined;

  constructor(sent: readonly Issuer[], store: IssuerStore, rules: ChainRules) {
    this.#sent = sent;
    this.#store = store;
    this.#rules = rules;
  }

  from(leaf: X509Certificate): ChainOutcome {
    const serial = serialKey(leaf.serialNumber);
    const link = this.#above(serial, (issuer) => issuer.signed(leaf));
    if (link !== undefined) return { kind: "chain", chain: { serial, link } };
    return this.#revoked ?? { kind: "none" };
  }

  #above(serial: string, signedBy: (issuer: Issuer) => boolean): ChainLink | undefined {
    for (const root of this.#rules.roots) {
      if (this.#inTime(root) && signedBy(root) && !this.#isRevoked(serial, root)) {
        this.#store.keep(root);
        return root.link(undefined);
      }
    }
    for (const issuer of this.#sent) {
      if (this.#tried.has(issuer) || !this.#inTime(issuer) || !signedBy(issuer)) continue;
      if (this.#isRevoked(serial, issuer)) continue;
      this.#tried.add(issuer);
      const next = this.#above(issuer.serial, (above) => above.signedIssuer(issuer));
      if (next === undefined) continue;
      this.#store.keep(issuer);
      return issuer.link(next);
    }
    return undefined;
  }

  #inTime({ notBefore, notAfter }: Issuer): boolean {
    const { at } = this.#rules;
    return at === undefined || (notBefore <= at && at <= notAfter);
  }

  #isRevoked(serial: string, issuer: Issuer): boolean {
    if (!this.#rules.revoked(serial, issuer)) return false;
    this.#revoked ??= { kind: "revoked", serial, issuer };
    return true;
  }
}
