/**
 * Why policies match a flow or do not, in words. Everything is read off the compiled rules by asking their own tests, so an
 * explanation cannot differ from the verdict.
 */
import { type CompiledPolicy, failedClause, failedTest, type FieldTest, heldMatch } from "./compile.ts";
import { Facts, type PolicyFlow } from "./flow.ts";
import type { Match, PolicyAction, PolicyScope } from "./policy.ts";
import type { PolicySet } from "./policy_set.ts";

/** Policies that a decision tells of, and rules that an explanation does; of the rest there is a count. */
const TOLD = 8;
const TOLD_ITEMS = 4;
const TOLD_CHARACTERS = 120;

/** The place in a policy that decided. */
export interface PolicyDecision {
  /** `namespace/name` */
  readonly policy: string;
  /**
   * Where a rule matched, with the fields that did: `rules[0][1][2].notPrincipals` is rule, clause, match and field;
   * several fields of a match are joined by commas, several clauses by ` and `. Where none matched, the first field that
   * did not, in the rule that came nearest. undefined: the policy has no rules.
   */
  readonly rule: string | undefined;
  /** What did not match, in a short clause; undefined: the rule matched. */
  readonly reason: string | undefined;
  /** Of the last of several: policies after it that had as much of a say and are not told of. */
  readonly more: number;
}

/** Why a rule did not match: the first field that failed, what it wanted and what the flow has. */
export interface RuleMiss {
  /** e.g. `rules[0][1][2].principals` */
  readonly place: string;
  /** e.g. `wants destination port 80 or 443; the flow has 8080` */
  readonly reason: string;
}

export interface KnownPolicyExplanation {
  /** `namespace/name` */
  readonly key: string;
  readonly known: true;
  readonly scope: PolicyScope;
  readonly action: PolicyAction;
  readonly dryRun: boolean;
  readonly matched: boolean;
  /** Where it matched, as PolicyDecision.rule; undefined: it did not. */
  readonly place: string | undefined;
  /** Why its rules did not match, the first eight; empty when it matched or has no rules. */
  readonly misses: readonly RuleMiss[];
  /** Rules that did not match and that `misses` does not tell of. */
  readonly moreMisses: number;
}

/** A policy that could decide, or the key of one that the workload names and nobody knows. */
export type PolicyExplanation = KnownPolicyExplanation | { readonly key: string; readonly known: false };

/** Policies that did not match and are told of; nobody reads more, and thousands may apply. */
const TOLD_POLICIES = 200;

export interface PolicyExplanations {
  /** In the order of evaluation, keys that are not known last: all that matched, and the first of the others. */
  readonly policies: readonly PolicyExplanation[];
  /** Policies that did not match and that `policies` leaves out. */
  readonly more: number;
}

/** The policies that apply to a workload asked about one flow. */
export function explainPolicies(set: PolicySet, flow: PolicyFlow): PolicyExplanations {
  const facts = new Facts(flow);
  const policies: PolicyExplanation[] = [];
  let more = 0;
  for (const policy of set.all()) {
    if (policies.length < TOLD_POLICIES || policy.matchedRule(facts) >= 0) policies.push(explainPolicy(policy, facts));
    else more++;
  }
  for (const key of set.missing) policies.push({ key, known: false });
  return { policies, more };
}

function explainPolicy(compiled: CompiledPolicy, facts: Facts): KnownPolicyExplanation {
  const { key, policy: { scope, action, dryRun }, rules } = compiled;
  const rule = compiled.matchedRule(facts);
  const matched = rule >= 0;
  return {
    key,
    known: true,
    scope,
    action,
    dryRun,
    matched,
    place: matched ? heldPlace(compiled, rule, facts) : undefined,
    misses: matched ? [] : rules.slice(0, TOLD).map((_, i) => ruleMiss(compiled, i, facts).miss),
    moreMisses: matched ? 0 : Math.max(0, rules.length - TOLD),
  };
}

/** Where the policy matched, or what of it came nearest to matching. */
export function decide(policy: CompiledPolicy, facts: Facts): PolicyDecision {
  const rule = policy.matchedRule(facts);
  if (rule >= 0) return { policy: policy.key, rule: heldPlace(policy, rule, facts), reason: undefined, more: 0 };
  const nearest = nearestMiss(policy, facts);
  const reason = nearest?.reason ?? "it has no rules and matches nothing";
  return { policy: policy.key, rule: nearest?.place, reason, more: 0 };
}

