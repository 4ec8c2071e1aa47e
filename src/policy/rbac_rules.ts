/** The rules of one RBAC filter, arranged so that a request meets only those that its peer leaves in question. */
import { all, anyOf, BadCondition, compilePermission, compilePrincipal, type Condition } from "./rbac_condition.ts";
import type { RbacPolicy } from "./rbac.ts";
import type { RequestFacts } from "./request_facts.ts";

export interface CompiledRule {
  readonly name: string;
  /** As it stands in response code details: without white space. */
  readonly id: string;
  readonly permissions: readonly Condition[];
  readonly principals: readonly Condition[];
  readonly permission: Condition;
  readonly principal: Condition;
}

/** A rule that may match for a peer. */
interface Candidate {
  readonly rule: CompiledRule;
  /** What is left to test. */
  readonly remaining: Condition;
}

/** Peers whose candidates are remembered: identities of a mesh are few, and each is signed by its CA. */
const REMEMBERED_PEERS = 256;

/** Throws BadCondition. */
function compileRule(policy: RbacPolicy): CompiledRule {
  const { name } = policy;
  try {
    const permissions = policy.permissions.map((one, i) => compilePermission(one, `permissions[${i}]`));
    const principals = policy.principals.map((one, i) => compilePrincipal(one, `principals[${i}]`));
    return {
      name,
      id: name.replace(/\s/g, "_"),
      permissions,
      principals,
      permission: anyOf(permissions),
      principal: anyOf(principals),
    };
  } catch (error) {
    if (error instanceof BadCondition) throw new BadCondition(`${name}: ${error.message}`);
    throw error;
  }
}

export class RuleSet {
  /** By name: where several match, Envoy reports the first in this order. */
  readonly rules: readonly CompiledRule[];
  readonly #candidates = new Map<string, readonly Candidate[]>();

  /** Throws BadCondition. */
  constructor(policies: readonly RbacPolicy[]) {
    this.rules = policies.map(compileRule).sort((left, right) => left.name < right.name ? -1 : 1);
  }

  /** The first rule that matches. */
  first(facts: RequestFacts): CompiledRule | undefined {
    for (const candidate of this.#of(facts.peerPrincipal)) {
      if (candidate.remaining.test(facts)) return candidate.rule;
    }
    return undefined;
  }

  /** Adds the names of all rules that match. */
  collect(facts: RequestFacts, names: Set<string>): void {
    for (const candidate of this.#of(facts.peerPrincipal)) {
      if (candidate.remaining.test(facts)) names.add(candidate.rule.name);
    }
  }

  #of(peer: string | undefined): readonly Candidate[] {
    const key = peer ?? "";
    let candidates = this.#candidates.get(key);
    if (candidates === undefined) {
      candidates = this.#select(peer);
      if (this.#candidates.size === REMEMBERED_PEERS) {
        for (const oldest of this.#candidates.keys()) {
          this.#candidates.delete(oldest);
          break;
        }
      }
      this.#candidates.set(key, candidates);
    }
    return candidates;
  }

  #select(peer: string | undefined): Candidate[] {
    const candidates: Candidate[] = [];
    for (const rule of this.rules) {
      const who = rule.principal.byPeer(peer);
      if (who === false) continue;
      candidates.push({ rule, remaining: who ? rule.permission : all([rule.permission, rule.principal]) });
    }
    return candidates;
  }
}
