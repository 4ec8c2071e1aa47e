/** Local objects and mesh records compiled to a waypoint's snapshot. Pure but for the certificate files it is given. */
import type { DocumentError, DocumentWarning } from "../../config/local_document.ts";
import type { LocalObject } from "../../config/objects/mod.ts";
import { type Service, serviceKey } from "../../mesh/service.ts";
import type { Workload } from "../../mesh/workload.ts";
import type {
  Chain,
  ChainChoice,
  DestinationMatch,
  HttpChain,
  HttpOptions,
  TcpChain,
  WaypointSnapshot,
} from "../snapshot/mod.ts";
import { AuthorizationTable } from "./authorization.ts";
import { Backends } from "./backends.ts";
import { ClusterTable, originalDestination } from "./clusters.ts";
import { DestinationRules, ms } from "./destination_rule.ts";
import { hostPort } from "./endpoints.ts";
import { chooseGateway, OwnGateway } from "./gateway.ts";
import { defaultRoute, HttpRoutes, routeConfiguration } from "./http_routes.ts";
import { type LocalInput, Report } from "./input.ts";
import type { WaypointOptions } from "./options.ts";
import { Attachments, type RouteKind } from "./parents.ts";
import { portsOf, ServiceTable } from "./services.ts";
import { checkTargets } from "./targets.ts";
import { TelemetryTable } from "./telemetry.ts";

export type WaypointResult =
  | { readonly ok: true; readonly snapshot: WaypointSnapshot; readonly warnings: readonly DocumentWarning[] }
  | { readonly ok: false; readonly errors: readonly DocumentError[] };

const XFCC_IDENTITY = "ambient.istio.io/xfcc-include-client-identity";
const HOUR = 3_600_000; // ms, Envoy's default idle time of connections of either kind
const ENCAP = "encap";
const ENCAP_PLAIN = "encap-plain";
const DIRECT = { chain: "addresses of workloads", port: undefined };
/** What policies may ask of each kind of chain. */
const HTTP = { forHttp: true, readsServerName: false };
const BYTES = { forHttp: false, readsServerName: false };
const TLS = { forHttp: false, readsServerName: true };

/** What istiod sets for a waypoint (spec/waypoint.md §1.7). */
function httpOptions(gateway: OwnGateway, options: WaypointOptions): HttpOptions {
  const { annotations, spec } = gateway.object;
  return {
    serverName: "istio-envoy",
    serverHeader: "overwrite",
    acceptHttp10: options.acceptHttp10 ?? false,
    preserveHeaderCase: options.preserveHeaderCase ?? false,
    normalizePath: true,
    mergeSlashes: false,
    escapedSlashes: "keep",
    generateRequestId: true,
    suppressEnvoyHeaders: false,
    proxy100Continue: false,
    forwardClientIdentity: (annotations[XFCC_IDENTITY] ?? spec.infrastructure?.annotations?.[XFCC_IDENTITY]) === "true",
    upgrades: ["websocket"],
    idleTimeoutMs: HOUR,
    streamIdleTimeoutMs: 0,
    requestTimeoutMs: 0,
    requestHeadersTimeoutMs: 0,
    maxStreamDurationMs: 0,
    maxRequestHeaderBytes: 61_440,
    maxHeaderCount: 100,
  };
}

/** The snapshot of one Gateway, or everything that is wrong with the objects. */
export function compileWaypoint(input: LocalInput, options: WaypointOptions): WaypointResult {
  const report = new Report();
  const chosen = chooseGateway(input, options, report);
  if (chosen === undefined) return { ok: false, errors: report.errors };
  const compiler = new Compiler(input, options, chosen, report);
  const snapshot = compiler.compile();
  return report.errors.length > 0
    ? { ok: false, errors: report.errors }
    : { ok: true, snapshot, warnings: report.warnings };
}

class Compiler {
  readonly #report: Report;
  readonly #network: string;
  readonly #gateway: OwnGateway;
  readonly #owned: readonly Service[];
  readonly #workloads: readonly Workload[];
  readonly #services: ServiceTable;
  readonly #rules: DestinationRules;
  readonly #clusters: ClusterTable;
  readonly #backends: Backends;
  readonly #routes: HttpRoutes;
  readonly #tcp: Attachments<"TCPRoute">;
  /** Routes of all kinds. */
  readonly #attachments: readonly Pick<Attachments<RouteKind>, "of">[];
  readonly #attached = new Set<LocalObject>();
  readonly #authorization: AuthorizationTable;
  readonly #telemetry: TelemetryTable;
  readonly #options: HttpOptions;
  readonly #chains: Record<string, Chain> = {};
  readonly #destinations: DestinationMatch[] = [];
  readonly #authorities: Record<string, ChainChoice> = {};
  /** Which service has a virtual address or range already. */
  readonly #taken = new Map<string, string>();

