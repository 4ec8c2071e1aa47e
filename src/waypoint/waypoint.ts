/** The process in waypoint mode: everything that lives as long as it does. */
import { networkInterfaces } from "node:os";
import process from "node:process";
import { type AdminServers, startAdmin } from "../admin/mod.ts";
import { buildInfo } from "../cli/mod.ts";
import { dumpWaypointConfig, type LocalDocument, type LocalSource, type WaypointConfig } from "../config/mod.ts";
import { HboneServer, Pool, tunnelDialer } from "../hbone/mod.ts";
import { formatIdentity } from "../identity/mod.ts";
import { releaseStartupCode } from "../linux/mod.ts";
import { MeshState } from "../mesh/mod.ts";
import { canonicalIp, formatAddress, isLoopback } from "../net/address.ts";
import { CONNECT_TIMEOUT_MS } from "../net/tcp.ts";
import {
  Credentials,
  dumpControlPlane,
  followLocalState,
  onStopSignal,
  openListener,
  socketAddresses,
  startLog,
  surviveBugs,
} from "../process/mod.ts";
import { log, MetricRegistry, Readiness, registerBuildMetric, registerProcessMetrics } from "../telemetry/mod.ts";
import { ClusterSet } from "./cluster/mod.ts";
import { Configuration } from "./configuration.ts";
import { dumpWaypoint } from "./dump.ts";
import { Listener } from "./listener.ts";
import { WaypointPlane } from "./plane.ts";
import type { WaypointSnapshot } from "./snapshot/mod.ts";
import { reviewPools, Targets } from "./targets.ts";
import { registerDryRunMetrics, RequestMetrics, systemOutputs } from "./telemetry/mod.ts";
import { Connector, UpstreamPools } from "./upstream/mod.ts";

const scope = log.scope("waypoint::app");
/** By now what ran only for the start need not stay in memory, ms. */
const STARTUP_MS = 2_000;
/**
 * How long requests that had begun when the drain was over may take yet, ms; mostly it takes the second that peers get to
 * hear of it.
 */
const LAST_REQUESTS_MS = 2_000;
/** Accept queue of the HBONE listener. */
const BACKLOG = 4096;
/** Streams of one tunnel to an endpoint; the endpoint's own limit is mostly lower. */
const UPSTREAM_STREAMS = 1000;
/** Where Istio has its mesh-wide objects. */
const ROOT_NAMESPACE = "istio-system";

/** Runs waypoint mode until it is told to stop; the exit code. Throws what must not be survived at start. */
export async function runWaypoint(config: WaypointConfig): Promise<number> {
  startLog(config, scope, dumpWaypointConfig(config));
  surviveBugs(scope);
  try {
    return await new Waypoint(config).run();
  } finally {
    log.flush(); // what comes next on standard error is the last word
  }
}

/** What depends on who we are, which the first configuration may say. */
interface Serving {
  readonly plane: WaypointPlane;
  readonly listener: Listener;
  readonly server: HboneServer;
  readonly tunnels: Pool;
  readonly pools: UpstreamPools;
}

class Waypoint {
  readonly #config: WaypointConfig;
  readonly #registry = new MetricRegistry();
  readonly #readiness = new Readiness();
  readonly #credentials: Credentials;
  readonly #metrics: RequestMetrics;
  readonly #stopping = Promise.withResolvers<void>();
  #mesh = MeshState.empty();
  #admin: AdminServers | undefined = undefined;
  #source: LocalSource | undefined = undefined;
  #serving: Serving | undefined = undefined;
  #draining = false;

