/** Names to addresses, by the resolver of the runtime (c-ares: /etc/hosts, then the name servers of resolv.conf). */
import { canonicalIp } from "../net/address.ts";

export interface ResolvedAddress {
  /** Canonical text. */
  readonly ip: string;
  /** Seconds for which the answer is good; 0: not known. */
  readonly ttl: number;
}

export interface LookupAnswer {
  readonly addresses: readonly ResolvedAddress[];
  /**
   * Whether the answer says that there is such a name, with or without addresses of this family. The runtime says
   * ENOTFOUND of either, so that without addresses `systemLookup` cannot know, and says false.
   */
  readonly exists: boolean;
}

/** Resolves a name in one address family; rejects when nobody answered. */
export type Lookup = (name: string, family: 4 | 6) => Promise<LookupAnswer>;

/** Codes of c-ares: no such name (of the runtime also: no records of this type), and a name without such records. */
const NO_NAME: readonly string[] = ["DNS_ENOTFOUND", "ENOTFOUND"];
const NO_DATA: readonly string[] = ["DNS_ENODATA", "ENODATA"];

export const systemLookup: Lookup = async (name, family) => {
  let answers: { readonly address: string; readonly ttl: number }[];
  try {
    answers = await Bun.dns.lookup(name, { family, socketType: "tcp" });
  } catch (error) {
    const code = (error as { code?: string }).code ?? "";
    if (NO_NAME.includes(code)) return { addresses: [], exists: false };
    if (NO_DATA.includes(code)) return { addresses: [], exists: true };
    throw error;
  }
  return { addresses: distinct(answers), exists: true };
};

/** Each address once. A name server may well send thousands. */
export function distinct(answers: Iterable<{ readonly address: string; readonly ttl: number }>): ResolvedAddress[] {
  const addresses = new Map<string, ResolvedAddress>();
  for (const { address, ttl } of answers) {
    const ip = canonicalIp(address);
    if (ip !== undefined && !addresses.has(ip)) addresses.set(ip, { ip, ttl });
  }
  return [...addresses.values()];
}
