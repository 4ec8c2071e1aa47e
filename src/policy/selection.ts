/** Which policies apply to a workload (spec/ztunnel.md §8.3). */
import { CompiledPolicy, compilePolicy } from "./compile.ts";
import type { Policy } from "./policy.ts";
import { PolicyGroup, PolicyGroups, PolicySet } from "./policy_set.ts";

/** What selection needs to know of a workload. */
export interface PolicyTarget {
  readonly namespace: string;
  /** Keys `namespace/name` */
  readonly authorizationPolicies: readonly string[];
}

export type PutResult = { readonly ok: true } | { readonly ok: false; readonly error: string };

interface Selected {
  readonly set: PolicySet;
  /** Revisions of the groups of the namespace and of all, when the set was made. */
  readonly namespaceRevision: number;
  readonly globalRevision: number;
  readonly named: readonly CompiledPolicy[];
  /** Version of the index at which the set was last known to be right. */
  checked: number;
}

/** All policies, changed in place. A change costs as much as its policy is long, however many others there are. */
export class PolicyIndex {
  readonly #byKey = new Map<string, CompiledPolicy>();
  readonly #groups = new PolicyGroups();
  readonly #selected = new WeakMap<PolicyTarget, Selected>();
  #version = 0;

  /** Throws on a policy that does not compile: whoever loads policies refuses those before. A later key replaces. */
  constructor(policies: Iterable<Policy> = []) {
    for (const policy of policies) {
      const result = this.put(policy);
      if (!result.ok) throw new Error(result.error);
    }
  }

  /** Grows with every change. */
  get version(): number {
    return this.#version;
  }

  get size(): number {
    return this.#byKey.size;
  }

  get(key: string): CompiledPolicy | undefined {
    return this.#byKey.get(key);
  }

  /** All policies, by key. */
  entries(): IterableIterator<[key: string, policy: CompiledPolicy]> {
    return this.#byKey.entries();
  }

  /**
   * Inserts a policy, or replaces the one with its key, whatever scope that had. A policy that does not compile is
   * refused with the place of what cannot be read; the one that was there stays.
   */
  put(policy: Policy): PutResult {
    const result = compilePolicy(policy);
    if (!result.ok) return result;
    const { compiled } = result;
    this.#version++;
    const before = this.#byKey.get(compiled.key);
    if (before !== undefined) this.#groups.delete(before, this.#version);
    this.#byKey.set(compiled.key, compiled);
    this.#groups.add(compiled, this.#version);
    return { ok: true };
  }

  /** @param key `namespace/name`; false: there is none */
  remove(key: string): boolean {
    const compiled = this.#byKey.get(key);
    if (compiled === undefined) return false;
    this.#version++;
    this.#byKey.delete(key);
    this.#groups.delete(compiled, this.#version);
    return true;
  }

  /**
   * Policies for a workload: of its namespace, global ones, and those it names. The same set each time for one record,
   * until something in it changes: a connection that keeps the set it was checked with needs no other check as long as
   * it is still the one returned here. Good until the next change; then ask again.
   */
  for(target: PolicyTarget): PolicySet {
    const selected = this.#selected.get(target);
    if (selected?.checked === this.#version) return selected.set;
    const fresh = this.#select(target);
    if (selected !== undefined && sameSelection(selected, fresh)) {
      selected.checked = this.#version;
      return selected.set;
    }
    this.#selected.set(target, fresh);
    return fresh.set;
  }

  #select(target: PolicyTarget): Selected {
    const { global } = this.#groups;
    const namespace = this.#groups.ofNamespace(target.namespace);
    const named: CompiledPolicy[] = [];
    const missing: string[] = [];
    for (const key of new Set(target.authorizationPolicies)) {
      const policy = this.#byKey.get(key);
      if (policy === undefined) missing.push(key);
      else if (!appliesByScope(policy.policy, target)) named.push(policy);
    }
    const groups: PolicyGroup[] = [];
    if (namespace !== undefined) groups.push(namespace);
    groups.push(global);
    if (named.length > 0) groups.push(PolicyGroup.of(named));
    return {
      set: new PolicySet(groups, missing),
      namespaceRevision: namespace?.revision ?? 0,
      globalRevision: global.revision,
      named,
      checked: this.#version,
    };
  }
}

function appliesByScope({ scope, namespace }: Policy, target: PolicyTarget): boolean {
  return scope === "Global" || (scope === "Namespace" && namespace === target.namespace);
}

function sameSelection(a: Selected, b: Selected): boolean {
  return a.namespaceRevision === b.namespaceRevision && a.globalRevision === b.globalRevision &&
    a.named.length === b.named.length && a.named.every((policy, i) => policy === b.named[i]);
}