  constructor(config: WaypointConfig) {
    this.#config = config;
    this.#credentials = new Credentials({
      settings: config,
      trustDomain: config.trustDomain,
      impersonate: false,
      registry: this.#registry,
      logs: { identity: log.scope("waypoint::identity"), tls: log.scope("waypoint::tls") },
    });
    registerProcessMetrics(this.#registry);
    registerBuildMetric(this.#registry, "proxy", config.istioVersion);
    this.#metrics = new RequestMetrics(this.#registry, (ip) => this.#mesh.workloadByAddress(config.network, ip));
  }

  async run(): Promise<number> {
    const config = this.#config;
    const state = this.#readiness.task("configuration");
    const certificate = this.#readiness.task("certificate");
    const listening = this.#readiness.task("listener");
    this.#admin = startAdmin({
      mode: "waypoint",
      readinessAddresses: socketAddresses(config.readinessAddress),
      adminAddresses: socketAddresses(config.adminAddress),
      statsAddresses: [...socketAddresses(config.statsAddress), ...socketAddresses(config.prometheusAddress)],
      readiness: this.#readiness,
      registry: this.#registry,
      logger: log,
      build: buildInfo(),
      controlPlane: () => dumpControlPlane(undefined, this.#credentials.trust.status()),
      configDump: () => dumpWaypoint(config, this.#mesh, this.#credentials.certificates, this.#serving?.plane),
      shutdown: () => this.#stopping.resolve(),
      drain: () => {
        if (this.#serving !== undefined) this.#drain(this.#serving);
      },
      quit: () => {
        scope.info("shutdown without a drain: asked by /quitquitquit");
        log.flush();
        process.exit(0);
      },
    });
    onStopSignal(() => this.#stopping.resolve(), true);
    await this.#credentials.start(() => {
      this.#serving?.server.retire();
      this.#serving?.tunnels.closeDestinations(() => true);
    });
    const { clusterDomain, network, gateway, localState } = config;
    const { acceptHttp10, preserveHeaderCase, accessLog, accessLogFormat } = config;
    const waypoint = {
      gateway,
      clusterDomain,
      trustDomains: [config.trustDomain],
      network,
      address: config.instanceIp,
      rootNamespace: ROOT_NAMESPACE,
      accessLog,
      accessLogFormat,
      acceptHttp10,
      preserveHeaderCase,
    };
    this.#source = await followLocalState(localState, { waypoint }, log.scope("waypoint::state"), this.#registry, {
      replace: (document, snapshot) => this.#replace(document, snapshot),
    });
    state.ready();
    listening.ready();
    const serving = this.#serving as Serving;
    // Not waited for: the CA may come up after us, and is asked until it does; a stop signal must be heard meanwhile.
    const { identity } = serving.plane;
    const { certificates } = this.#credentials;
    certificates.onChange((changed) => {
      if (changed === identity) certificate.ready();
    });
    certificates.get(identity, "realtime").catch(() => {}); // the cache tells why

    const started = setTimeout(releaseStartupCode, STARTUP_MS);
    await this.#stopping.promise;
    clearTimeout(started);
    return await this.#shutDown(serving);
  }

  #replace(document: LocalDocument, snapshot: WaypointSnapshot | undefined): readonly string[] {
    if (snapshot === undefined) throw new Error("local state was read without the waypoint's part");
    const result = Configuration.compile(snapshot, this.#serving?.plane.configuration, {
      outputs: systemOutputs,
      metrics: this.#metrics,
      unsupportedFilter: this.#config.unsupportedFilter,
    });
    if (!result.ok) return result.errors;
    for (const problem of result.configuration.problems) log.scope("waypoint::state").warn(problem);
    const { plane, listener } = this.#serving ??= this.#serve(snapshot);
    // Clusters are there before the routes that lead to them, and go after them.
    this.#mesh = MeshState.fromDocument(document, undefined);
    plane.clusters.update({ ...plane.configuration?.snapshot.clusters, ...snapshot.clusters });
    plane.configuration = result.configuration;
    plane.clusters.update(snapshot.clusters);
    listener.reconfigured(result.configuration);
    return [];
  }

  /** Opens the listener; identity and the rest stay as they are from here on. */
  #serve(snapshot: WaypointSnapshot): Serving {
    const config = this.#config;
    const { namespace, name } = snapshot.gateway;
    const identity = formatIdentity({
      trustDomain: config.trustDomain,
      namespace: config.namespace ?? namespace,
      serviceAccount: config.serviceAccount ?? name,
    });
    const addresses = ownAddresses();
    if (config.instanceIp !== undefined) addresses.add(canonicalIp(config.instanceIp) ?? config.instanceIp);
    const ownIp = config.instanceIp ?? [...addresses].find((ip) => !isLoopback(ip)) ?? "127.0.0.1";
    const tlsPolicy = { tls12: config.tls12, pqc: config.pqc };
    const { streamWindow, connectionWindow, frameSize, maxStreams } = config;
    const settings = { streamWindow, connectionWindow, frameSize, maxStreams };
    const { keepaliveEnabled, keepaliveTime, keepaliveInterval, keepaliveRetries, userTimeoutEnabled } = config.socket;
    const dialOptions = {
      ...(keepaliveEnabled
        ? { keepAlive: { timeMs: keepaliveTime, intervalMs: keepaliveInterval, retries: keepaliveRetries } }
        : {}),
      ...(userTimeoutEnabled ? { userTimeoutMs: keepaliveTime + keepaliveRetries * keepaliveInterval } : {}),
    };
    const { certificates, trust } = this.#credentials;
    const dialTunnel = tunnelDialer({ certificates, tlsPolicy, settings, trust });
    const tunnels = new Pool({
      maxStreamsPerConnection: UPSTREAM_STREAMS,
      unusedReleaseTimeout: config.hboneIdleTimeout,
      waitTimeout: CONNECT_TIMEOUT_MS,
    }, (target, owner, done, failed) => dialTunnel(target, dialOptions, owner, done, failed));
    const connector = new Connector({ tunnels, sourceIdentity: identity, sourceIp: ownIp, dialOptions });
    const pools = new UpstreamPools(connector);
    const targets = new Targets({ trustDomainPrefix: `spiffe://${config.trustDomain}/`, ownAddresses: addresses });
    const clusters = new ClusterSet({
      hostRemoved: (host, { cluster }) => pools.drain(cluster.name, host.key),
      clusterChanged: (balanced) => reviewPools(balanced, targets, pools),
    });
    const plane = new WaypointPlane({
      identity,
      ownIp,
      ownAddresses: addresses,
      detectionTimeoutMs: config.detectionTimeout,
      clusters,
      targets,
      connector,
      pools,
      dryRun: registerDryRunMetrics(this.#registry),
      logs: { listener: log.scope("waypoint::listener"), policy: log.scope("waypoint::policy") },
    });
    const listener = new Listener(plane);
    const inbound = openListener("hbone", {
      address: { ip: config.hboneAddress.ip, port: config.hboneAddress.port },
      backlog: BACKLOG,
      reusePort: false,
      reuseAddress: true,
      noDelay: true,
      ...dialOptions,
    });
    const tlsLog = log.scope("waypoint::listener");
    const server = new HboneServer(inbound.fd, {
      tlsPolicy,
      settings,
      trust,
      certificate: () => certificates.peek(identity) ?? certificates.get(identity, "realtime"),
      onRequest: (transport, peer, stream, headers, endStream) =>
        listener.accept(transport, peer, stream, headers, endStream),
      onRefused: (peer, _local, error) =>
        tlsLog.warn("connection refused", [
          ["src.addr", { display: formatAddress(peer) }],
          ["error", error],
        ]),
      onSocketOpened() {},
      onSocketClosed() {},
    });
    scope.info("listener established", [
      ["address", { display: formatAddress(config.hboneAddress) }],
      ["component", "hbone"],
      ["identity", identity],
    ]);
    return { plane, listener, server, tunnels, pools };
  }

  /** POST /drain: not ready any more, and peers are asked to go elsewhere; everything that still comes is served. */
  #drain({ listener, server }: Serving): void {
    if (this.#draining) return;
    this.#draining = true;
    this.#readiness.task("draining");
    server.retire();
    listener.drain();
  }

  /**
   * Drains until the drain duration is over, or with EXIT_ON_ZERO_ACTIVE_CONNECTIONS until nothing runs (spec/waypoint.md
   * §5.2). Then the listener closes, which sends new connections elsewhere, and what has just begun is still answered.
   */
  async #shutDown(serving: Serving): Promise<number> {
    const { listener, server, tunnels, pools } = serving;
    const { drainDuration, exitWhenIdle, grace } = this.#config;
    scope.info("shutdown: draining", [["connections", listener.size]]);
    this.#drain(serving);
    await elapsed(drainDuration);
    const patience = Math.max(0, grace - drainDuration - LAST_REQUESTS_MS);
    if (exitWhenIdle) await Promise.race([listener.whenEmpty(), elapsed(patience)]);
    server.drain();
    await Promise.race([server.whenEmpty(), elapsed(LAST_REQUESTS_MS)]);
    if (listener.size > 0) {
      scope.warn("drain duration expired with pending connections, forcefully shutting down", [
        ["connections", listener.size],
        ["oldest", listener.oldest()],
      ]);
    }
    this.#source?.close();
    this.#admin?.close();
    server.close();
    pools.close();
    tunnels.close();
    this.#credentials.close();
    scope.info("shutdown complete");
    log.flush();
    return 0;
  }
}

/** Every address of this machine or pod. */
function ownAddresses(): Set<string> {
  const addresses = new Set<string>();
  for (const list of Object.values(networkInterfaces())) {
    for (const { address } of list ?? []) {
      const ip = canonicalIp(address.split("%")[0] as string);
      if (ip !== undefined) addresses.add(ip);
    }
  }
  return addresses;
}

function elapsed(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
