/** In which order the addresses of a name are tried. Pure. */
import type { Discovery } from "../snapshot/cluster.ts";
import type { ResolvedAddress } from "./dns.ts";

export type Family = Extract<Discovery, { kind: "dns" }>["family"];

/** Families in turn, IPv6 first (RFC 8305 §4 with a First Address Family Count of 1). */
export function interleave<T>(v6: readonly T[], v4: readonly T[]): T[] {
  const ordered: T[] = [];
  for (let i = 0; i < Math.max(v6.length, v4.length); i++) {
    if (i < v6.length) ordered.push(v6[i]!);
    if (i < v4.length) ordered.push(v4[i]!);
  }
  return ordered;
}

/** Families to ask for. */
export function familiesOf(family: Family): readonly (4 | 6)[] {
  switch (family) {
    case "v4":
      return [4];
    case "v6":
      return [6];
    case "auto":
    case "all":
      return [6, 4];
  }
}

/** What counts of the answers: `auto` takes IPv4 only where there is no IPv6 (Envoy: DnsLookupFamily). */
export function orderAddresses(
  family: Family,
  v6: readonly ResolvedAddress[],
  v4: readonly ResolvedAddress[],
): readonly ResolvedAddress[] {
  if (family === "auto") return v6.length > 0 ? v6 : v4;
  return interleave(v6, v4);
}
