/** Layer 4 authorization policies as configured (istio.security.Authorization). Plain data. */

export type PolicyScope = "Global" | "Namespace" | "WorkloadSelector";
export type PolicyAction = "Allow" | "Deny";

export type StringMatch =
  | { readonly kind: "exact" | "prefix" | "suffix"; readonly value: string }
  | { readonly kind: "presence" };

export interface ServiceAccountMatch {
  readonly namespace: string;
  readonly serviceAccount: string;
}

/** All twelve lists; an empty one says nothing about the flow. Addresses are CIDR texts. */
export interface Match {
  readonly namespaces: readonly StringMatch[];
  readonly notNamespaces: readonly StringMatch[];
  readonly principals: readonly StringMatch[];
  readonly notPrincipals: readonly StringMatch[];
  readonly sourceIps: readonly string[];
  readonly notSourceIps: readonly string[];
  readonly destinationIps: readonly string[];
  readonly notDestinationIps: readonly string[];
  readonly destinationPorts: readonly number[];
  readonly notDestinationPorts: readonly number[];
  readonly serviceAccounts: readonly ServiceAccountMatch[];
  readonly notServiceAccounts: readonly ServiceAccountMatch[];
}

/** Any match of a clause suffices; all clauses of a rule are needed; any rule of a policy suffices. */
export type Clause = readonly Match[];
export type Rule = readonly Clause[];

export interface Policy {
  readonly namespace: string;
  readonly name: string;
  readonly scope: PolicyScope;
  readonly action: PolicyAction;
  readonly rules: readonly Rule[];
  /** Evaluated and reported, never enforced. */
  readonly dryRun: boolean;
}

const NONE: readonly never[] = [];

/** A match from the lists that are given. */
export function newMatch(given: { readonly [K in keyof Match]?: Match[K] | undefined }): Match {
  return {
    namespaces: given.namespaces ?? NONE,
    notNamespaces: given.notNamespaces ?? NONE,
    principals: given.principals ?? NONE,
    notPrincipals: given.notPrincipals ?? NONE,
    sourceIps: given.sourceIps ?? NONE,
    notSourceIps: given.notSourceIps ?? NONE,
    destinationIps: given.destinationIps ?? NONE,
    notDestinationIps: given.notDestinationIps ?? NONE,
    destinationPorts: given.destinationPorts ?? NONE,
    notDestinationPorts: given.notDestinationPorts ?? NONE,
    serviceAccounts: given.serviceAccounts ?? NONE,
    notServiceAccounts: given.notServiceAccounts ?? NONE,
  };
}

/** Key of a policy: `namespace/name`, its resource name in xDS. */
export function policyKey(policy: { readonly namespace: string; readonly name: string }): string {
  return `${policy.namespace}/${policy.name}`;
}
