/** Steps of an evaluation, as the decision log tells them (spec/ztunnel.md §8.6). */
import type { CompiledPolicy } from "./compile.ts";

export type Outcome = "allowed" | "denied";

export interface PolicyEvent {
  readonly message:
    | "deny policy match"
    | "allow policy match"
    | "no allow policies, allow"
    | "no allow policies matched";
  readonly dryRun: boolean;
  /** `namespace/name` of the policy that matched. */
  readonly policy: string | undefined;
  /** Of a dry-run step: what would become of the connection were all dry-run policies enforced. */
  readonly wouldBe: Outcome | undefined;
}

export const NO_ALLOW: PolicyEvent = {
  message: "no allow policies, allow",
  dryRun: false,
  policy: undefined,
  wouldBe: undefined,
};
export const NONE_MATCHED: PolicyEvent = {
  message: "no allow policies matched",
  dryRun: false,
  policy: undefined,
  wouldBe: undefined,
};

/** The match of an enforced policy. */
export function eventOf(message: PolicyEvent["message"], { key }: CompiledPolicy): PolicyEvent {
  return { message, dryRun: false, policy: key, wouldBe: undefined };
}

/** The message of a decision log line; the policy goes into its `policy` field. */
export function policyEventMessage(event: PolicyEvent): string {
  return event.dryRun ? `dry-run: ${event.message}` : event.message;
}
