/** Clusters of services: those that the waypoint serves, and those that its routes refer to (spec/waypoint.md §1.12). */
import type { LocalObject } from "../../config/objects/mod.ts";
import { type Service, serviceKey } from "../../mesh/service.ts";
import type { Workload } from "../../mesh/workload.ts";
import type { CircuitBreakers, Cluster, Keepalive, UpstreamTls } from "../snapshot/mod.ts";
import {
  type DestinationRules,
  loadBalancingOf,
  ms,
  retryBudgetOf,
  slowStartOf,
  type TrafficPolicy,
} from "./destination_rule.ts";
import { endpointsOf } from "./endpoints.ts";
import { type LocalInput, type Report, subject } from "./input.ts";
import { portsOf, type ServiceTable } from "./services.ts";

/** A cluster that is never there: what refers to it is answered by clusterNotFoundStatus. */
export const UNKNOWN_SERVICE = "UnknownService";

const CONNECT_TIMEOUT = 10_000; // ms, the mesh's default
const IDLE_TIMEOUT = 3_600_000; // ms, Envoy's default of HTTP connections
const OVERPROVISIONING = 140; // percent, Envoy's
const DNS_REFRESH = 60_000; // ms, the mesh's dnsRefreshRate
const UNLIMITED = 2 ** 32 - 1;

const NO_BREAKERS: CircuitBreakers = {
  maxConnections: UNLIMITED,
  maxPendingRequests: UNLIMITED,
  maxRequests: UNLIMITED,
  maxRetries: UNLIMITED,
  retryBudget: undefined,
};

const PLAIN: Omit<Cluster, "name" | "discovery" | "localities" | "protocol"> = {
  loadBalancing: { kind: "least-request", choices: 2 },
  slowStart: undefined,
  panicPercent: 0,
  localityWeighted: false,
  overprovisioningPercent: OVERPROVISIONING,
  connectTimeoutMs: CONNECT_TIMEOUT,
  breakers: NO_BREAKERS,
  outlier: undefined,
  keepalive: undefined,
  maxRequestsPerConnection: 0,
  idleTimeoutMs: IDLE_TIMEOUT,
  maxConnectionDurationMs: 0,
  tls: undefined,
  proxyProtocol: undefined,
  preserveHeaderCase: false,
  service: undefined,
  subset: undefined,
  source: "",
};

/** A cluster whose upstream is where the client wanted to go. */
export function originalDestination(name: string, hbone: boolean): Cluster {
  return {
    ...PLAIN,
    name,
    discovery: { kind: "original-destination", hbone },
    localities: [],
    protocol: "downstream",
  };
}

export type ClusterUse = "http" | "tcp";

export interface ClusterContext {
  readonly services: ServiceTable;
  readonly rules: DestinationRules;
  readonly input: LocalInput;
  readonly network: string;
  readonly preserveHeaderCase: boolean;
  /** The waypoint's own workload. */
  readonly self: Workload | undefined;
  readonly report: Report;
}

export class ClusterTable {
  readonly clusters: Record<string, Cluster> = {};
  readonly #services: ServiceTable;
  readonly #rules: DestinationRules;
  readonly #input: LocalInput;
  readonly #network: string;
  readonly #preserveHeaderCase: boolean;
  readonly #self: Workload | undefined;
  readonly #report: Report;

  constructor({ services, rules, input, network, preserveHeaderCase, self, report }: ClusterContext) {
    this.#services = services;
    this.#rules = rules;
    this.#input = input;
    this.#network = network;
    this.#preserveHeaderCase = preserveHeaderCase;
    this.#self = self;
    this.#report = report;
  }

  add(cluster: Cluster): void {
    this.clusters[cluster.name] = cluster;
  }

