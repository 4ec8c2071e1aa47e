/** Short ways to write flows and policies. */
import { type Match, newMatch, type Policy } from "../../src/policy/mod.ts";
import type { PolicyFlow } from "../../src/policy/mod.ts";

export function flow(given: Partial<PolicyFlow> = {}): PolicyFlow {
  return {
    sourceIp: "10.0.0.1",
    destinationIp: "10.0.1.1",
    destinationPort: 8080,
    identity: { trustDomain: "cluster.local", namespace: "shop", serviceAccount: "cart" },
    ...given,
  };
}

export function plaintext(given: Partial<PolicyFlow> = {}): PolicyFlow {
  return { ...flow(given), identity: undefined };
}

/** A policy of one rule, one clause, one match. */
export function policyOf(match: Partial<Match>, given: Partial<Policy> = {}): Policy {
  return policy({ rules: [[[newMatch(match)]]], ...given });
}

export function policy(given: Partial<Policy> = {}): Policy {
  return { namespace: "shop", name: "p", scope: "Namespace", action: "Allow", rules: [], dryRun: false, ...given };
}
