/** Names to addresses, by the resolver of the runtime. */
import { type ResolvedAddress, systemLookup as lookup } from "../../dns/mod.ts";

export type { ResolvedAddress };

/** Resolves a name in one address family. No address and no such name are an empty answer; rejects when it failed. */
export type Lookup = (name: string, family: 4 | 6) => Promise<readonly ResolvedAddress[]>;

export const systemLookup: Lookup = async (name, family) => (await lookup(name, family)).addresses;
