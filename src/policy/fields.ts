/** The six things that a match looks at: how each is compared, and how it is told. */
import type { Facts } from "./flow.ts";
import type { Match, ServiceAccountMatch, StringMatch } from "./policy.ts";
import { compilePorts, compileRanges, compileServiceAccounts, compileStrings, type Predicate } from "./predicates.ts";

export type MatchField = keyof Match;

/** One of the six, with its positive and its negative list. */
export interface FieldKind {
  readonly positive: MatchField;
  readonly negative: MatchField;
  /** What it is called, e.g. `destination port`. */
  readonly noun: string;
  /** Whether any item of that list hits. Throws BadItem. */
  compile(match: Match, field: MatchField): Predicate<Facts>;
  /** The items of that list as text. */
  items(match: Match, field: MatchField): readonly string[];
  /** What the flow has, as text; undefined: nothing, it has no identity. */
  had(facts: Facts): string | undefined;
}

type FieldOf<Item> = { [F in MatchField]: Match[F] extends readonly Item[] ? F : never }[MatchField];

interface Comparison<Item> {
  readonly noun: string;
  readonly compile: (list: readonly Item[]) => Predicate<Facts>;
  readonly item: (item: Item) => string;
  readonly had: (facts: Facts) => string | undefined;
}

function kind<Item>(positive: FieldOf<Item>, negative: FieldOf<Item>, comparison: Comparison<Item>): FieldKind {
  // Both fields hold lists of Item: FieldOf says so, but the compiler cannot follow it back.
  const list = (match: Match, field: MatchField) => match[field] as readonly unknown[] as readonly Item[];
  return {
    positive,
    negative,
    noun: comparison.noun,
    compile: (match, field) => comparison.compile(list(match, field)),
    items: (match, field) => list(match, field).map(comparison.item),
    had: comparison.had,
  };
}

function stringItem(match: StringMatch): string {
  if (match.kind === "presence") return "any";
  const value = match.value === "" ? '""' : match.value;
  return match.kind === "exact" ? value : `${match.kind} ${value}`;
}

/** In the order in which they are compared: the cheapest first. */
export const FIELD_KINDS: readonly FieldKind[] = [
  kind<number>("destinationPorts", "notDestinationPorts", {
    noun: "destination port",
    compile: (list) => {
      const hits = compilePorts(list);
      return (facts) => hits(facts.destinationPort);
    },
    item: String,
    had: (facts) => String(facts.destinationPort),
  }),
  kind<StringMatch>("namespaces", "notNamespaces", {
    noun: "namespace",
    compile: (list) => {
      const hits = compileStrings(list);
      return (facts) => hits(facts.namespace);
    },
    item: stringItem,
    had: ({ identity }) => identity?.namespace,
  }),
  // Without an identity no principal hits: so notPrincipals [presence] is how plaintext is told apart.
  kind<StringMatch>("principals", "notPrincipals", {
    noun: "principal",
    compile: (list) => {
      const hits = compileStrings(list);
      return ({ principal }) => principal !== undefined && hits(principal);
    },
    item: stringItem,
    had: ({ principal }) => principal,
  }),
  kind<ServiceAccountMatch>("serviceAccounts", "notServiceAccounts", {
    noun: "service account",
    compile: (list) => {
      const hits = compileServiceAccounts(list);
      return ({ account }) => account !== undefined && hits(account);
    },
    item: ({ namespace, serviceAccount }) => `${namespace}/${serviceAccount}`,
    had: ({ identity }) => identity && `${identity.namespace}/${identity.serviceAccount}`,
  }),
  kind<string>("sourceIps", "notSourceIps", {
    noun: "source IP",
    compile: (list) => {
      const hits = compileRanges(list);
      return (facts) => hits(facts.source);
    },
    item: String,
    had: (facts) => facts.sourceIp,
  }),
  kind<string>("destinationIps", "notDestinationIps", {
    noun: "destination IP",
    compile: (list) => {
      const hits = compileRanges(list);
      return (facts) => hits(facts.destination);
    },
    item: String,
    had: (facts) => facts.destinationIp,
  }),
];
