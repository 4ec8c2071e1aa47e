/** Which policies apply to a workload. */
import { type CompiledPolicy, compilePolicy } from "./compile.ts";
import type { Policy } from "./policy.ts";

/** What selection needs to know of a workload. */
export interface PolicyTarget {
  readonly namespace: string;
  /** Keys `namespace/name` */
  readonly authorizationPolicies: readonly string[];
}

/** The policies of one workload, in the order of evaluation. */
export interface PolicySet {
  readonly deny: readonly CompiledPolicy[];
  readonly allow: readonly CompiledPolicy[];
  readonly dryRunDeny: readonly CompiledPolicy[];
  readonly dryRunAllow: readonly CompiledPolicy[];
  /** Enforced and dry-run policies together. */
  readonly size: number;
  /** Keys that the workload names and that are not there: worth a warning. */
  readonly missing: readonly string[];
}

/** A snapshot of all policies. */
export class PolicyIndex {
  readonly #byKey = new Map<string, CompiledPolicy>();
  readonly #global: CompiledPolicy[] = [];
  readonly #byNamespace = new Map<string, CompiledPolicy[]>();
  readonly #sets = new WeakMap<PolicyTarget, PolicySet>();

  /** Throws on a policy that does not compile: whoever loads policies refuses those before. A later key replaces. */
  constructor(policies: Iterable<Policy>) {
    for (const policy of policies) {
      const result = compilePolicy(policy);
      if (!result.ok) throw new Error(result.error);
      this.#byKey.set(result.compiled.key, result.compiled);
    }
    for (const compiled of this.#byKey.values()) {
      const { scope, namespace } = compiled.policy;
      if (scope === "Global") this.#global.push(compiled);
      else if (scope === "Namespace") {
        const list = this.#byNamespace.get(namespace);
        if (list === undefined) this.#byNamespace.set(namespace, [compiled]);
        else list.push(compiled);
      }
    }
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

  /** Policies for a workload: of its namespace, global ones, and those it names. Computed once for each record. */
  for(target: PolicyTarget): PolicySet {
    let set = this.#sets.get(target);
    if (set === undefined) {
      set = this.#select(target);
      this.#sets.set(target, set);
    }
    return set;
  }

  #select(target: PolicyTarget): PolicySet {
    const chosen = new Set<CompiledPolicy>(this.#byNamespace.get(target.namespace));
    for (const policy of this.#global) chosen.add(policy);
    const missing: string[] = [];
    for (const key of target.authorizationPolicies) {
      const policy = this.#byKey.get(key);
      if (policy === undefined) missing.push(key);
      else chosen.add(policy);
    }
    const all = [...chosen];
    const of = (action: Policy["action"], dryRun: boolean) =>
      all.filter(({ policy }) => policy.action === action && policy.dryRun === dryRun);
    return {
      deny: of("Deny", false),
      allow: of("Allow", false),
      dryRunDeny: of("Deny", true),
      dryRunAllow: of("Allow", true),
      size: all.length,
      missing,
    };
  }
}
