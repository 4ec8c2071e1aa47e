/** Compiled, indexed, changing policies against the literal rules. */
import { expect, test } from "bun:test";
import {
  authorize,
  type DryRunVerdict,
  explainPolicies,
  type Match,
  type Policy,
  type PolicyDecision,
  type PolicyFlow,
  PolicyIndex,
  policyKey,
  type PolicySet,
  type PolicyTarget,
  type Verdict,
} from "../../src/policy/mod.ts";
import * as literal from "./literal.ts";
import { anyFlow, anyPolicy, generator, NAMESPACES, one, type Pick } from "./random.ts";

const SEEDS = 4_000;
const FLOWS = 6;

function fail(seed: number, what: string, detail: unknown): never {
  throw new Error(`seed ${seed}: ${what}: ${JSON.stringify(detail)}`);
}

function anyTarget(pick: Pick): PolicyTarget {
  const keys = Array.from({ length: pick(4) }, () => `${one(pick, NAMESPACES)}/p${pick(7)}`);
  return { namespace: one(pick, NAMESPACES), authorizationPolicies: keys };
}

function literalText(policies: readonly Policy[], flow: PolicyFlow): string {
  const { result, deciding, dryRun } = literal.verdict(policies, flow);
  return `${result} by ${deciding[0] ?? "-"}; ${dryRun.join(", ")}`;
}

/** The verdict in the same words. */
function verdictText(verdict: Verdict): string {
  const dryRun = verdict.events.filter((event) => event.dryRun).map(({ message, policy }) =>
    `${message.startsWith("deny") ? "deny" : "allow"} ${policy ?? "-"}`
  );
  const result = verdict.allowed
    ? "allowed"
    : verdict.rejection === "allow policies exist, but none allowed"
    ? "none allowed"
    : verdict.rejection === `explicitly denied by: ${verdict.policy}`
    ? "explicitly denied"
    : verdict.rejection;
  return `${result} by ${verdict.policy ?? "-"}; ${dryRun.join(", ")}`;
}

test("verdicts are those of the literal rules, while policies come, change and go", () => {
  const outcomes = new Map<string, number>();
  for (let seed = 0; seed < SEEDS; seed++) {
    const pick = generator(seed);
    const index = new PolicyIndex();
    const store = new Map<string, Policy>();
    const targets = [anyTarget(pick), anyTarget(pick)];
    const kept = new Map<PolicyTarget, { set: PolicySet; policies: Policy[] }>();
    for (let step = 0; step < 6; step++) {
      if (pick(4) === 0) {
        const key = one(pick, [...store.keys(), "a/none"]);
        expect(index.remove(key)).toBe(store.delete(key));
      } else {
        const policy = anyPolicy(pick, `p${pick(7)}`);
        // What replaces another comes last.
        store.delete(policyKey(policy));
        store.set(policyKey(policy), policy);
        expect(index.put(policy)).toEqual({ ok: true });
      }
      for (const target of targets) {
        const set = index.for(target);
        const policies = literal.candidates(store, target);
        const before = kept.get(target);
        if (before?.set === set && JSON.stringify(before.policies) !== JSON.stringify(policies)) {
          fail(seed, "the set changed and is the same", { before: before.policies, policies });
        }
        kept.set(target, { set, policies });
        for (let i = 0; i < FLOWS; i++) {
          const flow = anyFlow(pick);
          const actual = verdictText(authorize(set, flow));
          const expected = literalText(policies, flow);
          if (actual !== expected) fail(seed, `${actual}, expected ${expected}`, { policies, flow });
          const outcome = actual.slice(0, actual.indexOf(" by"));
          outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
        }
        const unknown = new Set(target.authorizationPolicies.filter((key) => !store.has(key)));
        expect(set.missing).toEqual([...unknown]);
      }
    }
  }
  // The cases are worth something only if every outcome is common.
  const cases = SEEDS * FLOWS * 12;
  for (const outcome of ["allowed", "none allowed", "explicitly denied"]) {
    expect(outcomes.get(outcome)).toBeGreaterThan(cases / 20);
  }
}, 60_000);

