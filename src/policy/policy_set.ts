/** The policies of one workload, shared in groups with those it has them in common with. */
import type { CompiledPolicy } from "./compile.ts";
import type { Facts } from "./flow.ts";
import type { Policy } from "./policy.ts";
import { PolicyList } from "./policy_list.ts";

/** The four parts of an evaluation. */
export type PolicyKind = "deny" | "allow" | "dryRunDeny" | "dryRunAllow";

const NONE: readonly CompiledPolicy[] = [];
const KINDS: readonly PolicyKind[] = ["deny", "allow", "dryRunDeny", "dryRunAllow"];

function kindOf({ action, dryRun }: Policy): PolicyKind {
  if (action === "Deny") return dryRun ? "dryRunDeny" : "deny";
  return dryRun ? "dryRunAllow" : "allow";
}

/** Policies that select the same workloads. */
export class PolicyGroup {
  readonly deny: PolicyList = new PolicyList();
  readonly allow: PolicyList = new PolicyList();
  readonly dryRunDeny: PolicyList = new PolicyList();
  readonly dryRunAllow: PolicyList = new PolicyList();
  /** Version of the index at the last change. */
  revision = 0;

  static of(policies: Iterable<CompiledPolicy>): PolicyGroup {
    const group = new PolicyGroup();
    for (const policy of policies) group.add(policy, 0);
    return group;
  }

  get size(): number {
    return this.deny.size + this.allow.size + this.dryRunDeny.size + this.dryRunAllow.size;
  }

  add(policy: CompiledPolicy, revision: number): void {
    this[kindOf(policy.policy)].add(policy);
    this.revision = revision;
  }

  delete(policy: CompiledPolicy, revision: number): void {
    this[kindOf(policy.policy)].delete(policy);
    this.revision = revision;
  }
}

/** The groups by scope. Policies for workloads that name them are in none. */
export class PolicyGroups {
  readonly global: PolicyGroup = new PolicyGroup();
  readonly #namespaces = new Map<string, PolicyGroup>();

  ofNamespace(namespace: string): PolicyGroup | undefined {
    return this.#namespaces.get(namespace);
  }

  add(policy: CompiledPolicy, revision: number): void {
    const { scope, namespace } = policy.policy;
    if (scope === "Global") return this.global.add(policy, revision);
    if (scope !== "Namespace") return;
    let group = this.#namespaces.get(namespace);
    if (group === undefined) this.#namespaces.set(namespace, group = new PolicyGroup());
    group.add(policy, revision);
  }

  delete(policy: CompiledPolicy, revision: number): void {
    const { scope, namespace } = policy.policy;
    if (scope === "Global") return this.global.delete(policy, revision);
    if (scope !== "Namespace") return;
    const group = this.#namespaces.get(namespace);
    group?.delete(policy, revision);
    if (group?.size === 0) this.#namespaces.delete(namespace);
  }
}

/** The policies that apply to one workload. Its groups change with the index: ask for the set again after a change. */
export class PolicySet {
  readonly #groups: readonly PolicyGroup[];
  /** Keys that the workload names and that are not there: worth a warning. */
  readonly missing: readonly string[];

  constructor(groups: readonly PolicyGroup[], missing: readonly string[]) {
    this.#groups = groups;
    this.missing = missing;
  }

  /** How many there are, dry-run ones included. */
  get size(): number {
    let size = 0;
    for (const group of this.#groups) size += group.size;
    return size;
  }

  /** How many there are of a kind. */
  count(kind: PolicyKind): number {
    let count = 0;
    for (const group of this.#groups) count += group[kind].size;
    return count;
  }

  /** The first of a kind that matches: of the workload's namespace, then global, then named ones. */
  find(kind: PolicyKind, facts: Facts): CompiledPolicy | undefined {
    for (const group of this.#groups) {
      const policy = group[kind].find(facts);
      if (policy !== undefined) return policy;
    }
    return undefined;
  }

  /** All of a kind that match. */
  matching(kind: PolicyKind, facts: Facts): readonly CompiledPolicy[] {
    let found = NONE;
    for (const group of this.#groups) {
      const some = group[kind].matching(facts);
      if (some.length > 0) found = found.length === 0 ? some : [...found, ...some];
    }
    return found;
  }

  /** Those of a kind, in the order of evaluation. */
  *of(kind: PolicyKind): Generator<CompiledPolicy> {
    for (const group of this.#groups) yield* group[kind];
  }

  /** All, in the order in which the kinds are evaluated. */
  *all(): Generator<CompiledPolicy> {
    for (const kind of KINDS) yield* this.of(kind);
  }
}