  /** The name of a service port's cluster, which is there then; undefined if the service has no such port. */
  use(service: Service, port: number, use: ClusterUse, subset?: string): string | undefined {
    if (!portsOf(service).includes(port) || this.#services.kind(service, port) === "udp") return undefined;
    const owned = this.#services.isOwned(service);
    const name = owned
      ? `inbound-vip|${port}|${use}${subset === undefined ? "" : `/${subset}`}|${service.hostname}`
      : `outbound|${port}|${subset ?? ""}|${service.hostname}`;
    this.clusters[name] ??= this.#build(name, service, port, use, subset);
    return name;
  }

  /** Clusters of the subsets of a service port, which only other control planes' routes name. */
  addSubsets(service: Service, port: number, use: ClusterUse): void {
    for (const { name } of this.#rules.subsetsOf(service)) this.use(service, port, use, name);
  }

  #build(name: string, service: Service, port: number, use: ClusterUse, subset: string | undefined): Cluster {
    const policy = this.#rules.policyOf(service, port, subset);
    const labels = this.#rules.subsetsOf(service).find((item) => item.name === subset)?.labels ?? {};
    const members = this.#services.members(service).filter(({ workload }) => {
      const own = this.#input.labels.get(workload.uid) ?? {};
      return Object.entries(labels).every(([key, value]) => own[key] === value);
    });
    const { localities, byName, skipped } = endpointsOf(service, port, members, this.#network, this.#self);
    for (const { uid, reason } of skipped) {
      const message = `workload ${uid} ${reason}: it gets nothing`;
      this.#report.warnText({ path: `service ${serviceKey(service)}`, message });
    }
    const inTunnels = members.some(({ workload }) => workload.protocol === "HBONE");
    this.#refusePassthrough(service, policy, inTunnels);
    const passthrough = policy.loadBalancer?.simple === "PASSTHROUGH" || service.loadBalancer?.mode === "Passthrough";
    const { tcp, http } = policy.connectionPool ?? {};
    const protocol = use === "tcp" ? "http1" : this.#protocol(service, port, policy);
    return {
      ...PLAIN,
      name,
      discovery: passthrough
        ? { kind: "original-destination", hbone: inTunnels }
        : byName
        ? { kind: "dns", logical: false, family: "auto", refreshMs: DNS_REFRESH, respectTtl: true }
        : { kind: "static" },
      localities: passthrough ? [] : localities,
      protocol,
      loadBalancing: loadBalancingOf(policy.loadBalancer),
      slowStart: slowStartOf(policy.loadBalancer),
      connectTimeoutMs: tcp?.connectTimeout === undefined ? CONNECT_TIMEOUT : ms(tcp.connectTimeout),
      breakers: { ...NO_BREAKERS, retryBudget: retryBudgetOf(policy.retryBudget) },
      keepalive: keepaliveOf(tcp?.tcpKeepalive),
      maxRequestsPerConnection: http?.maxRequestsPerConnection ?? 0,
      idleTimeoutMs: http?.idleTimeout === undefined ? IDLE_TIMEOUT : ms(http.idleTimeout),
      maxConnectionDurationMs: tcp?.maxConnectionDuration === undefined ? 0 : ms(tcp.maxConnectionDuration),
      tls: this.#tls(policy, protocol),
      proxyProtocol: policy.proxyProtocol === undefined ? undefined : policy.proxyProtocol.version ?? "V1",
      preserveHeaderCase: this.#preserveHeaderCase,
      service: { host: service.hostname, name: service.name, namespace: service.namespace },
      subset,
      source: policy.rule === undefined ? "" : subject(policy.rule),
    };
  }

  /** Requests are for the service's virtual address: nobody ends a tunnel there. */
  #refusePassthrough(service: Service, policy: TrafficPolicy, inTunnels: boolean): void {
    if (!inTunnels || service.vips.length === 0) return;
    if (policy.rule === undefined || policy.loadBalancer?.simple !== "PASSTHROUGH") return;
    this.#report.error(
      policy.rule,
      [...policy.loadBalancerPath, "simple"],
      `PASSTHROUGH sends requests on to the address they were for, and no tunnel leads to the virtual address of ` +
        `${service.hostname}: choose another load balancer`,
    );
  }

  #protocol(service: Service, port: number, { connectionPool }: TrafficPolicy): Cluster["protocol"] {
    const declared = this.#services.protocol(service, port);
    if (connectionPool?.http?.useClientProtocol === true) return "downstream";
    if (declared === "HTTP2" || declared === "GRPC" || connectionPool?.http?.h2UpgradePolicy === "UPGRADE") {
      return "http2";
    }
    return declared === undefined ? "downstream" : "http1";
  }

  #tls({ tls, tlsPath, rule }: TrafficPolicy, protocol: Cluster["protocol"]): UpstreamTls | undefined {
    // ISTIO_MUTUAL is what the tunnel is already.
    if (rule === undefined || tls?.mode !== "SIMPLE" && tls?.mode !== "MUTUAL") return undefined;
    const read = (field: "caCertificates" | "clientCertificate" | "privateKey") =>
      this.#read(rule, [...tlsPath, field], tls[field]);
    const roots = read("caCertificates");
    const [chainPem, keyPem] = tls.mode === "MUTUAL" ? [read("clientCertificate"), read("privateKey")] : [];
    return {
      sni: tls.sni,
      autoSni: tls.sni === undefined,
      subjectAltNames: tls.subjectAltNames ?? [],
      roots: tls.insecureSkipVerify === true ? undefined : roots ?? "system",
      certificate: chainPem === undefined || keyPem === undefined ? undefined : { chainPem, keyPem },
      alpn: protocol === "http2" ? ["h2"] : [],
    };
  }

  #read(rule: LocalObject, path: readonly (string | number)[], file: string | undefined): string | undefined {
    if (file === undefined || file === "system") return undefined;
    try {
      return this.#input.readText(file);
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code ?? String(error);
      this.#report.error(rule, path, `cannot read ${file}: ${code}`);
      return undefined;
    }
  }
}

function keepaliveOf(
  yaml: { probes?: number | undefined; time?: string | undefined; interval?: string | undefined } | undefined,
): Keepalive | undefined {
  if (yaml === undefined) return undefined;
  // Linux' defaults for what is not said.
  return {
    timeMs: yaml.time === undefined ? 7_200_000 : ms(yaml.time),
    intervalMs: yaml.interval === undefined ? 75_000 : ms(yaml.interval),
    probes: yaml.probes ?? 9,
  };
}