const PLACE = /^rules\[(\d+)\](?:\[(\d+)\]\[(\d+)\](?:\.([A-Za-z,]+))?)?$/;

interface Place {
  readonly rule: number;
  readonly clause: number | undefined;
  readonly match: Match | undefined;
  readonly fields: readonly (keyof Match)[];
}

function readPlace(policy: Policy, text: string): Place {
  const [, rule, clause, match, fields] = PLACE.exec(text) ?? fail(-1, "not a place", text);
  return {
    rule: Number(rule),
    clause: clause === undefined ? undefined : Number(clause),
    match: clause === undefined ? undefined : policy.rules[Number(rule)]![Number(clause)]![Number(match)],
    fields: fields === undefined ? [] : fields.split(",") as (keyof Match)[],
  };
}

/** A place that matched names every clause of the first rule that does, and all fields of a match that holds. */
function isTruePlace(policy: Policy, text: string, flow: PolicyFlow): boolean {
  const places = text.split(" and ").map((part) => readPlace(policy, part));
  const first = policy.rules.findIndex((rule) => literal.ruleMatches(rule, flow));
  if (first < 0 || places.some(({ rule }) => rule !== first)) return false;
  const clauses = policy.rules[first]!.flatMap((clause, i) => clause.length > 0 ? [i] : []);
  if (clauses.length === 0) return text === `rules[${first}]`;
  return places.map(({ clause }) => clause).join() === clauses.join() &&
    places.every(({ match, fields }) =>
      [...fields].sort().join() === literal.fieldsOf(match!).sort().join() &&
      fields.every((field) => literal.listHolds(match!, field, flow))
    );
}

/** A place that did not: the clauses before it hold, its own does not, and its field fails; without one it names nothing. */
function isTrueMiss(policy: Policy, text: string, flow: PolicyFlow): boolean {
  const { rule, clause, match, fields } = readPlace(policy, text);
  const clauses = policy.rules[rule]!;
  if (clause === undefined || literal.clauseMatches(clauses[clause]!, flow)) return false;
  if (!clauses.slice(0, clause).every((earlier) => literal.clauseMatches(earlier, flow))) return false;
  if (fields.length === 0) return literal.fieldsOf(match!).length === 0;
  return fields.length === 1 && match![fields[0]!].length > 0 && !literal.listHolds(match!, fields[0]!, flow);
}

function isTrueDecision({ policy: key, rule, reason }: PolicyDecision, policies: readonly Policy[], flow: PolicyFlow) {
  const policy = policies.find((candidate) => policyKey(candidate) === key);
  if (policy === undefined) return false;
  if (reason === undefined) return rule !== undefined && isTruePlace(policy, rule, flow);
  if (literal.policyMatches(policy, flow)) return false;
  return rule === undefined ? policy.rules.length === 0 : isTrueMiss(policy, rule, flow);
}

/** The verdict if every policy were enforced. */
function enforcedAll(policies: readonly Policy[], flow: PolicyFlow): "allowed" | "denied" {
  const { result } = literal.verdict(policies.map((policy) => ({ ...policy, dryRun: false })), flow);
  return result === "allowed" ? "allowed" : "denied";
}

/** Which dry-run policies have a say, and what. */
function literalOutcomes(policies: readonly Policy[], flow: PolicyFlow, allowed: boolean): string[] {
  const of = (action: Policy["action"], dryRun: boolean) =>
    policies.filter((policy) => policy.action === action && policy.dryRun === dryRun);
  const matches = (policy: Policy) => literal.policyMatches(policy, flow);
  const denying = allowed ? of("Deny", true).filter(matches) : [];
  const say = (outcome: string, list: readonly Policy[]) => list.map((policy) => `${outcome} ${policyKey(policy)}`);
  if (of("Deny", false).some(matches)) return [];
  const allowing = of("Allow", true).find(matches);
  if (allowing !== undefined) return [...say("denied", denying), ...say("allowed", [allowing])];
  return say("denied", of("Allow", false).length === 0 ? [...denying, ...of("Allow", true)] : denying);
}

