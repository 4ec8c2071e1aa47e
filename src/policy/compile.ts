/** Policies compiled to predicates over the facts of a connection. Semantics: Istio's AuthorizationPolicy at layer 4. */
import type { Facts } from "./flow.ts";
import { type Match, type Policy, policyKey } from "./policy.ts";
import {
  BadCidr,
  compileCidrs,
  compilePorts,
  compileServiceAccounts,
  compileStrings,
  type Predicate,
} from "./predicates.ts";

export interface CompiledPolicy {
  readonly policy: Policy;
  /** `namespace/name` */
  readonly key: string;
  readonly matches: Predicate<Facts>;
}

export type CompileResult =
  | { readonly ok: true; readonly compiled: CompiledPolicy }
  | { readonly ok: false; readonly error: string };

type CidrField = "sourceIps" | "notSourceIps" | "destinationIps" | "notDestinationIps";

/** Compiles a list of ranges; the error names the field and the position. */
function ranges(match: Match, field: CidrField): Predicate<string> {
  try {
    return compileCidrs(match[field]);
  } catch (error) {
    if (error instanceof BadCidr) throw new BadMatch(`${field}[${error.index}]: ${error.message}`);
    throw error;
  }
}

class BadMatch extends Error {}

/**
 * One match: of each of its types, (no positive list, or it hits) and (no negative list, or it does not hit). A match
 * that names nothing does not match anything; a type that names nothing adds no test.
 */
function compileMatch(match: Match): Predicate<Facts> {
  const tests: Predicate<Facts>[] = [];
  const add = (list: readonly unknown[], wanted: boolean, compile: () => Predicate<Facts>) => {
    if (list.length === 0) return;
    const hits = compile();
    tests.push(wanted ? hits : (facts) => !hits(facts));
  };

  const ports = (list: readonly number[]) => () => {
    const hits = compilePorts(list);
    return (facts: Facts) => hits(facts.destinationPort);
  };
  add(match.destinationPorts, true, ports(match.destinationPorts));
  add(match.notDestinationPorts, false, ports(match.notDestinationPorts));

  const namespaces = (list: Match["namespaces"]) => () => {
    const hits = compileStrings(list);
    return (facts: Facts) => hits(facts.namespace);
  };
  add(match.namespaces, true, namespaces(match.namespaces));
  add(match.notNamespaces, false, namespaces(match.notNamespaces));

  // Without an identity no principal hits: so notPrincipals [presence] is how plaintext is told apart.
  const principals = (list: Match["principals"]) => () => {
    const hits = compileStrings(list);
    return (facts: Facts) => facts.principal !== undefined && hits(facts.principal);
  };
  add(match.principals, true, principals(match.principals));
  add(match.notPrincipals, false, principals(match.notPrincipals));

  const accounts = (list: Match["serviceAccounts"]) => () => {
    const hits = compileServiceAccounts(list);
    return (facts: Facts) => facts.identity !== undefined && hits(facts.identity);
  };
  add(match.serviceAccounts, true, accounts(match.serviceAccounts));
  add(match.notServiceAccounts, false, accounts(match.notServiceAccounts));

  const sources = (field: "sourceIps" | "notSourceIps") => () => {
    const hits = ranges(match, field);
    return (facts: Facts) => hits(facts.sourceIp);
  };
  add(match.sourceIps, true, sources("sourceIps"));
  add(match.notSourceIps, false, sources("notSourceIps"));

  const destinations = (field: "destinationIps" | "notDestinationIps") => () => {
    const hits = ranges(match, field);
    return (facts: Facts) => hits(facts.destinationIp);
  };
  add(match.destinationIps, true, destinations("destinationIps"));
  add(match.notDestinationIps, false, destinations("notDestinationIps"));

  if (tests.length === 0) return () => false;
  if (tests.length === 1) return tests[0]!;
  return (facts) => {
    for (const test of tests) if (!test(facts)) return false;
    return true;
  };
}

/** Compiles a policy. The error names policy, rule, clause, match and field. */
export function compilePolicy(policy: Policy): CompileResult {
  const key = policyKey(policy);
  const rules: Predicate<Facts>[][][] = [];
  for (const [r, rule] of policy.rules.entries()) {
    // A clause without matches holds for everything: it adds no test.
    const clauses: Predicate<Facts>[][] = [];
    for (const [c, clause] of rule.entries()) {
      if (clause.length === 0) continue;
      const matches: Predicate<Facts>[] = [];
      for (const [m, match] of clause.entries()) {
        try {
          matches.push(compileMatch(match));
        } catch (error) {
          if (!(error instanceof BadMatch)) throw error;
          return { ok: false, error: `policy ${key}: rules[${r}][${c}][${m}].${error.message}` };
        }
      }
      clauses.push(matches);
    }
    rules.push(clauses);
  }
  const matches = (facts: Facts) => {
    for (const rule of rules) if (ruleMatches(rule, facts)) return true;
    return false;
  };
  return { ok: true, compiled: { policy, key, matches } };
}

function ruleMatches(clauses: readonly Predicate<Facts>[][], facts: Facts): boolean {
  for (const matches of clauses) {
    if (!anyMatches(matches, facts)) return false;
  }
  return true;
}

function anyMatches(matches: readonly Predicate<Facts>[], facts: Facts): boolean {
  for (const match of matches) if (match(facts)) return true;
  return false;
}
