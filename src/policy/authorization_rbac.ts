/** AuthorizationPolicy as RBAC filters of a waypoint's chain, as istiod writes them (spec/waypoint.md §1.16). */
import {
  type Attribute,
  type AttributeContext,
  conditionAttribute,
  HOST,
  METHOD,
  NAMESPACE,
  NO_PERMISSION,
  NO_PRINCIPAL,
  PATH,
  PORT,
  PRINCIPAL,
  REMOTE_IP,
  REQUEST_PRINCIPAL,
  SERVER_NAME,
  SERVICE_ACCOUNT,
  SOURCE_IP,
  TRUST_DOMAIN,
} from "./authorization_attributes.ts";
import type { ConvertedRbac } from "./converted.ts";
import type {
  AuthorizationOperation,
  AuthorizationPolicy,
  AuthorizationRule,
  AuthorizationSource,
  PolicyProblem,
} from "./kubernetes.ts";
import { BadValue, DRY_RUN_PATH, dryRunOf } from "./policy_values.ts";
import type { Permission, Principal, Rbac, RbacAction, RbacPolicy } from "./rbac.ts";
import { expandTrustDomains } from "./trust_domains.ts";

type Path = readonly (string | number)[];

export interface AuthorizationRbacOptions {
  /** The mesh's own trust domain, then its aliases. */
  readonly trustDomains: readonly string[];
  /** false: for a TCP chain, where ALLOW rules that look at HTTP never match and DENY rules match without those conditions. */
  readonly forHttp: boolean;
  /**
   * Whether the chain reads the server name that clients of TLS ask for. false: as with HTTP's attributes, ALLOW rules that
   * look at it never match and DENY rules match without it, which is told as a warning.
   */
  readonly readsServerName: boolean;
  /** For people: what the chain is for. */
  readonly chain: string;
  /** undefined: any port. */
  readonly port: number | undefined;
}

/** Values of one attribute, and the places they are written at. */
interface Values {
  readonly values: readonly string[] | undefined;
  readonly notValues: readonly string[] | undefined;
  readonly valuesPath: Path;
  readonly notValuesPath: Path;
}

/** How values of a side are put together. */
interface Algebra<T> {
  or(nodes: readonly T[]): T;
  and(nodes: readonly T[]): T;
  not(node: T): T;
  readonly any: T;
}

const PERMISSIONS: Algebra<Permission> = {
  or: (rules) => ({ kind: "or", rules }),
  and: (rules) => ({ kind: "and", rules }),
  not: (rule) => ({ kind: "not", rule }),
  any: { kind: "any" },
};

const PRINCIPALS: Algebra<Principal> = {
  or: (ids) => ({ kind: "or", ids }),
  and: (ids) => ({ kind: "and", ids }),
  not: (id) => ({ kind: "not", id }),
  any: { kind: "any" },
};

const ACTIONS = { ALLOW: "ALLOW", DENY: "DENY", AUDIT: "LOG", CUSTOM: "DENY" } as const;
const ORDER: readonly RbacAction[] = ["LOG", "DENY", "ALLOW"];

/** Converts the rules of one policy. */
class PolicyConversion {
  readonly #policy: AuthorizationPolicy;
  readonly #context: AttributeContext;
  readonly #options: AuthorizationRbacOptions;
  readonly #problems: PolicyProblem[];
  readonly #allows: boolean;
  /** The rule at work is one of an ALLOW policy and cannot be evaluated in full: it must not match at all. */
  #dropped = false;
  /** The rule at work is for other ports: what it cannot do here is nothing to tell. */
  #elsewhere = false;

  constructor(policy: AuthorizationPolicy, options: AuthorizationRbacOptions, problems: PolicyProblem[]) {
    this.#policy = policy;
    this.#context = { namespace: policy.metadata.namespace };
    this.#options = options;
    this.#problems = problems;
    this.#allows = (policy.spec.action ?? "ALLOW") === "ALLOW";
  }

  problem(kind: PolicyProblem["kind"], path: Path, message: string): void {
    const { namespace, name } = this.#policy.metadata;
    this.#problems.push({ kind, object: `AuthorizationPolicy ${namespace}/${name}`, path, message });
  }