function dryRunProblem(
  dry: DryRunVerdict | undefined,
  allowed: boolean,
  policies: readonly Policy[],
  flow: PolicyFlow,
): string | undefined {
  if (dry === undefined) return policies.some(({ dryRun }) => dryRun) ? "no dry-run verdict" : undefined;
  const wouldBe = enforcedAll(policies, flow);
  if (dry.wouldBe !== wouldBe) return `would be ${wouldBe}`;
  const differs = (wouldBe === "allowed") !== allowed;
  if (dry.differs !== differs) return `differs is ${dry.differs}`;
  const outcomes = dry.outcomes.map(({ policy, outcome }) => `${outcome} ${policy}`).sort().join();
  const expected = literalOutcomes(policies, flow, allowed).sort().join();
  if (outcomes !== expected) return `outcomes ${outcomes}, expected ${expected}`;
  if ((allowed && wouldBe === "denied") !== (dry.decision().length > 0)) return "decisions without need, or none";
  return dry.decision().every((decision) => isTrueDecision(decision, policies, flow)) ? undefined : "a false decision";
}

test("explanations say what the literal rules say, and what the verdict says", () => {
  const told = { matched: 0, missed: 0, denied: 0, dryRuns: 0 };
  for (let seed = 0; seed < SEEDS; seed++) {
    const pick = generator(100_000 + seed);
    const all = Array.from({ length: 1 + pick(5) }, (_, i) => anyPolicy(pick, `p${i}`));
    const target = anyTarget(pick);
    const set = new PolicyIndex(all).for(target);
    const policies = literal.candidates(new Map(all.map((policy) => [policyKey(policy), policy])), target);
    for (let i = 0; i < FLOWS; i++) {
      const flow = anyFlow(pick);
      const verdict = authorize(set, flow);
      const { policies: explanations } = explainPolicies(set, flow);
      const known = explanations.flatMap((explanation) => explanation.known ? [explanation] : []);
      expect(known.map(({ key }) => key).sort()).toEqual(policies.map(policyKey).sort());
      for (const { key, matched, place, misses, action, dryRun } of known) {
        const policy = policies.find((candidate) => policyKey(candidate) === key)!;
        if (matched !== literal.policyMatches(policy, flow)) fail(seed, `${key} matched: ${matched}`, { policy, flow });
        if (matched !== (place !== undefined && isTruePlace(policy, place, flow))) {
          fail(seed, `${key} at ${place}`, { policy, flow });
        }
        if (!misses.every((miss) => isTrueMiss(policy, miss.place, flow))) fail(seed, key, { misses, policy, flow });
        if (!matched) expect(misses.length).toBe(policy.rules.length);
        told[matched ? "matched" : "missed"]++;
        // What an enforced DENY policy says decides.
        if (matched && action === "Deny" && !dryRun) expect(verdict.allowed).toBe(false);
      }
      if (!verdict.allowed) {
        const decisions = verdict.decision();
        if (!decisions.every((decision) => isTrueDecision(decision, policies, flow))) {
          fail(seed, "a false decision", { decisions, policies, flow });
        }
        const allows = policies.filter(({ action, dryRun }) => action === "Allow" && !dryRun);
        expect(decisions.length).toBe(verdict.policy === undefined ? allows.length : 1);
        told.denied++;
      }
      const problem = dryRunProblem(verdict.dryRun, verdict.allowed, policies, flow);
      if (problem !== undefined) fail(seed, problem, { policies, flow, dry: verdict.dryRun });
      if (verdict.dryRun?.differs === true) told.dryRuns++;
    }
  }
  for (const count of Object.values(told)) expect(count).toBeGreaterThan(SEEDS / 4);
}, 60_000);
