/** Names to addresses, by the resolver of the runtime (c-ares: /etc/hosts, then the name servers of resolv.conf). */
import { canonicalIp } from "../../net/address.ts";

export interface ResolvedAddress {
  /** Canonical text. */
  readonly ip: string;
  /** Seconds for which the answer is good; 0: not known. */
  readonly ttl: number;
}

/** Resolves a name in one address family. No address and no such name are an empty answer; rejects when it failed. */
export type Lookup = (name: string, family: 4 | 6) => Promise<readonly ResolvedAddress[]>;

/** Codes of c-ares that mean: asked and answered, there is nothing. */
const NOTHING_THERE: readonly string[] = ["DNS_ENOTFOUND", "DNS_ENODATA", "ENOTFOUND", "ENODATA"];

export const systemLookup: Lookup = async (name, family) => {
  let answers: { readonly address: string; readonly ttl: number }[];
  try {
    answers = await Bun.dns.lookup(name, { family, socketType: "tcp" });
  } catch (error) {
    if (NOTHING_THERE.includes((error as { code?: string }).code ?? "")) return [];
    throw error;
  }
  const resolved: ResolvedAddress[] = [];
  for (const { address, ttl } of answers) {
    const ip = canonicalIp(address);
    if (ip !== undefined && !resolved.some((other) => other.ip === ip)) resolved.push({ ip, ttl });
  }
  return resolved;
};
