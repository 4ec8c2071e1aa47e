import { type PolicyEvent, policyEventMessage } from "../policy/mod.ts";
import type { Field, LogScope } from "../telemetry/mod.ts";

/** Decision lines (spec/ztunnel.md §8.6): debug, or info with AUTHZ_POLICY_INFO_LOGGING. */
export function logPolicyEvents(scope: LogScope, atInfo: boolean, events: readonly PolicyEvent[]): void {
  if (!atInfo && !scope.enabled("debug")) return;
  for (const event of events) {
    const fields: Field[] = event.policy === undefined ? [] : [["policy", event.policy]];
    if (atInfo) scope.info(policyEventMessage(event), fields);
    else scope.debug(policyEventMessage(event), fields);
  }
}
