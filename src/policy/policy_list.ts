/** Policies of one action that are asked together, found by what they name. */
import type { CompiledPolicy } from "./compile.ts";
import type { Facts } from "./flow.ts";
import { type Key, keyReader, type KeyValue, policyKeys } from "./policy_keys.ts";

/** Keys of one way and size. */
interface Table {
  readonly read: (facts: Facts) => KeyValue | undefined;
  /** Policies by value; most values have one. */
  readonly policies: Map<KeyValue, CompiledPolicy | Set<CompiledPolicy>>;
}

const NO_POLICIES: readonly CompiledPolicy[] = [];

/**
 * Policies in the order in which they were added. Adding and removing costs as much as the policy is long; finding, as
 * there are policies that name something that the flow has, or that no look-up finds: those with a rule for everything, or
 * for any identity, or with negations only.
 */
export class PolicyList implements Iterable<CompiledPolicy> {
  readonly #order = new Map<CompiledPolicy, number>();
  #added = 0;
  readonly #tables = new Map<string, Table>();
  readonly #unkeyed = new Set<CompiledPolicy>();

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
    else for (const key of keys) this.#enter(key, policy);
  }

  delete(policy: CompiledPolicy): void {
    if (!this.#order.delete(policy) || this.#unkeyed.delete(policy)) return;
    for (const key of policyKeys(policy.policy) ?? []) this.#strike(key, policy);
  }

  #enter({ way, size, value }: Key, policy: CompiledPolicy): void {
    const id = `${way}${size}`;
    let table = this.#tables.get(id);
    if (table === undefined) this.#tables.set(id, table = { read: keyReader(way, size), policies: new Map() });
    const there = table.policies.get(value);
    if (there === undefined) table.policies.set(value, policy);
    else if (there instanceof Set) there.add(policy);
    else if (there !== policy) table.policies.set(value, new Set([there, policy]));
  }

  #strike({ way, size, value }: Key, policy: CompiledPolicy): void {
    const id = `${way}${size}`;
    const policies = this.#tables.get(id)?.policies;
    const there = policies?.get(value);
    if (there instanceof Set) there.delete(policy);
    if (there === policy || (there instanceof Set && there.size === 0)) policies?.delete(value);
    if (policies?.size === 0) this.#tables.delete(id);
  }

  /** The first policy that matches. */
  find(facts: Facts): CompiledPolicy | undefined {
    if (this.#order.size === 0) return undefined;
    let found = this.#first(this.#unkeyed, facts, undefined);
    for (const table of this.#tables.values()) {
      const candidates = candidatesIn(table, facts);
      if (candidates !== NO_POLICIES) found = this.#first(candidates, facts, found);
    }
    return found;
  }

  /** All that match, in order. */
  matching(facts: Facts): readonly CompiledPolicy[] {
    if (this.#order.size === 0) return NO_POLICIES;
    const found = new Set<CompiledPolicy>();
    for (const policy of this.#unkeyed) if (policy.matches(facts)) found.add(policy);
    for (const table of this.#tables.values()) {
      for (const policy of candidatesIn(table, facts)) if (policy.matches(facts)) found.add(policy);
    }
    return [...found].sort((a, b) => this.#order.get(a)! - this.#order.get(b)!);
  }

  /** The first of several in order that matches and comes before `found`; `found` if there is none. */
  #first(
    candidates: Iterable<CompiledPolicy>,
    facts: Facts,
    found: CompiledPolicy | undefined,
  ): CompiledPolicy | undefined {
    const before = found === undefined ? Infinity : this.#order.get(found)!;
    for (const policy of candidates) {
      if (before !== Infinity && this.#order.get(policy)! >= before) return found;
      if (policy.matches(facts)) return policy;
    }
    return found;
  }
}

function candidatesIn({ read, policies }: Table, facts: Facts): Iterable<CompiledPolicy> {
  const value = read(facts);
  const there = value === undefined ? undefined : policies.get(value);
  if (there === undefined) return NO_POLICIES;
  return there instanceof Set ? there : [there];
}
