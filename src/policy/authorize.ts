/** The verdict over a connection: deny before allow, dry runs noted and never enforced. */
import type { CompiledPolicy } from "./compile.ts";
import { factsOf, type PolicyFlow } from "./flow.ts";
import type { PolicySet } from "./selection.ts";

/** A step of the evaluation, as the decision log tells it. */
export interface PolicyEvent {
  readonly message:
    | "deny policy match"
    | "allow policy match"
    | "no allow policies, allow"
    | "no allow policies matched";
  readonly dryRun: boolean;
  /** `namespace/name` of the policy that matched. */
  readonly policy: string | undefined;
}

/** The place in a policy that decided. */
export interface PolicyDecision {
  /** `namespace/name` */
  readonly policy: string;
  /**
   * The rule that matched and the fields of it that did, e.g. `rules[0][0][1].notPrincipals`; undefined where no rule
   * did: an ALLOW policy that allowed nothing.
   */
  readonly rule: string | undefined;
}

export type Verdict =
  | { readonly allowed: true; readonly policy: string | undefined; readonly events: readonly PolicyEvent[] }
  | {
    readonly allowed: false;
    /** Why, as it appears after `connection closed due to policy rejection: `. */
    readonly rejection: string;
    readonly policy: string | undefined;
    /** Why in full; asked for by those who write it down only. */
    readonly decision: () => readonly PolicyDecision[];
    readonly events: readonly PolicyEvent[];
  };

const NO_ALLOW: PolicyEvent = { message: "no allow policies, allow", dryRun: false, policy: undefined };
const UNRESTRICTED: Verdict = { allowed: true, policy: undefined, events: [NO_ALLOW] };

/** Evaluates the policies that select a workload against one connection to it. */
export function authorize(policies: PolicySet, flow: PolicyFlow): Verdict {
  if (policies.size === 0) return UNRESTRICTED;
  const facts = factsOf(flow);
  const events: PolicyEvent[] = [];
  const hit = (policy: CompiledPolicy) => policy.matches(facts);

  for (const policy of policies.dryRunDeny) {
    if (hit(policy)) events.push({ message: "deny policy match", dryRun: true, policy: policy.key });
  }
  const denying = policies.deny.find(hit);
  if (denying !== undefined) {
    events.push({ message: "deny policy match", dryRun: false, policy: denying.key });
    return {
      allowed: false,
      rejection: `explicitly denied by: ${denying.key}`,
      policy: denying.key,
      decision: () => [],
      events,
    };
  }

  if (policies.dryRunAllow.length > 0) {
    const dry = policies.dryRunAllow.find(hit);
    events.push(
      dry === undefined
        ? { message: "no allow policies matched", dryRun: true, policy: undefined }
        : { message: "allow policy match", dryRun: true, policy: dry.key },
    );
  }
  if (policies.allow.length === 0) {
    events.push(NO_ALLOW);
    return { allowed: true, policy: undefined, events };
  }
  const allowing = policies.allow.find(hit);
  if (allowing !== undefined) {
    events.push({ message: "allow policy match", dryRun: false, policy: allowing.key });
    return { allowed: true, policy: allowing.key, events };
  }
  events.push({ message: "no allow policies matched", dryRun: false, policy: undefined });
  return {
    allowed: false,
    rejection: "allow policies exist, but none allowed",
    policy: undefined,
    decision: () => [],
    events,
  };
}

/** The access log's error of a denied connection. */
export function policyRejection(rejection: string): string {
  return `connection closed due to policy rejection: ${rejection}`;
}

/** The message of a decision log line; the policy goes into its `policy` field. */
export function policyEventMessage(event: PolicyEvent): string {
  return event.dryRun ? `dry-run: ${event.message}` : event.message;
}
