/**
 * L7 authorization of a chain: RBAC filters in the order LOG, DENY, ALLOW (spec/waypoint.md §1.16).
 *
 * Applications often read `//denied` as `/denied`, so a path with empty segments is read in both ways, as it is and with its
 * slashes merged, and the stricter outcome counts: a DENY rule decides if it matches either, an ALLOW filter lets pass only
 * what it allows in both. So neither `paths` nor `notPaths` of a rule can be evaded by slashes, and nothing is allowed that
 * would not be without this. Envoy compares the path as it is.
 */
import type { RequestHead } from "../http/message.ts";
import { BadCondition } from "./rbac_condition.ts";
import { describeMatch, describeMismatch } from "./rbac_reason.ts";
import type { CompiledRule } from "./rbac_rules.ts";
import { RuleSet } from "./rbac_rules.ts";
import type { RbacVerdict, ShadowVerdict } from "./rbac_verdict.ts";
import type { Rbac, RbacAction } from "./rbac.ts";
import type { RequestFacts } from "./request_facts.ts";

export interface CompiledRbac {
  /** Whether the request, or the TCP connection, may pass; the facts are not kept. */
  check(facts: RequestFacts): RbacVerdict;
}

export type RbacCompilation =
  | { readonly ok: true; readonly rbac: CompiledRbac }
  /** Names action, rule and field. Whoever has this lets nothing pass: denyAll. */
  | { readonly ok: false; readonly error: string };

interface Filter {
  readonly action: RbacAction;
  readonly enforced: RuleSet | undefined;
  readonly shadow: RuleSet | undefined;
}

const ORDER: readonly RbacAction[] = ["LOG", "DENY", "ALLOW"];
const NONE: readonly never[] = [];
const NO_SHADOW = { allow: undefined, deny: undefined } as const;
const UNRESTRICTED: RbacVerdict = {
  allowed: true,
  action: undefined,
  policy: "none",
  responseCodeDetails: "",
  reasons: ["no ALLOW policy restricts the chain and no DENY rule matches"],
  audits: NONE,
  shadow: NO_SHADOW,
};

function deniedDetails(id: string): string {
  return `rbac_access_denied_matched_policy[${id}]`;
}

/** The same request with the slashes of its path merged; undefined when that changes nothing. */
function mergedReading(facts: RequestFacts): RequestFacts | undefined {
  if (!facts.path.includes("//")) return undefined;
  const { head } = facts;
  return { ...facts, path: mergeSlashes(facts.path), head: head && mergedHead(head) };
}

function mergedHead(head: RequestHead): RequestHead {
  const query = head.path.indexOf("?");
  const end = query < 0 ? head.path.length : query;
  return { ...head, path: mergeSlashes(head.path.slice(0, end)) + head.path.slice(end) };
}

function mergeSlashes(path: string): string {
  let merged = "";
  let start = 0;
  for (let at = path.indexOf("//"); at >= 0; at = path.indexOf("//", start)) {
    merged += path.slice(start, at + 1);
    start = at + 1;
    while (path.charCodeAt(start) === 47) start++;
  }
  return merged + path.slice(start);
}

class FilterChain implements CompiledRbac {
  readonly #filters: readonly Filter[];
  /** Verdicts of ALLOW rules, made once: most requests get one of these. */
  readonly #allowed = new Map<CompiledRule, RbacVerdict>();

  constructor(filters: readonly Filter[]) {
    this.#filters = filters;
  }

  check(facts: RequestFacts): RbacVerdict {
    const merged = mergedReading(facts);
    let audits: Set<string> | undefined;
    let allow: ShadowVerdict | undefined;
    let deny: ShadowVerdict | undefined;
    let allowedBy: CompiledRule | undefined;
    for (const { action, enforced, shadow } of this.#filters) {
      if (action === "LOG") {
        audits ??= new Set();
        enforced?.collect(facts, audits);
        if (merged !== undefined) enforced?.collect(merged, audits);
        continue;
      }
      if (action === "DENY") {
        if (shadow !== undefined && deny?.allowed !== false) {
          const rule = shadow.first(facts) ?? (merged && shadow.first(merged));
          deny = { allowed: rule === undefined, policy: rule?.name ?? "none" };
        }
        const rule = enforced?.first(facts);
        const reading = rule === undefined ? merged : facts;
        const denying = rule ?? (merged && enforced?.first(merged));
        if (denying !== undefined && reading !== undefined) {
          return denied("DENY", denying.name, denying.id, describeMatch(denying, reading), audits, { allow, deny });
        }
        continue;
      }
      if (shadow !== undefined && allow?.allowed !== false) {
        const rule = shadow.first(facts);
        const passes = rule !== undefined && (merged === undefined || shadow.first(merged) !== undefined);
        allow = { allowed: passes, policy: passes ? rule.name : "none" };
      }
      if (enforced === undefined) continue;
      allowedBy = enforced.first(facts);
      const refused = allowedBy === undefined
        ? facts
        : merged && enforced.first(merged) === undefined
        ? merged
        : undefined;
      if (refused !== undefined) {
        return denied("ALLOW", "none", "none", describeMismatch(enforced, refused), audits, { allow, deny });
      }
    }
    const verdict = allowedBy === undefined ? UNRESTRICTED : this.#verdictOf(allowedBy);
    if (!audits?.size && allow === undefined && deny === undefined) return verdict;
    return { ...verdict, audits: audits === undefined ? NONE : [...audits], shadow: { allow, deny } };
  }

  #verdictOf(rule: CompiledRule): RbacVerdict {
    let verdict = this.#allowed.get(rule);
    if (verdict === undefined) {
      const reasons = [`ALLOW rule ${rule.name} matches`];
      verdict = { ...UNRESTRICTED, action: "ALLOW", policy: rule.name, reasons };
      this.#allowed.set(rule, verdict);
    }
    return verdict;
  }
}

function denied(
  action: "ALLOW" | "DENY",
  policy: string,
  id: string,
  reasons: readonly string[],
  audits: ReadonlySet<string> | undefined,
  shadow: RbacVerdict["shadow"],
): RbacVerdict {
  const responseCodeDetails = deniedDetails(id);
  const audited = audits === undefined ? NONE : [...audits];
  return { allowed: false, action, policy, responseCodeDetails, reasons, audits: audited, shadow };
}

const UNRESTRICTED_CHAIN: CompiledRbac = { check: () => UNRESTRICTED };

/** Compiles the filters of a chain. */
export function compileRbac(filters: readonly Rbac[]): RbacCompilation {
  const compiled: Filter[] = [];
  for (const action of ORDER) {
    for (const filter of filters) {
      if (filter.action !== action) continue;
      try {
        const enforced = filter.policies && new RuleSet(filter.policies);
        const shadow = filter.shadow && new RuleSet(filter.shadow);
        compiled.push({ action, enforced, shadow });
      } catch (error) {
        if (error instanceof BadCondition) return { ok: false, error: `${action} ${error.message}` };
        throw error;
      }
    }
  }
  return { ok: true, rbac: compiled.length === 0 ? UNRESTRICTED_CHAIN : new FilterChain(compiled) };
}

/** Lets nothing pass: for a chain whose policies cannot be understood. */
export function denyAll(reason: string): CompiledRbac {
  const verdict = denied("DENY", "none", "none", [reason], undefined, NO_SHADOW);
  return { check: () => verdict };
}