/** The first policies of many, for decideAll later: they stay what they are now, whatever is pushed meanwhile. */
export function firstFew(policies: Iterable<CompiledPolicy>): readonly CompiledPolicy[] {
  const few: CompiledPolicy[] = [];
  for (const policy of policies) {
    few.push(policy);
    if (few.length === TOLD) break;
  }
  return few;
}

/** @param count how many policies there are with those told */
export function decideAll(told: readonly CompiledPolicy[], count: number, facts: Facts): readonly PolicyDecision[] {
  return told.map((policy, i) => {
    const decision = decide(policy, facts);
    return i < told.length - 1 ? decision : { ...decision, more: count - told.length };
  });
}

/** The decisions of a denial as the values of the log fields `policy` and `rule`. */
export function denialFields(
  decisions: readonly PolicyDecision[],
): { readonly policy: string; readonly rule: string } {
  const several = decisions.length > 1;
  const policies: string[] = [];
  const rules: string[] = [];
  for (const { policy, rule, reason } of decisions) {
    const told = [rule, reason].filter((text) => text !== undefined).join(": ");
    policies.push(policy);
    rules.push(several ? `${policy} ${told}` : told);
  }
  const more = decisions.at(-1)?.more ?? 0;
  if (more > 0) {
    policies.push(`and ${more} more`);
    rules.push(`and ${more} more`);
  }
  return { policy: policies.join("; "), rule: rules.join("; ") };
}

/** The place of a rule that matches, with the fields of each clause that had to. */
function heldPlace(policy: CompiledPolicy, rule: number, facts: Facts): string {
  const places: string[] = [];
  for (const [c, clause] of policy.rules[rule]!.entries()) {
    if (clause.length === 0) continue;
    const m = heldMatch(clause, facts);
    places.push(`rules[${rule}][${c}][${m}].${clause[m]!.map(({ field }) => field).join(",")}`);
  }
  return places.length === 0 ? `rules[${rule}]` : places.join(" and ");
}

interface RankedMiss {
  readonly miss: RuleMiss;
  /** Clauses, and tests of the clause that failed, that held before. */
  readonly clauses: number;
  readonly tests: number;
}

function nearestMiss(policy: CompiledPolicy, facts: Facts): RuleMiss | undefined {
  let nearest: RankedMiss | undefined;
  for (let rule = 0; rule < policy.rules.length; rule++) {
    const miss = ruleMiss(policy, rule, facts);
    if (nearest === undefined || isNearer(miss, nearest)) nearest = miss;
  }
  return nearest?.miss;
}

function isNearer(a: RankedMiss, b: RankedMiss): boolean {
  return a.clauses !== b.clauses ? a.clauses > b.clauses : a.tests > b.tests;
}

/** Why a rule that does not match does not: the first failed test of the match of its first failed clause that came nearest. */
function ruleMiss(policy: CompiledPolicy, rule: number, facts: Facts): RankedMiss {
  const compiled = policy.rules[rule]!;
  const c = failedClause(compiled, facts);
  const clause = compiled[c]!;
  let nearest = 0;
  let held = -1;
  for (const [m, match] of clause.entries()) {
    const tests = failedTest(match, facts);
    if (tests > held) [nearest, held] = [m, tests];
  }
  const test = clause[nearest]![held]!;
  const place = `rules[${rule}][${c}][${nearest}]`;
  return {
    miss: {
      place: test.field === undefined ? place : `${place}.${test.field}`,
      reason: missReason(test, policy.policy.rules[rule]![c]![nearest]!, facts),
    },
    clauses: c,
    tests: held,
  };
}

function missReason({ field, kind }: FieldTest, match: Match, facts: Facts): string {
  if (field === undefined || kind === undefined) return "names nothing, so nothing matches it";
  const items = list(kind.items(match, field));
  const wants = field === kind.positive ? `wants ${kind.noun} ${items}` : `wants no ${kind.noun} of ${items}`;
  const had = kind.had(facts);
  return `${wants}; the flow has ${had === undefined ? "no identity" : short(had)}`;
}

/** `a`, `a or b`, `a, b, c, d or 3 others`. */
function list(items: readonly string[]): string {
  const told = items.slice(0, TOLD_ITEMS).map(short);
  const rest = items.length - told.length;
  if (rest > 0) told.push(`${rest} other${rest === 1 ? "" : "s"}`);
  return told.length === 1 ? told[0]! : `${told.slice(0, -1).join(", ")} or ${told.at(-1)}`;
}

function short(text: string): string {
  return text.length <= TOLD_CHARACTERS ? text : `${text.slice(0, TOLD_CHARACTERS)}…`;
}
