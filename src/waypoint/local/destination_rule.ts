/** Which DestinationRule shapes a cluster, and what of it holds for a port and a subset (spec/waypoint.md §1.15). */
import type {
  ConsistentHashYaml,
  LoadBalancerYaml,
  LocalObject,
  TrafficPolicyYaml,
  ValuePath,
} from "../../config/objects/mod.ts";
import { parseDuration } from "../../config/objects/duration.ts";
import type { Service } from "../../mesh/service.ts";
import type { CircuitBreakers, HashPolicy, LoadBalancing, SlowStart } from "../snapshot/mod.ts";
import { type Report, subject } from "./input.ts";

type Rule = LocalObject<"DestinationRule">;

/** What holds for one cluster. */
export interface TrafficPolicy
  extends Pick<TrafficPolicyYaml, "loadBalancer" | "connectionPool" | "proxyProtocol" | "retryBudget"> {
  readonly tls: TrafficPolicyYaml["tls"];
  readonly rule: Rule | undefined;
  /** Where `tls` is written in the rule. */
  readonly tlsPath: ValuePath;
  readonly loadBalancerPath: ValuePath;
}

const NONE: TrafficPolicy = {
  loadBalancer: undefined,
  connectionPool: undefined,
  proxyProtocol: undefined,
  retryBudget: undefined,
  tls: undefined,
  rule: undefined,
  tlsPath: [],
  loadBalancerPath: [],
};

export interface RuleNamespaces {
  readonly waypoint: string;
  readonly root: string;
  readonly clusterDomain: string;
}

export class DestinationRules {
  /** By namespace, then host. */
  readonly #byHost = new Map<string, Map<string, Rule>>();
  readonly #namespaces: RuleNamespaces;

  constructor(rules: readonly Rule[], services: readonly Service[], namespaces: RuleNamespaces, report: Report) {
    this.#namespaces = namespaces;
    const hosts = services.map(({ hostname }) => hostname);
    for (const rule of rules) {
      const host = this.#hostOf(rule);
      let known = this.#byHost.get(rule.namespace);
      if (known === undefined) this.#byHost.set(rule.namespace, known = new Map());
      const before = known.get(host);
      if (before !== undefined) {
        report.error(rule, ["spec", "host"], `${subject(before)} is for ${host} too: make them one`);
        continue;
      }
      known.set(host, rule);
      if (!hosts.some((name) => covers(host, name))) {
        report.warn(rule, ["spec", "host"], `no service of the mesh documents is called ${host}`);
      }
    }
  }

  /** A name without dots is short for a service of the rule's namespace. */
  #hostOf({ namespace, spec: { host } }: Rule): string {
    return host.includes(".") || host.includes("*")
      ? host.toLowerCase()
      : `${host}.${namespace}.svc.${this.#namespaces.clusterDomain}`;
  }

  /** The waypoint is the client: its namespace first, then the service's, then the mesh's. */
  ruleOf(service: Service): Rule | undefined {
    const { waypoint, root } = this.#namespaces;
    for (const namespace of [waypoint, service.namespace, root]) {
      const rule = this.#inNamespace(namespace, service.hostname);
      if (rule !== undefined) return rule;
    }
    return undefined;
  }

  /** The exact host, else the longest wildcard. */
  #inNamespace(namespace: string, hostname: string): Rule | undefined {
    const rules = this.#byHost.get(namespace);
    if (rules === undefined) return undefined;
    const exact = rules.get(hostname);
    if (exact !== undefined && this.#isVisible(exact)) return exact;
    let best: Rule | undefined;
    let length = -1;
    for (const [host, rule] of rules) {
      if (!host.startsWith("*") || host.length <= length || !covers(host, hostname) || !this.#isVisible(rule)) continue;
      best = rule;
      length = host.length;
    }
    return best;
  }

  #isVisible({ namespace, spec: { exportTo } }: Rule): boolean {
    const { waypoint } = this.#namespaces;
    if (namespace === waypoint || exportTo === undefined || exportTo.length === 0) return true;
    return exportTo.includes("*") || exportTo.includes(waypoint);
  }

  subsetsOf(service: Service): { readonly name: string; readonly labels: Readonly<Record<string, string>> }[] {
    return (this.ruleOf(service)?.spec.subsets ?? []).map(({ name, labels }) => ({ name, labels: labels ?? {} }));
  }

  /**
   * A subset's policy replaces fields of the rule's; settings of a port then replace load balancer, connection pool and
   * TLS as a whole, also by their absence.
   */
  policyOf(service: Service, port: number, subset?: string): TrafficPolicy {
    const rule = this.ruleOf(service);
    if (rule === undefined) return NONE;
    const at = subset === undefined ? -1 : (rule.spec.subsets ?? []).findIndex(({ name }) => name === subset);
    const base: Layer = { policy: rule.spec.trafficPolicy, path: ["spec", "trafficPolicy"] };
    const own: Layer = {
      policy: rule.spec.subsets?.[at]?.trafficPolicy,
      path: ["spec", "subsets", at, "trafficPolicy"],
    };
    let merged: TrafficPolicy = {
      loadBalancer: own.policy?.loadBalancer ?? base.policy?.loadBalancer,
      connectionPool: own.policy?.connectionPool ?? base.policy?.connectionPool,
      proxyProtocol: own.policy?.proxyProtocol ?? base.policy?.proxyProtocol,
      retryBudget: own.policy?.retryBudget ?? base.policy?.retryBudget,
      tls: own.policy?.tls ?? base.policy?.tls,
      rule,
      tlsPath: [...(own.policy?.tls === undefined ? base : own).path, "tls"],
      loadBalancerPath: [...(own.policy?.loadBalancer === undefined ? base : own).path, "loadBalancer"],
    };
    const layer = own.policy?.portLevelSettings === undefined ? base : own;
    const settings = layer.policy?.portLevelSettings ?? [];
    const index = settings.findIndex((setting) => setting.port.number === port);
    const setting = settings[index];
    if (setting !== undefined) {
      const { loadBalancer, connectionPool, tls } = setting;
      merged = {
        ...merged,
        loadBalancer,
        connectionPool,
        tls,
        tlsPath: [...layer.path, "portLevelSettings", index, "tls"],
        loadBalancerPath: [...layer.path, "portLevelSettings", index, "loadBalancer"],
      };
    }
    return merged;
  }
}

