/** The rules of one RBAC filter, arranged so that a request meets only those that its peer leaves in question. */
import { all, anyOf, BadCondition, compilePermission, compilePrincipal, type Condition } from "./rbac_condition.ts";
import { NeedIndex } from "./rbac_index.ts";
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
  /** Place in the set. */
  readonly order: number;
}

/** Peers that are remembered: identities of a mesh are few, and each is signed by its CA. */
const REMEMBERED_PEERS = 256;

/** What a peer's identity alone says of each rule. */
type Standing = Uint8Array;
const EXCLUDED = 0;
const OPEN = 1;
const SETTLED = 2; // only the permissions are left to test

/** Throws BadCondition. */
function compileRule(policy: RbacPolicy, order: number): CompiledRule {
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
      order,
    };
  } catch (error) {
    if (error instanceof BadCondition) throw new BadCondition(`${name}: ${error.message}`);
    throw error;
  }
}

export class RuleSet {
  /** By name: where several match, Envoy reports the first in this order. */
  readonly rules: readonly CompiledRule[];
  readonly #index = new NeedIndex<CompiledRule>();
  readonly #standings = new Map<string, Standing>();

  /** Throws BadCondition. */
  constructor(policies: readonly RbacPolicy[]) {
    const sorted = [...policies].sort((left, right) => left.name < right.name ? -1 : left.name > right.name ? 1 : 0);
    this.rules = sorted.map(compileRule);
    for (const rule of this.rules) this.#index.add(rule, all([rule.permission, rule.principal]).need);
  }

  /** The first rule that matches. */
  first(facts: RequestFacts): CompiledRule | undefined {
    const standing = this.#standingOf(facts.peerPrincipal);
    let first: CompiledRule | undefined;
    this.#index.visit(facts, (rules) => {
      for (const rule of rules) {
        if (first !== undefined && rule.order >= first.order) return;
        if (matches(rule, standing, facts)) first = rule;
      }
    });
    return first;
  }

  /** Adds the names of all rules that match. */
  collect(facts: RequestFacts, names: Set<string>): void {
    const standing = this.#standingOf(facts.peerPrincipal);
    this.#index.visit(facts, (rules) => {
      for (const rule of rules) if (matches(rule, standing, facts)) names.add(rule.name);
    });
  }

  #standingOf(peer: string | undefined): Standing {
    const key = peer ?? "";
    let standing = this.#standings.get(key);
    if (standing === undefined) {
      standing = Uint8Array.from(this.rules, ({ principal }) => {
        const verdict = principal.byPeer(peer);
        return verdict === undefined ? OPEN : verdict ? SETTLED : EXCLUDED;
      });
      if (this.#standings.size === REMEMBERED_PEERS) {
        for (const oldest of this.#standings.keys()) {
          this.#standings.delete(oldest);
          break;
        }
      }
      this.#standings.set(key, standing);
    }
    return standing;
  }
}

function matches(rule: CompiledRule, standing: Standing, facts: RequestFacts): boolean {
  const who = standing[rule.order];
  return who !== EXCLUDED && rule.permission.test(facts) && (who === SETTLED || rule.principal.test(facts));
}
