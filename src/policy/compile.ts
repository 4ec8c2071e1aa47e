/** Policies compiled to predicates over the facts of a connection. Semantics: spec/ztunnel.md §8.2. */
import { FIELD_KINDS, type FieldKind, type MatchField } from "./fields.ts";
import type { Facts } from "./flow.ts";
import { type Match, type Policy, policyKey, type Rule } from "./policy.ts";
import { BadItem, type Predicate } from "./predicates.ts";

/** What one list of a match asks of a flow. */
export interface FieldTest {
  /** undefined: the match names nothing, which nothing satisfies. */
  readonly field: MatchField | undefined;
  readonly kind: FieldKind | undefined;
  readonly holds: Predicate<Facts>;
}

/** Holds if all of its tests do. Never empty. */
export type CompiledMatch = readonly FieldTest[];
/** Holds if any of its matches does, or if it has none. */
export type CompiledClause = readonly CompiledMatch[];
/** Holds if all of its clauses do. */
export type CompiledRule = readonly CompiledClause[];

export type CompileResult =
  | { readonly ok: true; readonly compiled: CompiledPolicy }
  | { readonly ok: false; readonly error: string };

const NAMES_NOTHING: CompiledMatch = [{ field: undefined, kind: undefined, holds: () => false }];

/** The first test of a match that the flow fails; −1: the match holds. */
export function failedTest(match: CompiledMatch, facts: Facts): number {
  for (let i = 0; i < match.length; i++) if (!match[i]!.holds(facts)) return i;
  return -1;
}

/** The first match of a clause that holds; −1: none does. */
export function heldMatch(clause: CompiledClause, facts: Facts): number {
  for (let i = 0; i < clause.length; i++) if (failedTest(clause[i]!, facts) < 0) return i;
  return -1;
}

/** The first clause of a rule that the flow fails; −1: the rule matches. */
export function failedClause(rule: CompiledRule, facts: Facts): number {
  for (let i = 0; i < rule.length; i++) {
    const clause = rule[i]!;
    if (clause.length > 0 && heldMatch(clause, facts) < 0) return i;
  }
  return -1;
}

/** A policy that compiles. Its rules do so when they are first asked: most policies select no workload of this node. */
export class CompiledPolicy {
  readonly policy: Policy;
  /** `namespace/name` */
  readonly key: string;
  #rules: readonly CompiledRule[] | undefined;

  /** Of a policy whose lists are readable: compilePolicy makes sure. */
  constructor(policy: Policy) {
    this.policy = policy;
    this.key = policyKey(policy);
  }

  get rules(): readonly CompiledRule[] {
    return this.#rules ??= this.policy.rules.map(compileRule);
  }

  /** The first rule that matches; −1: the policy does not match. */
  matchedRule(facts: Facts): number {
    const rules = this.rules;
    for (let i = 0; i < rules.length; i++) if (failedClause(rules[i]!, facts) < 0) return i;
    return -1;
  }

  matches(facts: Facts): boolean {
    return this.matchedRule(facts) >= 0;
  }
}

/** A policy that can be enforced as it is written. The error names policy, rule, clause, match, field and item. */
export function compilePolicy(policy: Policy): CompileResult {
  for (const [r, rule] of policy.rules.entries()) {
    for (const [c, clause] of rule.entries()) {
      for (const [m, match] of clause.entries()) {
        const problem = matchProblem(match);
        if (problem !== undefined) {
          return { ok: false, error: `policy ${policyKey(policy)}: rules[${r}][${c}][${m}].${problem}` };
        }
      }
    }
  }
  return { ok: true, compiled: new CompiledPolicy(policy) };
}

/** What of a match cannot be read: an item left out would make the match a wider one. */
function matchProblem(match: Match): string | undefined {
  for (const kind of FIELD_KINDS) {
    for (const field of [kind.positive, kind.negative]) {
      if (match[field].length === 0) continue;
      try {
        kind.compile(match, field);
      } catch (error) {
        if (!(error instanceof BadItem)) throw error;
        return `${field}[${error.index}]: ${error.message}`;
      }
    }
  }
  return undefined;
}

function compileRule(rule: Rule): CompiledRule {
  return rule.map((clause) => clause.map(compileMatch));
}

/** Of each kind: no positive list, or it hits; and no negative list, or it does not hit. */
function compileMatch(match: Match): CompiledMatch {
  const tests: FieldTest[] = [];
  for (const kind of FIELD_KINDS) {
    const { positive, negative } = kind;
    if (match[positive].length > 0) tests.push({ field: positive, kind, holds: kind.compile(match, positive) });
    if (match[negative].length > 0) {
      const hits = kind.compile(match, negative);
      tests.push({ field: negative, kind, holds: (facts) => !hits(facts) });
    }
  }
  return tests.length === 0 ? NAMES_NOTHING : tests;
}
