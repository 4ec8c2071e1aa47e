/** Lists of a match, compiled to tests that do not walk what a lookup can answer. */
import { type Cidr, parseCidr } from "../net/address.ts";
import type { ServiceAccountMatch, StringMatch } from "./policy.ts";

export type Predicate<T> = (value: T) => boolean;

/** True if any of the matches hits. */
export function compileStrings(matches: readonly StringMatch[]): Predicate<string> {
  const exact = new Set<string>();
  const prefixes: string[] = [];
  const suffixes: string[] = [];
  let presence = false;
  for (const match of matches) {
    if (match.kind === "presence") presence = true;
    else if (match.kind === "exact") exact.add(match.value);
    else if (match.kind === "prefix") prefixes.push(match.value);
    else suffixes.push(match.value);
  }
  return (text) => {
    if (presence && text !== "") return true;
    if (exact.has(text)) return true;
    for (const prefix of prefixes) if (text.startsWith(prefix)) return true;
    for (const suffix of suffixes) if (text.endsWith(suffix)) return true;
    return false;
  };
}

/** Raised by compileCidrs; the index of the text that is not a CIDR. */
export class BadCidr extends Error {
  readonly index: number;
  constructor(index: number, text: string) {
    super(`not a CIDR ${JSON.stringify(text)}`);
    this.index = index;
  }
}

/** True if any range contains the address; ranges of the other family never do. Throws BadCidr. */
export function compileCidrs(texts: readonly string[]): Predicate<string> {
  const ranges: Cidr[] = texts.map((text, index) => {
    const range = parseCidr(text);
    if (range === undefined) throw new BadCidr(index, text);
    return range;
  });
  return (ip) => {
    for (const range of ranges) if (range.contains(ip)) return true;
    return false;
  };
}

export function compilePorts(ports: readonly number[]): Predicate<number> {
  const set = new Set(ports);
  return (port) => set.has(port);
}

/** Namespace and service account equal; the trust domain does not matter. */
export function compileServiceAccounts(matches: readonly ServiceAccountMatch[]): Predicate<ServiceAccountMatch> {
  // Neither part can contain a slash in Kubernetes; were one to, a NUL could still not occur.
  const set = new Set(matches.map((match) => `${match.namespace}\0${match.serviceAccount}`));
  return (account) => set.has(`${account.namespace}\0${account.serviceAccount}`);
}
