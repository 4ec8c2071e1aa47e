/**
 * AuthorizationPolicy without targetRefs as L4 policies for ztunnel, as istiod's ambient controller writes them
 * (spec/ztunnel.md §8): a rule of an ALLOW policy that looks at HTTP never matches, one of a DENY policy loses those
 * conditions and denies more. A part of a DENY rule that would hold nothing else then holds for everything: in ztunnel a match
 * that names nothing never matches, and the rule would deny nothing at all.
 */
import { type ConvertedPolicies, type LabelledWorkload, selects } from "./converted.ts";
import type {
  AuthorizationCondition,
  AuthorizationOperation,
  AuthorizationPolicy,
  AuthorizationRule,
  AuthorizationSource,
  PolicyProblem,
} from "./kubernetes.ts";
import { type Clause, type Match, newMatch, type Policy, policyKey, type Rule, type StringMatch } from "./policy.ts";
import {
  BadValue,
  DRY_RUN_PATH,
  dryRunOf,
  parseBlock,
  parsePort,
  parseServiceAccount,
  parseWildcard,
} from "./policy_values.ts";

type Path = readonly (string | number)[];

export interface AuthorizationPoliciesOptions {
  /** Policies in it without selector hold for the mesh, with one for workloads of all namespaces: `istio-system`. */
  readonly rootNamespace: string;
}

const HTTP_SOURCES = ["requestPrincipals", "notRequestPrincipals", "remoteIpBlocks", "notRemoteIpBlocks"] as const;
const HTTP_OPERATIONS = ["hosts", "notHosts", "methods", "notMethods", "paths", "notPaths"] as const;

function stringMatch(text: string): StringMatch {
  const wildcard = parseWildcard(text);
  return wildcard.kind === "present" ? { kind: "presence" } : wildcard;
}

/** A trust domain as a principal of any account in it. */
function domainMatch(text: string): StringMatch | BadValue {
  const wildcard = parseWildcard(text);
  if (wildcard.kind === "present") return { kind: "presence" };
  if (wildcard.kind === "suffix") return new BadValue("a suffix of trust domains cannot be compared by ztunnel");
  return { kind: "prefix", value: wildcard.kind === "prefix" ? wildcard.value : `${wildcard.value}/` };
}

/** Converts the rules of one policy; a rule that has to be left out sets `dropped`. */
class RuleConversion {
  readonly #policy: AuthorizationPolicy;
  readonly #allows: boolean;
  readonly #problems: PolicyProblem[];
  #dropped = false;

  constructor(policy: AuthorizationPolicy, allows: boolean, problems: PolicyProblem[]) {
    this.#policy = policy;
    this.#allows = allows;
    this.#problems = problems;
  }

  /** undefined: the rule never matches. */
  rule(rule: AuthorizationRule, path: Path): Rule | undefined {
    this.#dropped = false;
    const clauses: Clause[] = [];
    const add = (matches: readonly (Match | undefined)[]) => {
      // One that holds for everything makes the others of its clause pointless.
      if (matches.length > 0 && !matches.includes(undefined)) clauses.push(matches as Clause);
    };
    add((rule.to ?? []).map(({ operation }, i) => this.#operation(operation ?? {}, [...path, "to", i, "operation"])));
    add((rule.from ?? []).map(({ source }, i) => this.#source(source ?? {}, [...path, "from", i, "source"])));
    for (const [i, condition] of (rule.when ?? []).entries()) {
      add([this.#condition(condition, [...path, "when", i])]);
    }
    return this.#dropped ? undefined : clauses;
  }

  #problem(kind: PolicyProblem["kind"], path: Path, message: string): void {
    const { namespace, name } = this.#policy.metadata;
    this.#problems.push({ kind, object: `AuthorizationPolicy ${namespace}/${name}`, path, message });
    // Left out of a DENY rule it denies more; an ALLOW rule must not allow more.
    if (this.#allows) this.#dropped = true;
  }

  #http(path: Path): void {
    this.#problem(
      "warning",
      path,
      this.#allows
        ? "ztunnel sees no HTTP: the rule never matches here; a waypoint and targetRefs would enforce it"
        : "ztunnel sees no HTTP: the rule is enforced without it and denies more; a waypoint and targetRefs would enforce it",
    );
  }

  #list<T>(values: readonly string[] | undefined, path: Path, parse: (text: string) => T | BadValue): T[] {
    const parsed: T[] = [];
    for (const [i, text] of (values ?? []).entries()) {
      const value = text === "" ? new BadValue("an empty value") : parse(text);
      if (value instanceof BadValue) this.#problem("invalid", [...path, i], value.message);
      else parsed.push(value);
    }
    return parsed;
  }

  #operation(operation: AuthorizationOperation, path: Path): Match | undefined {
    for (const field of HTTP_OPERATIONS) if (operation[field]?.length) this.#http([...path, field]);
    return this.#match(path, Object.values(operation).some((list) => list?.length), {
      destinationPorts: this.#list(operation.ports, [...path, "ports"], parsePort),
      notDestinationPorts: this.#list(operation.notPorts, [...path, "notPorts"], parsePort),
    });
  }

