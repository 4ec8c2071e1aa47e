/** Why rules matched or did not, for people. Computed for denied requests only, and bounded: it is on their path. */
import type { Condition } from "./rbac_condition.ts";
import type { CompiledRule, RuleSet } from "./rbac_rules.ts";
import type { RequestFacts } from "./request_facts.ts";

const MAX_REASONS = 4;
/** Rules that are looked at for the ones that nearly matched. */
const MAX_RULES = 64;
const MAX_TEXT = 240; // characters of a description

function short(text: string): string {
  return text.length <= MAX_TEXT ? text : `${text.slice(0, MAX_TEXT)}…`;
}

/** Why a DENY rule matched. */
export function describeMatch(rule: CompiledRule, facts: RequestFacts): string[] {
  const permission = rule.permissions.findIndex((condition) => condition.test(facts));
  const principal = rule.principals.findIndex((condition) => condition.test(facts));
  const told = (side: string, conditions: readonly Condition[], index: number) =>
    `${side}[${index}]: ${short(conditions[index]?.describe() ?? "")}`;
  return [
    `DENY rule ${rule.name} matches: ${told("permissions", rule.permissions, permission)}; ` +
    told("principals", rule.principals, principal),
  ];
}

/** Why no ALLOW rule matched: the rules that came close first. */
export function describeMismatch(rules: RuleSet, facts: RequestFacts): string[] {
  if (rules.rules.length === 0) return ["no ALLOW rule is left that could match"];
  const close: string[] = [];
  const far: string[] = [];
  for (const rule of rules.rules.slice(0, MAX_RULES)) {
    const who = rule.principal.test(facts);
    const what = rule.permission.test(facts);
    const [side, conditions] = who
      ? ["permissions", rule.permissions] as const
      : ["principals", rule.principals] as const;
    const text = `ALLOW rule ${rule.name} does not match: ${side}${failure(conditions, facts)}`;
    (who || what ? close : far).push(text);
    if (close.length === MAX_REASONS) break;
  }
  const reasons = [...close, ...far].slice(0, MAX_REASONS);
  const more = rules.rules.length - reasons.length;
  return more > 0 ? [...reasons, `and ${more} more ALLOW rules do not match`] : reasons;
}

/** The part of the first alternative that fails, and what the request has there. */
function failure(alternatives: readonly Condition[], facts: RequestFacts): string {
  const [first] = alternatives;
  if (first === undefined) return " are empty";
  const failing = first.parts.find((part) => !part.test(facts)) ?? first;
  const actual = failing.actual(facts);
  return `[0]: wanted ${short(failing.describe())}${actual === undefined ? "" : `, got ${short(actual)}`}`;
}
