/** The verdict over a connection (spec/ztunnel.md §8.3): deny before allow, dry runs noted and never enforced. */
import { type DryRunVerdict, evaluateDryRun } from "./dry_run.ts";
import { eventOf, NO_ALLOW, NONE_MATCHED, type PolicyEvent } from "./event.ts";
import { decide, decideAll, firstFew, type PolicyDecision } from "./explain.ts";
import { Facts, type PolicyFlow } from "./flow.ts";
import type { PolicySet } from "./policy_set.ts";

export type Verdict =
  | {
    readonly allowed: true;
    readonly policy: string | undefined;
    readonly events: readonly PolicyEvent[];
    /** undefined: no dry-run policies apply. */
    readonly dryRun: DryRunVerdict | undefined;
  }
  | {
    readonly allowed: false;
    /** Why, as it appears after `connection closed due to policy rejection: `. */
    readonly rejection: string;
    readonly policy: string | undefined;
    /**
     * Why in full; asked for by those who write it down only. The DENY policy that matched; or, if ALLOW policies exist but
     * none allowed, what of each came nearest, the first eight.
     */
    readonly decision: () => readonly PolicyDecision[];
    readonly events: readonly PolicyEvent[];
    /** undefined: no dry-run policies apply. */
    readonly dryRun: DryRunVerdict | undefined;
  };

const UNRESTRICTED: Verdict = { allowed: true, policy: undefined, events: [NO_ALLOW], dryRun: undefined };

/** Evaluates the policies that select a workload against one connection to it. */
export function authorize(policies: PolicySet, flow: PolicyFlow): Verdict {
  if (policies.size === 0) return UNRESTRICTED;
  const facts = new Facts(flow);
  const denying = policies.find("deny", facts);
  if (denying !== undefined) {
    const { events, verdict } = evaluateDryRun(policies, facts, "denied");
    events.push(eventOf("deny policy match", denying));
    return {
      allowed: false,
      rejection: `explicitly denied by: ${denying.key}`,
      policy: denying.key,
      decision: () => [decide(denying, facts)],
      events,
      dryRun: verdict,
    };
  }

  const allows = policies.count("allow");
  const allowing = allows === 0 ? undefined : policies.find("allow", facts);
  if (allows === 0 || allowing !== undefined) {
    const { events, verdict } = evaluateDryRun(policies, facts, allows === 0 ? "unrestricted" : "allowed");
    events.push(allowing === undefined ? NO_ALLOW : eventOf("allow policy match", allowing));
    return { allowed: true, policy: allowing?.key, events, dryRun: verdict };
  }
  const { events, verdict } = evaluateDryRun(policies, facts, "not allowed");
  events.push(NONE_MATCHED);
  const told = firstFew(policies.of("allow"));
  return {
    allowed: false,
    rejection: "allow policies exist, but none allowed",
    policy: undefined,
    decision: () => decideAll(told, allows, facts),
    events,
    dryRun: verdict,
  };
}

/** The access log's error of a denied connection. */
export function policyRejection(rejection: string): string {
  return `connection closed due to policy rejection: ${rejection}`;
}