  #source(source: AuthorizationSource, path: Path): Match | undefined {
    for (const field of HTTP_SOURCES) if (source[field]?.length) this.#http([...path, field]);
    const account = (text: string) => parseServiceAccount(text, this.#policy.metadata.namespace);
    const lists = {
      principals: this.#list(source.principals, [...path, "principals"], stringMatch),
      notPrincipals: this.#list(source.notPrincipals, [...path, "notPrincipals"], stringMatch),
      namespaces: this.#list(source.namespaces, [...path, "namespaces"], stringMatch),
      notNamespaces: this.#list(source.notNamespaces, [...path, "notNamespaces"], stringMatch),
      serviceAccounts: this.#list(source.serviceAccounts, [...path, "serviceAccounts"], account),
      notServiceAccounts: this.#list(source.notServiceAccounts, [...path, "notServiceAccounts"], account),
      sourceIps: this.#list(source.ipBlocks, [...path, "ipBlocks"], parseBlock),
      notSourceIps: this.#list(source.notIpBlocks, [...path, "notIpBlocks"], parseBlock),
    };
    if (source.trustDomains?.length) {
      if (lists.principals.length > 0) {
        this.#problem("unsupported", [...path, "trustDomains"], "ztunnel cannot compare it together with principals");
      } else {
        lists.principals = this.#list(source.trustDomains, [...path, "trustDomains"], domainMatch);
      }
    }
    lists.notPrincipals.push(...this.#list(source.notTrustDomains, [...path, "notTrustDomains"], domainMatch));
    return this.#match(path, Object.values(source).some((list) => list?.length), lists);
  }

  #condition(condition: AuthorizationCondition, path: Path): Match | undefined {
    const { key, values, notValues } = condition;
    const list = <T>(parse: (text: string) => T | BadValue) =>
      [
        this.#list(values, [...path, "values"], parse),
        this.#list(notValues, [...path, "notValues"], parse),
      ] as const;
    const given = (values?.length ?? 0) + (notValues?.length ?? 0) > 0;
    switch (key) {
      case "source.ip": {
        const [sourceIps, notSourceIps] = list(parseBlock);
        return this.#match(path, given, { sourceIps, notSourceIps });
      }
      case "source.namespace": {
        const [namespaces, notNamespaces] = list(stringMatch);
        return this.#match(path, given, { namespaces, notNamespaces });
      }
      case "source.principal": {
        const [principals, notPrincipals] = list(stringMatch);
        return this.#match(path, given, { principals, notPrincipals });
      }
      case "source.serviceAccount": {
        const [serviceAccounts, notServiceAccounts] = list((text) =>
          parseServiceAccount(text, this.#policy.metadata.namespace)
        );
        return this.#match(path, given, { serviceAccounts, notServiceAccounts });
      }
      case "destination.ip": {
        const [destinationIps, notDestinationIps] = list(parseBlock);
        return this.#match(path, given, { destinationIps, notDestinationIps });
      }
      case "destination.port": {
        const [destinationPorts, notDestinationPorts] = list(parsePort);
        return this.#match(path, given, { destinationPorts, notDestinationPorts });
      }
    }
    this.#http([...path, "key"]);
    return undefined;
  }

  /** undefined: nothing that could be compared is left, it holds for everything. */
  #match(path: Path, given: boolean, lists: Partial<Match>): Match | undefined {
    if (!given) this.#problem("invalid", path, "it names nothing");
    return Object.values(lists).some((list) => list.length > 0) ? newMatch(lists) : undefined;
  }
}

function convert(policy: AuthorizationPolicy, root: string, problems: PolicyProblem[]): Policy | undefined {
  const { metadata: { namespace, name }, spec } = policy;
  const action = spec.action ?? "ALLOW";
  const object = `AuthorizationPolicy ${namespace}/${name}`;
  const { dryRun, unclear } = dryRunOf(policy);
  if (unclear) {
    problems.push({ kind: "warning", object, path: DRY_RUN_PATH, message: "neither true nor false: enforced" });
  }
  if (action === "AUDIT") {
    problems.push({ kind: "warning", object, path: ["spec", "action"], message: "ztunnel does not audit: ignored" });
    return undefined;
  }
  if (action === "CUSTOM") {
    const message = "external authorization is not supported: what the rules match is denied";
    problems.push({ kind: "unsupported", object, path: ["spec", "action"], message });
  }
  const conversion = new RuleConversion(policy, action === "ALLOW", problems);
  const rules: Rule[] = [];
  for (const [i, rule] of (spec.rules ?? []).entries()) {
    const converted = conversion.rule(rule, ["spec", "rules", i]);
    if (converted !== undefined) rules.push(converted);
  }
  return {
    namespace,
    name,
    scope: spec.selector !== undefined ? "WorkloadSelector" : namespace === root ? "Global" : "Namespace",
    action: action === "ALLOW" ? "Allow" : "Deny",
    rules,
    dryRun,
  };
}

/** Policies with targetRefs are for waypoints and left out. */
export function authorizationToPolicies(
  objects: readonly AuthorizationPolicy[],
  options: AuthorizationPoliciesOptions,
): ConvertedPolicies {
  const { rootNamespace } = options;
  const problems: PolicyProblem[] = [];
  const policies: Policy[] = [];
  const selecting: AuthorizationPolicy[] = [];
  for (const object of objects) {
    const { selector, targetRef, targetRefs } = object.spec;
    if (targetRef !== undefined || targetRefs?.length) continue;
    const policy = convert(object, rootNamespace, problems);
    if (policy === undefined) continue;
    policies.push(policy);
    if (selector !== undefined) selecting.push(object);
  }
  const policiesOf = ({ namespace, labels }: LabelledWorkload): string[] =>
    selecting
      .filter(({ metadata, spec }) =>
        (metadata.namespace === namespace || metadata.namespace === rootNamespace) && selects(spec.selector, labels)
      )
      .map(({ metadata }) => policyKey(metadata))
      .sort();
  return { policies, policiesOf, problems };
}