interface Layer {
  readonly policy: TrafficPolicyYaml | undefined;
  readonly path: ValuePath;
}

/** Whether a host of a rule (`*`, `*.suffix` or a name) is that of a service. */
function covers(host: string, hostname: string): boolean {
  return host.startsWith("*") ? hostname.endsWith(host.slice(1)) : host === hostname;
}

/** ms of a duration that has been validated. */
export function ms(text: string): number {
  const value = parseDuration(text);
  if (value === undefined) throw new Error(`a duration passed validation that cannot be read: ${text}`);
  return value;
}

const LEAST_REQUEST: LoadBalancing = { kind: "least-request", choices: 2 };
const MINIMUM_RING = 1024;
const MAXIMUM_RING = 8 << 20;
const MAGLEV_TABLE = 65537;

export function loadBalancingOf(yaml: LoadBalancerYaml | undefined): LoadBalancing {
  const hash = yaml?.consistentHash;
  if (hash?.maglev !== undefined) return { kind: "maglev", tableSize: hash.maglev.tableSize ?? MAGLEV_TABLE };
  if (hash !== undefined) {
    const minimumSize = hash.ringHash?.minimumRingSize ?? (hash.minimumRingSize || MINIMUM_RING);
    return { kind: "ring-hash", minimumSize, maximumSize: MAXIMUM_RING };
  }
  switch (yaml?.simple) {
    case "ROUND_ROBIN":
      return { kind: "round-robin" };
    case "RANDOM":
      return { kind: "random" };
    default:
      return LEAST_REQUEST;
  }
}

export function slowStartOf(yaml: LoadBalancerYaml | undefined): SlowStart | undefined {
  const { warmup, warmupDurationSecs } = yaml ?? {};
  const window = warmup?.duration ?? warmupDurationSecs;
  if (window === undefined) return undefined;
  return {
    windowMs: ms(window),
    aggression: warmup?.aggression ?? 1,
    minWeightPercent: warmup?.minimumPercent ?? 10,
  };
}

/** Istio's defaults for what is not said. */
export function retryBudgetOf(yaml: TrafficPolicyYaml["retryBudget"]): CircuitBreakers["retryBudget"] {
  if (yaml === undefined) return undefined;
  return { percent: yaml.percent ?? 20, minConcurrency: yaml.minRetryConcurrency ?? 3 };
}

/** What requests are spread by; empty without consistentHash. */
export function hashPoliciesOf(hash: ConsistentHashYaml | undefined): HashPolicy[] {
  if (hash === undefined) return [];
  const terminal = false;
  if (hash.httpHeaderName !== undefined) return [{ kind: "header", name: hash.httpHeaderName.toLowerCase(), terminal }];
  if (hash.httpQueryParameterName !== undefined) {
    return [{ kind: "query", name: hash.httpQueryParameterName, terminal }];
  }
  if (hash.useSourceIp === true) return [{ kind: "source-ip", terminal }];
  const { name, path, ttl, attributes } = hash.httpCookie ?? { name: "" };
  return [{
    kind: "cookie",
    name,
    ttlMs: ttl === undefined ? undefined : ms(ttl),
    path: path ?? "",
    attributes: (attributes ?? []).map((attribute) => [attribute.name, attribute.value ?? ""] as const),
    terminal,
  }];
}
