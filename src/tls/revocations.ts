import type { ChainLink, Crypto, Issuer } from "./issuer.ts";
import type { RevocationList } from "./revocation_list.ts";
import type { PeerChain } from "./peer_chain.ts";

/**
 * The lists in force. A list counts for whoever signed it: its issuer's name says whom to ask, and the signature is
 * checked against the certificate in the peer's chain when that is first met. What no list tells of is not revoked
 * (unknown status is allowed, spec/ztunnel.md §3.6), and neither is what a list tells that nobody signed.
 */
export class Revocations {
  /** Entries of all lists, those that nobody signed included. */
  readonly entries: number;
  readonly lists: number;
  readonly #crypto: Crypto;
  readonly #byName = new Map<string, RevocationList[]>();
  readonly #bySigner = new Map<Issuer, readonly RevocationList[]>();
  readonly #links = new Map<ChainLink, { serial: string; issuer: Issuer } | undefined>();
  readonly #unsigned: (issuer: Issuer) => void;

  /** @param unsigned hears, once, of an issuer of whose name there are lists, none of them with its signature */
  constructor(crypto: Crypto, lists: readonly RevocationList[], unsigned: (issuer: Issuer) => void) {
    this.#crypto = crypto;
    this.#unsigned = unsigned;
    this.lists = lists.length;
    this.entries = lists.reduce((sum, { serials }) => sum + serials.size, 0);
    for (const list of lists) {
      const sameName = this.#byName.get(list.issuer);
      if (sameName === undefined) this.#byName.set(list.issuer, [list]);
      else sameName.push(list);
    }
  }

  /** Whether the certificate with this serial is revoked by its issuer. */
  revoked(serial: string, issuer: Issuer): boolean {
    for (const { serials } of this.#signedBy(issuer)) {
      if (serials.has(serial)) return true;
    }
    return false;
  }

  /** The first revoked certificate of a chain, the leaf first; the root is nobody's to revoke. */
  revokedIn({ serial, link }: PeerChain): { readonly serial: string; readonly issuer: Issuer } | undefined {
    if (this.revoked(serial, link.issuer)) return { serial, issuer: link.issuer };
    return this.#revokedAbove(link);
  }

  #revokedAbove(link: ChainLink): { serial: string; issuer: Issuer } | undefined {
    if (this.#links.has(link)) return this.#links.get(link);
    const { issuer: { serial }, next } = link;
    let found: { serial: string; issuer: Issuer } | undefined;
    if (next !== undefined) {
      found = this.revoked(serial, next.issuer) ? { serial, issuer: next.issuer } : this.#revokedAbove(next);
    }
    this.#links.set(link, found);
    return found;
  }

  #signedBy(issuer: Issuer): readonly RevocationList[] {
    let lists = this.#bySigner.get(issuer);
    if (lists === undefined) {
      const named = this.#byName.get(issuer.name) ?? [];
      lists = named.filter((list) => this.#verify(list, issuer));
      this.#bySigner.set(issuer, lists);
      if (lists.length === 0 && named.length > 0) this.#unsigned(issuer);
    }
    return lists;
  }

  #verify({ algorithm: { hash, saltLength }, signed, signature }: RevocationList, { key }: Issuer): boolean {
    // A key of another kind than the algorithm's is no match; node:crypto throws for some of them.
    try {
      if (saltLength === undefined) return this.#crypto.verify(hash, signed, key, signature);
      const padding = RSA_PKCS1_PSS_PADDING;
      return this.#crypto.verify(hash, signed, { key, padding, saltLength }, signature);
    } catch {
      return false;
    }
  }
}

/** crypto.constants.RSA_PKCS1_PSS_PADDING */
const RSA_PKCS1_PSS_PADDING = 6;
