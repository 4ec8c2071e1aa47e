/** Results of turning Kubernetes objects into policies, and what selects workloads. */
import type { LabelSelector, PolicyProblem } from "./kubernetes.ts";
import type { Policy } from "./policy.ts";
import type { Rbac } from "./rbac.ts";

export interface LabelledWorkload {
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** L4 policies and which of them a workload has to name. */
export interface ConvertedPolicies {
  readonly policies: readonly Policy[];
  /** Keys for `Workload.authorizationPolicies`: the policies with a selector; others apply by their scope. */
  policiesOf(workload: LabelledWorkload): string[];
  readonly problems: readonly PolicyProblem[];
}

/** RBAC filters of one chain. */
export interface ConvertedRbac {
  readonly filters: readonly Rbac[];
  readonly problems: readonly PolicyProblem[];
}

/** Whether the labels have all that the selector wants; no selector selects everything. */
export function selects(selector: LabelSelector | undefined, labels: Readonly<Record<string, string>>): boolean {
  for (const [name, value] of Object.entries(selector?.matchLabels ?? {})) {
    if (!Object.hasOwn(labels, name) || labels[name] !== value) return false;
  }
  return true;
}
