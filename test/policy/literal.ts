/**
 * The rules of spec/ztunnel.md §8.2 and §8.3 sentence by sentence: no compiling, no indexes, no sharing of code with what it
 * checks, addresses as texts of bits.
 */
import type {
  Match,
  Policy,
  PolicyFlow,
  PolicyTarget,
  ServiceAccountMatch,
  StringMatch,
} from "../../src/policy/mod.ts";

/** "exact, starts-with, ends-with, presence = non-empty" */
function stringMatches(match: StringMatch, text: string): boolean {
  if (match.kind === "exact") return text === match.value;
  if (match.kind === "prefix") return text.startsWith(match.value);
  if (match.kind === "suffix") return text.endsWith(match.value);
  return text.length > 0;
}

/** 32 or 128 characters of 0 and 1; an IPv4-mapped IPv6 address is the IPv4 address. */
function ipBits(text: string): string {
  if (!text.includes(":")) return text.split(".").map((octet) => Number(octet).toString(2).padStart(8, "0")).join("");
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/.exec(text);
  if (mapped !== null) return ipBits(mapped[1]!);
  const [head, tail] = text.split("::").map((part) => part === "" ? [] : part.split(":"));
  const gap = tail === undefined ? 0 : 8 - head!.length - tail.length;
  const groups = [...head!, ...Array<string>(gap).fill("0"), ...(tail ?? [])];
  return groups.map((group) => Number.parseInt(group, 16).toString(2).padStart(16, "0")).join("");
}

/** "CIDR contains (v4 vs v6 never match)" */
function rangeContains(range: string, ip: string): boolean {
  const [address, length] = range.split("/");
  const network = ipBits(address!);
  const bits = ipBits(ip);
  const prefix = length === undefined ? network.length : Number(length);
  return network.length === bits.length && network.slice(0, prefix) === bits.slice(0, prefix);
}

/** Whether any item of the one list hits. */
export function listHits(match: Match, field: keyof Match, flow: PolicyFlow): boolean {
  const id = flow.identity;
  switch (field) {
    case "namespaces":
    case "notNamespaces":
      // "string match on identity namespace, "" when no identity"
      return match[field].some((item) => stringMatches(item, id === undefined ? "" : id.namespace));
    case "principals":
    case "notPrincipals":
      // "identity string with spiffe:// removed; no identity → predicate false"
      return match[field].some((item) =>
        id !== undefined && stringMatches(item, `${id.trustDomain}/ns/${id.namespace}/sa/${id.serviceAccount}`)
      );
    case "serviceAccounts":
    case "notServiceAccounts":
      // "identity present and ns+sa equal (trust domain ignored)"
      return match[field].some((item: ServiceAccountMatch) =>
        id !== undefined && id.namespace === item.namespace && id.serviceAccount === item.serviceAccount
      );
    case "sourceIps":
    case "notSourceIps":
      return match[field].some((range) => rangeContains(range, flow.sourceIp));
    case "destinationIps":
    case "notDestinationIps":
      return match[field].some((range) => rangeContains(range, flow.destinationIp));
    case "destinationPorts":
    case "notDestinationPorts":
      return match[field].some((port) => port === flow.destinationPort);
  }
}

export function isNegative(field: keyof Match): boolean {
  return field.startsWith("not");
}

/** What a list asks for: an empty one nothing; a positive one that it hits; a negative one that it does not. */
export function listHolds(match: Match, field: keyof Match, flow: PolicyFlow): boolean {
  if (match[field].length === 0) return true;
  return listHits(match, field, flow) !== isNegative(field);
}

export function fieldsOf(match: Match): (keyof Match)[] {
  return (Object.keys(match) as (keyof Match)[]).filter((field) => match[field].length > 0);
}

/** "A match with all 12 lists empty → does not match." Otherwise all types are needed. */
export function matchMatches(match: Match, flow: PolicyFlow): boolean {
  const fields = Object.keys(match) as (keyof Match)[];
  if (fields.every((field) => match[field].length === 0)) return false;
  return fields.every((field) => listHolds(match, field, flow));
}

/** "any match matches; a clause with zero matches → matches" */
export function clauseMatches(clause: readonly Match[], flow: PolicyFlow): boolean {
  if (clause.length === 0) return true;
  return clause.some((match) => matchMatches(match, flow));
}

/** "all clauses match; no clauses → matches everything" */
export function ruleMatches(rule: readonly (readonly Match[])[], flow: PolicyFlow): boolean {
  return rule.every((clause) => clauseMatches(clause, flow));
}

/** "any rule matches; no rules → never matches" */
export function policyMatches(policy: Policy, flow: PolicyFlow): boolean {
  return policy.rules.some((rule) => ruleMatches(rule, flow));
}

/** "scope NAMESPACE in the workload's namespace + all GLOBAL + workload.authorization_policies by key" */
export function candidates(store: ReadonlyMap<string, Policy>, target: PolicyTarget): Policy[] {
  const ofNamespace = [...store.values()].filter(({ scope, namespace }) =>
    scope === "Namespace" && namespace === target.namespace
  );
  const global = [...store.values()].filter(({ scope }) => scope === "Global");
  const named = target.authorizationPolicies.flatMap((key) => store.get(key) ?? []);
  return [...new Set([...ofNamespace, ...global, ...named])];
}

export interface LiteralVerdict {
  readonly result: "allowed" | "explicitly denied" | "none allowed";
  /** `namespace/name` of all enforced policies that could be the one that decided. */
  readonly deciding: string[];
  /** As the decision log tells them, dry-run steps only. */
  readonly dryRun: string[];
}

/** The six steps of §8.3. */
export function verdict(policies: readonly Policy[], flow: PolicyFlow): LiteralVerdict {
  const key = ({ namespace, name }: Policy) => `${namespace}/${name}`;
  const matching = (action: Policy["action"], dryRun: boolean) =>
    policies.filter((policy) => policy.action === action && policy.dryRun === dryRun && policyMatches(policy, flow))
      .map(key);
  const exist = (action: Policy["action"], dryRun: boolean) =>
    policies.some((policy) => policy.action === action && policy.dryRun === dryRun);

  const dryRun = matching("Deny", true).map((policy) => `deny ${policy}`);
  const denying = matching("Deny", false);
  if (denying.length > 0) return { result: "explicitly denied", deciding: denying, dryRun };
  if (exist("Allow", true)) dryRun.push(`allow ${matching("Allow", true)[0] ?? "-"}`);
  if (!exist("Allow", false)) return { result: "allowed", deciding: [], dryRun };
  const allowing = matching("Allow", false);
  if (allowing.length > 0) return { result: "allowed", deciding: allowing, dryRun };
  return { result: "none allowed", deciding: [], dryRun };
}
