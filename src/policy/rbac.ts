/** L7 authorization as data: envoy.config.rbac.v3.RBAC, the kinds that Istio writes (AuthorizationPolicy). */
import type { HeaderMatch, PathMatch, StringMatch } from "../matching/string_match.ts";

/** A value inside dynamic metadata, e.g. filter `envoy.filters.http.jwt_authn`, path [`payload`, `iss`]. */
export interface MetadataMatch {
  readonly filter: string;
  readonly path: readonly string[];
  readonly match: StringMatch | { readonly kind: "present" } | {
    readonly kind: "list-contains";
    readonly value: StringMatch;
  };
  readonly invert: boolean;
}

export type Permission =
  | { readonly kind: "any" }
  | { readonly kind: "and" | "or"; readonly rules: readonly Permission[] }
  | { readonly kind: "not"; readonly rule: Permission }
  /** Matches when any one of several values of the field does. */
  | { readonly kind: "header"; readonly header: HeaderMatch }
  /** The path without its query. */
  | { readonly kind: "path"; readonly match: PathMatch | StringMatch }
  | { readonly kind: "destination-ip"; readonly cidr: string }
  | { readonly kind: "destination-port"; readonly port: number }
  | { readonly kind: "server-name"; readonly match: StringMatch }
  | { readonly kind: "metadata"; readonly metadata: MetadataMatch };

export type Principal =
  | { readonly kind: "any" }
  | { readonly kind: "and" | "or"; readonly ids: readonly Principal[] }
  | { readonly kind: "not"; readonly id: Principal }
  /** The peer's SPIFFE URI: filter state `io.istio.peer_principal`, or `authenticated`. No peer identity: no match. */
  | { readonly kind: "peer-principal"; readonly match: StringMatch }
  /** Address of the connection itself. */
  | { readonly kind: "direct-remote-ip"; readonly cidr: string }
  /** Address of the client, by X-Forwarded-For where it counts. */
  | { readonly kind: "remote-ip"; readonly cidr: string }
  | { readonly kind: "header"; readonly header: HeaderMatch }
  | { readonly kind: "metadata"; readonly metadata: MetadataMatch };

/** One rule: matches when any permission and any principal match. */
export interface RbacPolicy {
  /** `ns[<namespace>]-policy[<name>]-rule[<index>]` */
  readonly name: string;
  readonly permissions: readonly Permission[];
  readonly principals: readonly Principal[];
}

export type RbacAction = "ALLOW" | "DENY" | "LOG";

/** One RBAC filter of a chain. Filters run in the order LOG, DENY, ALLOW. */
export interface Rbac {
  readonly action: RbacAction;
  /** ALLOW with none denies everything; DENY and LOG with none do nothing. undefined: no enforced rules, shadow only. */
  readonly policies: readonly RbacPolicy[] | undefined;
  /** Dry run (`istio.io/dry-run`): evaluated and counted, never enforced. */
  readonly shadow: readonly RbacPolicy[] | undefined;
}
