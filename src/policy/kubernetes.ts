/** security.istio.io/v1 AuthorizationPolicy and PeerAuthentication as objects of Kubernetes, validated in shape. Plain data. */

export interface ObjectMeta {
  readonly namespace: string;
  readonly name: string;
  readonly annotations?: Readonly<Record<string, string>> | undefined;
  /** RFC 3339; of objects in conflict the oldest counts. Absent: youngest of all. */
  readonly creationTimestamp?: string | undefined;
}

export interface TargetRef {
  readonly group?: string | undefined;
  readonly kind: string;
  readonly name: string;
  readonly namespace?: string | undefined;
}

export interface LabelSelector {
  readonly matchLabels?: Readonly<Record<string, string>> | undefined;
}

type Values = readonly string[] | undefined;

/** Texts are exact, `prefix*`, `*suffix` or `*` (present). Addresses are IPs or CIDRs. */
export interface AuthorizationSource {
  readonly principals?: Values;
  readonly notPrincipals?: Values;
  readonly requestPrincipals?: Values;
  readonly notRequestPrincipals?: Values;
  readonly namespaces?: Values;
  readonly notNamespaces?: Values;
  /** `namespace/name`, or `name` in the policy's namespace. No wildcards. */
  readonly serviceAccounts?: Values;
  readonly notServiceAccounts?: Values;
  readonly trustDomains?: Values;
  readonly notTrustDomains?: Values;
  readonly ipBlocks?: Values;
  readonly notIpBlocks?: Values;
  readonly remoteIpBlocks?: Values;
  readonly notRemoteIpBlocks?: Values;
}

export interface AuthorizationOperation {
  readonly hosts?: Values;
  readonly notHosts?: Values;
  /** Decimal. */
  readonly ports?: Values;
  readonly notPorts?: Values;
  readonly methods?: Values;
  readonly notMethods?: Values;
  /** Also templates with `{*}` and `{**}`. */
  readonly paths?: Values;
  readonly notPaths?: Values;
}

export interface AuthorizationCondition {
  /** `request.headers[name]`, `source.ip`, `remote.ip`, `destination.port` … */
  readonly key: string;
  readonly values?: Values;
  readonly notValues?: Values;
}

export interface AuthorizationRule {
  readonly from?: readonly { readonly source?: AuthorizationSource | undefined }[] | undefined;
  readonly to?: readonly { readonly operation?: AuthorizationOperation | undefined }[] | undefined;
  readonly when?: readonly AuthorizationCondition[] | undefined;
}

export type AuthorizationAction = "ALLOW" | "DENY" | "AUDIT" | "CUSTOM";

export interface AuthorizationPolicySpec {
  readonly selector?: LabelSelector | undefined;
  readonly targetRef?: TargetRef | undefined;
  readonly targetRefs?: readonly TargetRef[] | undefined;
  /** Default: ALLOW. */
  readonly action?: AuthorizationAction | undefined;
  readonly provider?: { readonly name: string } | undefined;
  /** Absent or empty: the policy never matches. */
  readonly rules?: readonly AuthorizationRule[] | undefined;
}

export interface AuthorizationPolicy {
  readonly metadata: ObjectMeta;
  readonly spec: AuthorizationPolicySpec;
}

export type MutualTlsMode = "UNSET" | "DISABLE" | "PERMISSIVE" | "STRICT";

export interface PeerAuthenticationSpec {
  readonly selector?: LabelSelector | undefined;
  readonly mtls?: { readonly mode?: MutualTlsMode | undefined } | undefined;
  /** Port of the workload, decimal → mode. Needs a selector. */
  readonly portLevelMtls?:
    | Readonly<Record<string, { readonly mode?: MutualTlsMode | undefined }>>
    | undefined;
}

export interface PeerAuthentication {
  readonly metadata: ObjectMeta;
  readonly spec: PeerAuthenticationSpec;
}

/** What is wrong with an object, or cannot be done with it, and where. */
export interface PolicyProblem {
  /**
   * invalid: nothing can be made of it. unsupported: valid, and this version cannot enforce it. Both concern security: who
   * serves traffic under the policy denies it. warning: enforced otherwise than one may think, never more loosely.
   */
  readonly kind: "invalid" | "unsupported" | "warning";
  /** e.g. `AuthorizationPolicy shop/web-allow` */
  readonly object: string;
  /** Inside the object: [`spec`, `rules`, 0, `from`, 1, `source`, `requestPrincipals`]. */
  readonly path: readonly (string | number)[];
  readonly message: string;
}

/** `spec.rules[0].from[1].source.requestPrincipals` */
export function formatPath(path: readonly (string | number)[]): string {
  let text = "";
  for (const step of path) {
    text += typeof step === "number" ? `[${step}]` : text === "" ? step : `.${step}`;
  }
  return text;
}

/** `AuthorizationPolicy shop/web-allow: spec.rules[0]…: message` */
export function formatProblem(problem: PolicyProblem): string {
  return `${problem.object}: ${formatPath(problem.path)}: ${problem.message}`;
}
