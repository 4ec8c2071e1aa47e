/** What a flow must have for a policy to match, as far as look-ups can tell. */
import { accountKey, type Facts } from "./flow.ts";
import type { Clause, Match, Policy, Rule, StringMatch } from "./policy.ts";
import { maskedBits, parseRange } from "./ranges.ts";

/** Ways of looking up, and how good each is: the lower, the fewer flows have the same value. */
const RANKS = {
  principal: 0,
  account: 1,
  namespace: 2,
  principalPrefix: 3,
  principalSuffix: 3,
  source4: 4,
  source6: 4,
  namespacePrefix: 5,
  namespaceSuffix: 5,
  destination4: 6,
  destination6: 6,
  port: 7,
} as const;
type Way = keyof typeof RANKS;

/** Rank of what is cut to nothing: every flow has it. */
const COMMON = 8;

export type KeyValue = string | number;

/** One value that a flow may have. */
export interface Key {
  readonly way: Way;
  /** Characters of a prefix or suffix, bits of a range; 0 for the others. */
  readonly size: number;
  readonly value: KeyValue;
}

const NOTHING: readonly Key[] = [];

/** How a flow's value for keys of that way and size is read; undefined: it has none. */
export function keyReader(way: Way, size: number): (facts: Facts) => KeyValue | undefined {
  switch (way) {
    case "principal":
      return (facts) => facts.principal;
    case "principalPrefix":
      return (facts) => facts.principal?.slice(0, size);
    case "principalSuffix":
      return (facts) => facts.principal?.slice(-size || Infinity);
    case "account":
      return (facts) => facts.account;
    case "namespace":
      return (facts) => facts.namespace;
    case "namespacePrefix":
      return (facts) => facts.namespace.slice(0, size);
    case "namespaceSuffix":
      return (facts) => facts.namespace.slice(-size || Infinity);
    case "source4":
      return ({ source }) => source.family === 4 ? maskedBits(source, size) : undefined;
    case "source6":
      return ({ source }) => source.family === 6 ? maskedBits(source, size) : undefined;
    case "destination4":
      return ({ destination }) => destination.family === 4 ? maskedBits(destination, size) : undefined;
    case "destination6":
      return ({ destination }) => destination.family === 6 ? maskedBits(destination, size) : undefined;
    case "port":
      return (facts) => facts.destinationPort;
  }
}

/** Keys of which a matching flow has at least one; undefined: the policy has to be asked about every flow. */
export function policyKeys(policy: Policy): readonly Key[] | undefined {
  const all: Key[] = [];
  for (const rule of policy.rules) {
    const keys = ruleKeys(rule);
    if (keys === undefined) return undefined;
    for (const key of keys) all.push(key);
  }
  return all;
}

/** All clauses are needed, so the keys of any one will do. */
function ruleKeys(rule: Rule): readonly Key[] | undefined {
  return best(rule.map(clauseKeys));
}

/** Any match suffices, so the keys of all are needed. */
function clauseKeys(clause: Clause): readonly Key[] | undefined {
  if (clause.length === 0) return undefined;
  if (clause.length === 1) return matchKeys(clause[0]!);
  const all: Key[] = [];
  for (const match of clause) {
    const keys = matchKeys(match);
    if (keys === undefined) return undefined;
    for (const key of keys) all.push(key);
  }
  return all;
}

/** All positive lists have to be hit, so the keys of any one will do. */
function matchKeys(match: Match): readonly Key[] | undefined {
  if (Object.values(match).every((list) => list.length === 0)) return NOTHING;
  return best([
    stringKeys(match.principals, "principal"),
    listKeys(match.serviceAccounts, ({ namespace, serviceAccount }) => {
      return { way: "account", size: 0, value: accountKey(namespace, serviceAccount) };
    }),
    stringKeys(match.namespaces, "namespace"),
    listKeys(match.sourceIps, (text) => rangeKey(text, "source")),
    listKeys(match.destinationIps, (text) => rangeKey(text, "destination")),
    listKeys(match.destinationPorts, (value) => ({ way: "port", size: 0, value })),
  ]);
}

function listKeys<Item>(list: readonly Item[], key: (item: Item) => Key | undefined): readonly Key[] | undefined {
  if (list.length === 0) return undefined;
  const keys: Key[] = [];
  for (const item of list) {
    const one = key(item);
    if (one === undefined) return undefined;
    keys.push(one);
  }
  return keys;
}

function stringKeys(list: readonly StringMatch[], of: "principal" | "namespace"): readonly Key[] | undefined {
  return listKeys(list, (match) => {
    switch (match.kind) {
      case "exact":
        return { way: of, size: 0, value: match.value };
      case "prefix":
        return { way: `${of}Prefix`, size: match.value.length, value: match.value };
      case "suffix":
        return { way: `${of}Suffix`, size: match.value.length, value: match.value };
      case "presence":
        return undefined;
    }
  });
}

function rangeKey(text: string, of: "source" | "destination"): Key | undefined {
  const range = parseRange(text);
  if (range === undefined) return undefined;
  const { network, length } = range;
  return { way: network.family === 4 ? `${of}4` : `${of}6`, size: length, value: maskedBits(network, length) };
}

/** Of several lists the one that fewest flows pass. */
function best(lists: readonly (readonly Key[] | undefined)[]): readonly Key[] | undefined {
  let found: readonly Key[] | undefined;
  let foundRank = Infinity;
  for (const keys of lists) {
    if (keys === undefined) continue;
    const rank = keys.reduce((worst, key) => Math.max(worst, rankOf(key)), -1);
    if (rank < foundRank) [found, foundRank] = [keys, rank];
  }
  return found;
}

function rankOf({ way, size }: Key): number {
  const rank = RANKS[way];
  // Those with a size are useless without one.
  return rank >= RANKS.principalPrefix && rank < RANKS.port && size === 0 ? COMMON : rank;
}