  constructor(input: LocalInput, options: WaypointOptions, chosen: LocalObject<"Gateway">, report: Report) {
    const { objects } = input;
    this.#report = report;
    this.#network = options.network;
    this.#gateway = new OwnGateway(chosen, input, options, report);
    this.#owned = this.#gateway.services(input, report);
    this.#workloads = this.#gateway.workloads(input, report);
    if (this.#owned.length === 0 && this.#workloads.length === 0) {
      report.warn(chosen, ["metadata", "name"], "no service or workload goes through this waypoint: it serves nothing");
    }
    this.#services = new ServiceTable(input, this.#owned);
    const namespaces = {
      waypoint: this.#gateway.namespace,
      root: options.rootNamespace,
      clusterDomain: options.clusterDomain,
    };
    this.#rules = new DestinationRules(objects.DestinationRule, input.mesh.services, namespaces, report);
    this.#clusters = new ClusterTable({
      services: this.#services,
      rules: this.#rules,
      input,
      network: options.network,
      preserveHeaderCase: options.preserveHeaderCase ?? false,
      self: this.#gateway.self(input, options.address, report),
      report,
    });
    this.#backends = new Backends(this.#services, this.#clusters, objects.ReferenceGrant, report);
    const http = new Attachments(objects.HTTPRoute, this.#services, report);
    const grpc = new Attachments(objects.GRPCRoute, this.#services, report);
    this.#tcp = new Attachments(objects.TCPRoute, this.#services, report);
    this.#attachments = [http, grpc, this.#tcp];
    this.#routes = new HttpRoutes({
      http,
      grpc,
      backends: this.#backends,
      rules: this.#rules,
      report,
    });
    for (const object of [...objects.AuthorizationPolicy, ...objects.Telemetry]) {
      checkTargets(object, this.#gateway, objects.Gateway, this.#services, options.rootNamespace, report);
    }
    this.#authorization = new AuthorizationTable(objects.AuthorizationPolicy, this.#gateway, options, report);
    this.#telemetry = new TelemetryTable(objects.Telemetry, this.#gateway, options, report);
    this.#options = httpOptions(this.#gateway, options);
  }

  compile(): WaypointSnapshot {
    for (const service of this.#owned) this.#addService(service);
    this.#addWorkloads();
    return {
      gateway: { namespace: this.#gateway.namespace, name: this.#gateway.name },
      contents: {
        services: this.#owned.length,
        routes: this.#attached.size,
        policies: this.#authorization.used,
      },
      matcher: { authorities: this.#authorities, destinations: this.#destinations },
      chains: this.#chains,
      clusters: this.#clusters.clusters,
    };
  }

  #addService(service: Service): void {
    const ports: Record<string, ChainChoice> = {};
    for (const port of portsOf(service)) {
      const choice = this.#addPort(service, port);
      if (choice === undefined) continue;
      ports[String(port)] = choice;
      this.#authorities[hostPort(service.hostname, port)] = choice;
    }
    const cidrs = [
      ...service.vips.filter(({ network }) => network === this.#network).map(({ ip }) => singleAddress(ip)),
      ...service.cidrVips.filter(({ network }) => network === this.#network).map(({ cidr }) => cidr),
    ].filter((cidr) => this.#take(cidr, service));
    if (cidrs.length > 0) this.#destinations.push({ cidrs, ports, any: undefined });
  }

  /** A virtual address is one service's: the first that has it. */
  #take(cidr: string, service: Service): boolean {
    const owner = this.#taken.get(cidr);
    if (owner === undefined) {
      this.#taken.set(cidr, serviceKey(service));
      return true;
    }
    const message = `${cidr} is ${owner}'s already: traffic to it goes there`;
    this.#report.warnText({ path: `service ${serviceKey(service)}`, message });
    return false;
  }

  #addPort(service: Service, port: number): ChainChoice | undefined {
    for (const attachments of this.#attachments) {
      for (const route of attachments.of(service, port)) this.#attached.add(route);
    }
    switch (this.#services.kind(service, port)) {
      case "udp":
        return undefined;
      case "http":
        return { kind: "chain", chain: this.#addHttp(service, port) };
      case "tcp":
        return { kind: "chain", chain: this.#addTcp(service, port) };
      case "undeclared":
        return this.#sniff(this.#addHttp(service, port), this.#addTcp(service, port));
    }
  }

  #sniff(http: string, tcp: string): ChainChoice {
    return { kind: "sniff", http, tcp, http10: this.#options.acceptHttp10 };
  }

  /** Chains have the names of their clusters. */
  #addHttp(service: Service, port: number): string {
    const name = this.#clusters.use(service, port, "http") as string;
    this.#clusters.addSubsets(service, port, "http");
    const routes = this.#routes.of(service, port, name);
    this.#chains[name] = {
      kind: "http",
      name,
      service: { host: service.hostname, name: service.name, namespace: service.namespace },
      authorization: this.#authorization.of(service, { ...HTTP, ...placeOf(service, port) }),
      unsupported: [],
      telemetry: this.#telemetry.of(service),
      options: this.#options,
      routes: routeConfiguration(name, `inbound|http|${port}`, routes),
    } satisfies HttpChain;
    return name;
  }

  #addTcp(service: Service, port: number): string {
    const name = this.#clusters.use(service, port, "tcp") as string;
    this.#clusters.addSubsets(service, port, "tcp");
    const { loadBalancer, connectionPool } = this.#rules.policyOf(service, port);
    const { idleTimeout, maxConnectionDuration } = connectionPool?.tcp ?? {};
    const inspectTls = this.#services.carriesTls(service, port);
    this.#chains[name] = {
      kind: "tcp",
      inspectTls,
      name,
      service: { host: service.hostname, name: service.name, namespace: service.namespace },
      authorization: this.#authorization.of(service, { ...inspectTls ? TLS : BYTES, ...placeOf(service, port) }),
      unsupported: [],
      telemetry: this.#telemetry.of(service),
      clusters: this.#tcpClusters(service, port) ?? [{ cluster: name, weight: 1 }],
      idleTimeoutMs: idleTimeout === undefined ? HOUR : ms(idleTimeout),
      maxConnectionDurationMs: maxConnectionDuration === undefined ? 0 : ms(maxConnectionDuration),
      hashSourceIp: loadBalancer?.consistentHash?.useSourceIp === true,
    } satisfies TcpChain;
    return name;
  }

  /** Backends of the oldest TCPRoute's first rule: nothing of a connection could tell another rule apart. */
  #tcpClusters(service: Service, port: number): TcpChain["clusters"] | undefined {
    let clusters: { cluster: string; weight: number }[] | undefined;
    for (const route of this.#tcp.of(service, port)) {
      if (route.namespace !== service.namespace) {
        this.#report.error(route, ["spec", "parentRefs"], "a TCPRoute of a client's namespace is not in this version");
        continue;
      }
      for (const [i, { backendRefs }] of route.spec.rules.entries()) {
        const path = ["spec", "rules", i];
        if (clusters !== undefined) {
          this.#report.warn(
            route,
            path,
            `an earlier rule takes all connections of ${hostPort(service.hostname, port)}`,
          );
          continue;
        }
        clusters = [];
        for (const [j, reference] of (backendRefs ?? []).entries()) {
          const { cluster } = this.#backends.resolve(route, [...path, "backendRefs", j], reference, "tcp");
          const weight = reference.weight ?? 1;
          if (weight > 0) clusters.push({ cluster, weight });
        }
      }
    }
    return clusters;
  }

  /** Workloads by address: only policies of the Gateway, no routes (spec/waypoint.md §1.6). */
  #addWorkloads(): void {
    for (const hbone of [true, false]) {
      const cidrs = this.#workloads
        .filter(({ protocol, network }) => (protocol === "HBONE") === hbone && network === this.#network)
        .flatMap(({ addresses }) => addresses.map(singleAddress));
      if (cidrs.length === 0) continue;
      const cluster = hbone ? ENCAP : ENCAP_PLAIN;
      const suffix = hbone ? "" : "-plain";
      this.#clusters.add({
        ...originalDestination(cluster, hbone),
        preserveHeaderCase: this.#options.preserveHeaderCase,
      });
      this.#destinations.push({
        cidrs,
        ports: {},
        any: this.#sniff(`direct-http${suffix}`, `direct-tcp${suffix}`),
      });
      this.#addDirect(suffix, cluster);
    }
  }

  #addDirect(suffix: string, cluster: string): void {
    const common = { service: undefined, unsupported: [], telemetry: this.#telemetry.of(undefined) };
    const http = `direct-http${suffix}`;
    const tcp = `direct-tcp${suffix}`;
    this.#chains[http] = {
      ...common,
      kind: "http",
      name: http,
      authorization: this.#authorization.of(undefined, { ...HTTP, ...DIRECT }),
      options: this.#options,
      routes: routeConfiguration(http, "inbound|http|0", [defaultRoute(cluster, cluster, [])]),
    };
    this.#chains[tcp] = {
      ...common,
      kind: "tcp",
      inspectTls: false,
      name: tcp,
      authorization: this.#authorization.of(undefined, { ...BYTES, ...DIRECT }),
      clusters: [{ cluster, weight: 1 }],
      idleTimeoutMs: HOUR,
      maxConnectionDurationMs: 0,
      hashSourceIp: false,
    };
  }
}

function placeOf(service: Service, port: number): { readonly chain: string; readonly port: number } {
  return { chain: `port ${port} of service ${serviceKey(service)}`, port };
}

function singleAddress(ip: string): string {
  return `${ip}/${ip.includes(":") ? 128 : 32}`;
}
