/** Policies of one action that are asked together, found by what they name. */
import type { CompiledPolicy } from "./compile.ts";
import { accountKey, type Facts } from "./flow.ts";
import type { Clause, Match, Policy, Rule, StringMatch } from "./policy.ts";

/**
 * What a flow must have for a rule to match, as far as a lookup can tell: one exact value of one kind. The lower the
 * rank, the fewer flows have it.
 */
interface Key {
  readonly rank: 0 | 1 | 2 | 3;
  readonly value: string | number;
}

const NOTHING: readonly Key[] = [];
const NO_POLICIES: readonly CompiledPolicy[] = [];
const RANKS = 4;
const PORT_RANK = 3;

function exactKeys(rank: Key["rank"], list: readonly StringMatch[]): readonly Key[] | undefined {
  if (list.length === 0) return undefined;
  const keys: Key[] = [];
  for (const match of list) {
    if (match.kind !== "exact") return undefined;
    keys.push({ rank, value: match.value });
  }
  return keys;
}

/** Keys of which a flow needs one for the match to hold; undefined: a lookup cannot tell. */
function matchKeys(match: Match): readonly Key[] | undefined {
  const exact = exactKeys(0, match.principals);
  if (exact !== undefined) return exact;
  if (match.serviceAccounts.length > 0) {
    return match.serviceAccounts.map((account) => ({
      rank: 1,
      value: accountKey(account.namespace, account.serviceAccount),
    }));
  }
  const namespaces = exactKeys(2, match.namespaces);
  if (namespaces !== undefined) return namespaces;
  if (match.destinationPorts.length > 0) {
    return match.destinationPorts.map((value) => ({ rank: PORT_RANK, value }));
  }
  return Object.values(match).every((list) => list.length === 0) ? NOTHING : undefined;
}

function clauseKeys(clause: Clause): readonly Key[] | undefined {
  if (clause.length === 0) return undefined;
  const keys: Key[] = [];
  for (const match of clause) {
    const some = matchKeys(match);
    if (some === undefined) return undefined;
    for (const key of some) keys.push(key);
  }
  return keys;
}

/** All clauses are needed, so the keys of any one will do: of the one that fewest flows can pass. */
function ruleKeys(rule: Rule): readonly Key[] | undefined {
  let best: readonly Key[] | undefined;
  let bestRank = Infinity;
  for (const clause of rule) {
    const keys = clauseKeys(clause);
    if (keys === undefined) continue;
    const rank = keys.reduce((highest, key) => Math.max(highest, key.rank), -1);
    if (rank < bestRank) [best, bestRank] = [keys, rank];
  }
  return best;
}

/** undefined: the policy has to be asked about every flow. */
function policyKeys(policy: Policy): readonly Key[] | undefined {
  const all: Key[] = [];
  for (const rule of policy.rules) {
    const keys = ruleKeys(rule);
    if (keys === undefined) return undefined;
    for (const key of keys) all.push(key);
  }
  return all;
}

type Bucket = Set<CompiledPolicy>;

/**
 * Policies in the order in which they were added. Adding and removing costs as much as the policy is long; finding, as
 * there are policies that name the flow's principal, service account, namespace or port, or that name none exactly.
 */
export class PolicyList implements Iterable<CompiledPolicy> {
  readonly #order = new Map<CompiledPolicy, number>();
  #added = 0;
  /** By rank: value → policies with that key. */
  readonly #keyed: (Map<string | number, Bucket> | undefined)[] = [];
  readonly #unkeyed: Bucket = new Set();

  get size(): number {
    return this.#order.size;
  }

  [Symbol.iterator](): IterableIterator<CompiledPolicy> {
    return this.#order.keys();
  }

  add(policy: CompiledPolicy): void {
    this.#order.set(policy, this.#added++);
    const keys = policyKeys(policy.policy);
    if (keys === undefined) this.#unkeyed.add(policy);
    else for (const key of keys) this.#bucket(key).add(policy);
  }

  delete(policy: CompiledPolicy): void {
    if (!this.#order.delete(policy)) return;
    this.#unkeyed.delete(policy);
    for (const { rank, value } of policyKeys(policy.policy) ?? NOTHING) {
      const bucket = this.#keyed[rank]?.get(value);
      bucket?.delete(policy);
      if (bucket?.size === 0) this.#keyed[rank]!.delete(value);
    }
  }

  #bucket({ rank, value }: Key): Bucket {
    const buckets = this.#keyed[rank] ??= new Map();
    let bucket = buckets.get(value);
    if (bucket === undefined) buckets.set(value, bucket = new Set());
    return bucket;
  }

  /** The first policy that matches. */
  find(facts: Facts): CompiledPolicy | undefined {
    if (this.#order.size === 0) return undefined;
    let found = this.#first(this.#unkeyed, facts, undefined);
    for (let rank = 0; rank < RANKS; rank++) found = this.#first(this.#candidates(facts, rank), facts, found);
    return found;
  }

  /** All that match, in order. */
  matching(facts: Facts): CompiledPolicy[] {
    if (this.#order.size === 0) return [];
    const found = new Set<CompiledPolicy>();
    for (const policy of this.#unkeyed) if (policy.matches(facts)) found.add(policy);
    for (let rank = 0; rank < RANKS; rank++) {
      for (const policy of this.#candidates(facts, rank)) if (policy.matches(facts)) found.add(policy);
    }
    return [...found].sort((a, b) => this.#order.get(a)! - this.#order.get(b)!);
  }

  /** Policies that name what the flow has of that rank. */
  #candidates(facts: Facts, rank: number): Iterable<CompiledPolicy> {
    const value = keyOf(facts, rank);
    return (value === undefined ? undefined : this.#keyed[rank]?.get(value)) ?? NO_POLICIES;
  }

  /** The first of a bucket that matches and comes before `found`; `found` if there is none. */
  #first(
    bucket: Iterable<CompiledPolicy>,
    facts: Facts,
    found: CompiledPolicy | undefined,
  ): CompiledPolicy | undefined {
    const before = found === undefined ? Infinity : this.#order.get(found)!;
    for (const policy of bucket) {
      if (before !== Infinity && this.#order.get(policy)! >= before) return found;
      if (policy.matches(facts)) return policy;
    }
    return found;
  }
}

/** The value of a flow that keys of that rank name. */
function keyOf(facts: Facts, rank: number): string | number | undefined {
  if (rank === 0) return facts.principal;
  if (rank === 1) return facts.account;
  return rank === PORT_RANK ? facts.destinationPort : facts.namespace;
}