  rules(): RbacPolicy[] {
    const { metadata: { namespace, name }, spec } = this.#policy;
    const nameOf = (index: number) => `ns[${namespace}]-policy[${name}]-rule[${index}]`;
    const rules = spec.rules ?? [];
    if (rules.length === 0) return [{ name: nameOf(0), permissions: [NO_PERMISSION], principals: [NO_PRINCIPAL] }];
    const converted: RbacPolicy[] = [];
    for (const [i, rule] of rules.entries()) {
      this.#dropped = false;
      this.#elsewhere = this.#isElsewhere(rule);
      const parts = this.#rule(rule, ["spec", "rules", i]);
      if (!this.#dropped) converted.push({ name: nameOf(i), ...parts });
    }
    return converted;
  }

  #isElsewhere({ to = [] }: AuthorizationRule): boolean {
    const { port } = this.#options;
    if (port === undefined || to.length === 0) return false;
    return to.every(({ operation }) => operation?.ports?.length && !operation.ports.includes(String(port)));
  }

  #rule(rule: AuthorizationRule, path: Path): Omit<RbacPolicy, "name"> {
    const permissions: Permission[] = [];
    const principals: Principal[] = [];
    for (const [i, { key, values, notValues }] of (rule.when ?? []).entries()) {
      const at = [...path, "when", i];
      const given = {
        values,
        notValues,
        valuesPath: [...at, "values"],
        notValuesPath: [...at, "notValues"],
      };
      const condition = conditionAttribute(key);
      if (condition instanceof BadValue) this.#invalid([...at, "key"], condition.message);
      else if (!values?.length && !notValues?.length) this.#invalid(at, "values or notValues are needed");
      else if (condition.kind === "permission") this.#add(permissions, PERMISSIONS, condition.attribute, given);
      else if (condition.attribute === PRINCIPAL) this.#add(principals, PRINCIPALS, PRINCIPAL, this.#aliased(given));
      else this.#add(principals, PRINCIPALS, condition.attribute, given);
    }
    const whole = <T>(parts: readonly T[], { and, any }: Algebra<T>) => and(parts.length === 0 ? [any] : parts);
    const to = rule.to?.length
      ? rule.to.map((
        { operation },
        i,
      ) => [...this.#operation(operation ?? {}, [...path, "to", i, "operation"]), ...permissions])
      : [permissions];
    const from = rule.from?.length
      ? rule.from.map(({ source }, i) => [...this.#source(source ?? {}, [...path, "from", i, "source"]), ...principals])
      : [principals];
    return {
      permissions: to.map((parts) => whole(parts, PERMISSIONS)),
      principals: from.map((parts) => whole(parts, PRINCIPALS)),
    };
  }

  #operation(operation: AuthorizationOperation, path: Path): Permission[] {
    const parts: Permission[] = [];
    const add = (
      attribute: Attribute<Permission>,
      field: keyof AuthorizationOperation,
      notField: keyof AuthorizationOperation,
    ) => this.#add(parts, PERMISSIONS, attribute, fieldsOf(operation, field, notField, path));
    add(HOST, "hosts", "notHosts");
    add(METHOD, "methods", "notMethods");
    add(PATH, "paths", "notPaths");
    add(PORT, "ports", "notPorts");
    if (isEmpty(operation)) this.#invalid(path, "it names nothing");
    return parts;
  }

  #source(source: AuthorizationSource, path: Path): Principal[] {
    const parts: Principal[] = [];
    const fields = (field: keyof AuthorizationSource, notField: keyof AuthorizationSource) =>
      fieldsOf(source, field, notField, path);
    const add = (
      attribute: Attribute<Principal>,
      field: keyof AuthorizationSource,
      notField: keyof AuthorizationSource,
    ) => this.#add(parts, PRINCIPALS, attribute, fields(field, notField));
    this.#add(parts, PRINCIPALS, PRINCIPAL, this.#aliased(fields("principals", "notPrincipals")));
    add(REQUEST_PRINCIPAL, "requestPrincipals", "notRequestPrincipals");
    add(SERVICE_ACCOUNT, "serviceAccounts", "notServiceAccounts");
    add(NAMESPACE, "namespaces", "notNamespaces");
    add(TRUST_DOMAIN, "trustDomains", "notTrustDomains");
    add(REMOTE_IP, "remoteIpBlocks", "notRemoteIpBlocks");
    add(SOURCE_IP, "ipBlocks", "notIpBlocks");
    if (isEmpty(source)) this.#invalid(path, "it names nothing");
    return parts;
  }

  #aliased(given: Values): Values {
    const expand = (values: readonly string[] | undefined) =>
      values && expandTrustDomains(values, this.#options.trustDomains);
    return { ...given, values: expand(given.values), notValues: expand(given.notValues) };
  }

  /** A condition that cannot be evaluated: an ALLOW rule goes with it, a DENY or AUDIT rule goes without it. */
  #skip(): void {
    if (this.#allows) this.#dropped = true;
  }

  #invalid(path: Path, message: string): void {
    this.problem("invalid", path, message);
    this.#skip();
  }

