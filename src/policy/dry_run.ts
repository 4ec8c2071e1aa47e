/** What policies that are not enforced would make of a connection. */
import type { CompiledPolicy } from "./compile.ts";
import type { Outcome, PolicyEvent } from "./event.ts";
import { decideAll, firstFew, type PolicyDecision } from "./explain.ts";
import type { Facts } from "./flow.ts";
import type { PolicySet } from "./policy_set.ts";

/** What one dry-run policy would make of a connection. */
export interface DryRunOutcome {
  /** `namespace/name` */
  readonly policy: string;
  readonly outcome: Outcome;
}

/** What the dry-run policies of a workload say of a connection. */
export interface DryRunVerdict {
  /** What would become of the connection were all of them enforced beside those that are. */
  readonly wouldBe: Outcome;
  /** Whether that is another outcome than the connection's. */
  readonly differs: boolean;
  /**
   * Policies with a say: DENY that match a connection not denied anyway; the first ALLOW that matches; or all ALLOW if none
   * does and they would be the only ones.
   */
  readonly outcomes: readonly DryRunOutcome[];
  /** Which policies would deny it and where, the first eight; empty where none would. */
  readonly decision: () => readonly PolicyDecision[];
}

/** What the enforced policies say: a DENY matched; no ALLOW did; one did; or there is none. */
export type Enforced = "denied" | "not allowed" | "allowed" | "unrestricted";

export interface DryRun {
  readonly events: PolicyEvent[];
  readonly verdict: DryRunVerdict | undefined;
}

/** Asks the dry-run policies about a connection of which the enforced ones have decided. */
export function evaluateDryRun(policies: PolicySet, facts: Facts, enforced: Enforced): DryRun {
  const allows = policies.count("dryRunAllow");
  if (allows === 0 && policies.count("dryRunDeny") === 0) return { events: [], verdict: undefined };
  const denying = policies.matching("dryRunDeny", facts);
  // Where a DENY is enforced no ALLOW is asked any more.
  const asked = enforced === "denied" ? 0 : allows;
  const allowing = asked === 0 ? undefined : policies.find("dryRunAllow", facts);

  const open = enforced === "allowed" || enforced === "unrestricted";
  const shut = asked > 0 && allowing === undefined && enforced === "unrestricted";
  const denied = enforced === "denied" || denying.length > 0 || shut ||
    (enforced === "not allowed" && allowing === undefined);
  const wouldBe = denied ? "denied" : "allowed";

  const events: PolicyEvent[] = denying.map(({ key }) => dryEvent("deny policy match", key, wouldBe));
  if (allowing !== undefined) events.push(dryEvent("allow policy match", allowing.key, wouldBe));
  else if (asked > 0) events.push(dryEvent("no allow policies matched", undefined, wouldBe));

  const outcomes: DryRunOutcome[] = [];
  const say = (outcome: Outcome, by: Iterable<CompiledPolicy>) => {
    for (const { key } of by) outcomes.push({ policy: key, outcome });
  };
  if (open) say("denied", denying);
  if (allowing !== undefined) say("allowed", [allowing]);
  if (shut) say("denied", policies.of("dryRunAllow"));

  const by = denying.length > 0 ? denying : policies.of("dryRunAllow");
  const told = open && denied ? firstFew(by) : [];
  const candidates = denying.length > 0 ? denying.length : allows;
  return {
    events,
    verdict: {
      wouldBe,
      differs: open === denied,
      outcomes,
      decision: () => decideAll(told, candidates, facts),
    },
  };
}

function dryEvent(message: PolicyEvent["message"], policy: string | undefined, wouldBe: Outcome): PolicyEvent {
  return { message, dryRun: true, policy, wouldBe };
}
