/** The outcome of L7 authorization, with its reasons. */
import type { RbacAction } from "./rbac.ts";

/** What a dry run would have decided. */
export interface ShadowVerdict {
  readonly allowed: boolean;
  /** Rule that matched, or `none`. */
  readonly policy: string;
}

export interface RbacVerdict {
  readonly allowed: boolean;
  /** Filter that decided: DENY or ALLOW; undefined when there is nothing to enforce. */
  readonly action: Exclude<RbacAction, "LOG"> | undefined;
  /** Rule that decided: the DENY rule or the ALLOW rule that matched, otherwise `none`. */
  readonly policy: string;
  /** `rbac_access_denied_matched_policy[…]` as Envoy writes it; empty when allowed. */
  readonly responseCodeDetails: string;
  /** For people: which rule and which field decided. */
  readonly reasons: readonly string[];
  /** Rules of LOG filters that matched. */
  readonly audits: readonly string[];
  /** Dry runs, undefined where there is none. Never enforced. */
  readonly shadow: { readonly allow: ShadowVerdict | undefined; readonly deny: ShadowVerdict | undefined };
}