  #add<T>(parts: T[], algebra: Algebra<T>, attribute: Attribute<T>, given: Values): void {
    const { values = [], notValues = [], valuesPath, notValuesPath } = given;
    if (values.length === 0 && notValues.length === 0) return;
    if (attribute.httpOnly && !this.#options.forHttp) return this.#skip();
    const path = values.length > 0 ? valuesPath : notValuesPath;
    if (attribute === SERVER_NAME && !this.#options.readsServerName) {
      this.#tellNameUnknown(path);
      return this.#skip();
    }
    if (attribute.unsupported !== undefined) this.problem("unsupported", path, attribute.unsupported);
    if (attribute.warning !== undefined) this.problem("warning", path, attribute.warning);
    const wanted = this.#nodes(attribute, values, valuesPath);
    if (wanted.length > 0) parts.push(algebra.or(wanted));
    const unwanted = this.#nodes(attribute, notValues, notValuesPath);
    if (unwanted.length > 0) parts.push(algebra.not(algebra.or(unwanted)));
  }

  #tellNameUnknown(path: Path): void {
    if (this.#elsewhere) return;
    const effect = this.#allows ? "the rule allows nothing" : "the rule applies whatever the server name is";
    const known = "which is known only on ports declared TLS or HTTPS";
    this.problem(
      "warning",
      path,
      `at ${this.#options.chain} no policy can ask for connection.sni, ${known}: ${effect}`,
    );
  }

  #nodes<T>(attribute: Attribute<T>, values: readonly string[], path: Path): T[] {
    const nodes: T[] = [];
    for (const [i, value] of values.entries()) {
      const node = value === "" ? new BadValue("an empty value") : attribute.make(value, this.#context);
      if (node instanceof BadValue) this.#invalid([...path, i], node.message);
      else nodes.push(node);
    }
    return nodes;
  }
}

function fieldsOf<K extends string>(
  object: { readonly [F in K]?: readonly string[] | undefined },
  field: K,
  notField: K,
  path: Path,
): Values {
  return {
    values: object[field],
    notValues: object[notField],
    valuesPath: [...path, field],
    notValuesPath: [...path, notField],
  };
}

function isEmpty(object: AuthorizationSource | AuthorizationOperation): boolean {
  return !Object.values(object).some((list: readonly string[] | undefined) => list?.length);
}

/**
 * The filters for the policies that target a chain, in the order LOG, DENY, ALLOW; a policy given twice counts once. Where the
 * problems are not empty the filters are never looser than the objects say, except for what is `unsupported`: under such a
 * policy nothing may pass. CUSTOM is unsupported, and its rules deny.
 */
export function authorizationToRbac(
  policies: readonly AuthorizationPolicy[],
  options: AuthorizationRbacOptions,
): ConvertedRbac {
  const problems: PolicyProblem[] = [];
  const enforced = new Map<RbacAction, Map<string, RbacPolicy>>();
  const shadow = new Map<RbacAction, Map<string, RbacPolicy>>();
  for (const policy of policies) {
    const conversion = new PolicyConversion(policy, options, problems);
    const { dryRun, unclear } = dryRunOf(policy);
    if (unclear) conversion.problem("warning", DRY_RUN_PATH, "neither true nor false: enforced");
    if (policy.spec.action === "CUSTOM") {
      conversion.problem("unsupported", ["spec", "action"], "external authorization is not supported");
    }
    const action = ACTIONS[policy.spec.action ?? "ALLOW"];
    const target = dryRun ? shadow : enforced;
    const rules = target.get(action) ?? new Map<string, RbacPolicy>();
    target.set(action, rules);
    for (const rule of conversion.rules()) rules.set(rule.name, rule);
  }
  const filters: Rbac[] = [];
  for (const action of ORDER) {
    const rules = enforced.get(action);
    const dry = shadow.get(action);
    if (rules === undefined && dry === undefined) continue;
    filters.push({ action, policies: rules && [...rules.values()], shadow: dry && [...dry.values()] });
  }
  return { filters, problems };
}
