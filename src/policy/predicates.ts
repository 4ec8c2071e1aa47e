/** Lists of a match, compiled to tests that do not walk what a lookup can answer. Each is true if any item of its list hits. */
import { accountKey } from "./flow.ts";
import type { ServiceAccountMatch, StringMatch } from "./policy.ts";
import { compileRange, type IpBits, type Range } from "./ranges.ts";

export type Predicate<T> = (value: T) => boolean;

/** Thrown for an item that says nothing that could be compared; the index is its place in the list. */
export class BadItem extends Error {
  readonly index: number;
  constructor(index: number, message: string) {
    super(message);
    this.index = index;
  }
}

export function compileStrings(matches: readonly StringMatch[]): Predicate<string> {
  if (matches.length === 1) return compileString(matches[0]!);
  const exact = new Set<string>();
  const others: Predicate<string>[] = [];
  for (const match of matches) {
    if (match.kind === "exact") exact.add(match.value);
    else others.push(compileString(match));
  }
  return (text) => {
    if (exact.has(text)) return true;
    for (const other of others) if (other(text)) return true;
    return false;
  };
}

function compileString(match: StringMatch): Predicate<string> {
  if (match.kind === "presence") return (text) => text !== "";
  const { kind, value } = match;
  if (kind === "exact") return (text) => text === value;
  return kind === "prefix" ? (text) => text.startsWith(value) : (text) => text.endsWith(value);
}

/** Ranges of the other family never hit. Throws BadItem. */
export function compileRanges(texts: readonly string[]): Predicate<IpBits> {
  const ranges = texts.map((text, index): Range => {
    const range = compileRange(text);
    if (range === undefined) throw new BadItem(index, `not a CIDR ${JSON.stringify(text)}`);
    return range;
  });
  if (ranges.length === 1) return ranges[0]!;
  return (ip) => {
    for (const range of ranges) if (range(ip)) return true;
    return false;
  };
}

/** Throws BadItem for what is not a 16-bit number: cut to one it would be another port. */
export function compilePorts(ports: readonly number[]): Predicate<number> {
  for (const [index, port] of ports.entries()) {
    if (!Number.isInteger(port) || port < 0 || port > 65535) throw new BadItem(index, `not a port ${port}`);
  }
  if (ports.length === 1) {
    const only = ports[0];
    return (port) => port === only;
  }
  const set = new Set(ports);
  return (port) => set.has(port);
}

/** Namespace and service account equal; the trust domain does not matter. Asked with accountKey. */
export function compileServiceAccounts(matches: readonly ServiceAccountMatch[]): Predicate<string> {
  const set = new Set(matches.map(({ namespace, serviceAccount }) => accountKey(namespace, serviceAccount)));
  return (account) => set.has(account);
}
