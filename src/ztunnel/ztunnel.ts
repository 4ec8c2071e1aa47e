import process from "node:process";
import { type AdminServers, startAdmin } from "../admin/mod.ts";
import { buildInfo } from "../cli/mod.ts";
import { dumpConfig, type LocalSource, type ZtunnelConfig } from "../config/mod.ts";
import { HostnameResolver } from "../dns/mod.ts";
import { tunnelDialer } from "../hbone/mod.ts";
import { markRefusal, namespaceRefusal, releaseStartupCode } from "../linux/mod.ts";
import { MeshState } from "../mesh/mod.ts";
import {
  Credentials,
  dumpCertificates,
  dumpControlPlane,
  dumpMesh,
  followLocalState,
  type Json,
  onStopSignal,
  socketAddresses,
  startLog,
  surviveBugs,
} from "../process/mod.ts";
import {
  AccessLog,
  DnsLog,
  DnsMetrics,
  log,
  MetricRegistry,
  OnDemandDnsMetrics,
  Readiness,
  registerBuildMetric,
  registerConnectMetrics,
  registerHeldMetrics,
  registerProcessMetrics,
  registerWorkloadManagerMetrics,
  TrafficMetrics,
} from "../telemetry/mod.ts";
import type { DataPlane } from "./data_plane.ts";
import { Demand } from "./demand.ts";
import { dnsSettings, readResolvConf } from "./dns/mod.ts";
import { DryRunRecorder } from "./dry_run.ts";
import { Ejections } from "./ejection.ts";
import { explainConnection } from "./explain_connection.ts";
import { LocalCertificates } from "./local_certificates.ts";
import { MeshSource } from "./mesh_source.ts";
import { drainAll } from "./drain.ts";
import { Pods } from "./pods.ts";
import { RemoteState } from "./remote_state.ts";
import { Upgrade } from "./upgrade/mod.ts";
import { WorkloadContext } from "./workload_context.ts";
import { dumpWorkloadState } from "./workload_dump.ts";
import { WorkloadProxy } from "./workload_proxy.ts";
import { ZdsClient } from "./zds/mod.ts";

const scope = log.scope("ztunnel::app");
/** By now the first pods are there and have their certificates: what ran for that need not stay in memory, ms. */
const STARTUP_MS = 2_000;

/** Runs ztunnel mode until it is told to stop; the exit code. Throws what must not be survived at start. */
export async function runZtunnel(config: ZtunnelConfig): Promise<number> {
  startLog(config, scope, dumpConfig(config, readResolvConf()));
  surviveBugs(scope);
  try {
    return await new Ztunnel(config).run();
  } finally {
    log.flush(); // what comes next on standard error is the last word
  }
}

/** The process in ztunnel mode: everything that lives as long as it does. */
class Ztunnel {
  readonly #config: ZtunnelConfig;
  readonly #registry = new MetricRegistry();
  readonly #readiness = new Readiness();
  readonly #mesh: MeshSource;
  readonly #credentials: Credentials;
  readonly #localCertificates: LocalCertificates;
  readonly #plane: DataPlane;
  readonly #pods: Pods | undefined;
  readonly #stopping = Promise.withResolvers<void>();
  #admin: AdminServers | undefined = undefined;
  #source: LocalSource | undefined = undefined;
  /** What the local state says, where istiod adds to it. */
  #static: MeshState | undefined = undefined;
  #remote: RemoteState | undefined = undefined;
  #zds: ZdsClient | undefined = undefined;
  #upgrade: Upgrade | undefined = undefined;
  /** The workload of dedicated mode, and the listener of ztunnel itself. */
  readonly #own: WorkloadProxy[] = [];

  constructor(config: ZtunnelConfig) {
    this.#config = config;
    this.#mesh = new MeshSource(new MeshState(config.nodeName));
    this.#credentials = new Credentials({
      settings: config,
      trustDomain: config.selfTrustDomain,
      impersonate: config.proxyMode === "shared",
      registry: this.#registry,
      logs: { identity: log.scope("ztunnel::identity"), tls: log.scope("ztunnel::tls") },
    });
    const { certificates, trust } = this.#credentials;
    this.#localCertificates = new LocalCertificates({
      cache: certificates,
      mesh: this.#mesh,
      nodeName: config.nodeName,
      prefetch: config.proxyMode === "shared",
    });
    registerProcessMetrics(this.#registry);
    registerBuildMetric(this.#registry, "ztunnel", config.istioVersion);
    const { keepaliveEnabled, keepaliveTime, keepaliveInterval, keepaliveRetries, userTimeoutEnabled } = config.socket;
    const tlsPolicy = { tls12: config.tls12, pqc: config.pqc };
    const { streamWindow, connectionWindow, frameSize } = config;
    const tunnel = {
      certificates,
      tlsPolicy,
      settings: { streamWindow, connectionWindow, frameSize },
      trust,
    };
    this.#plane = {
      config,
      routing: {
        network: config.network,
        hbonePort: config.inboundAddress.port,
        illegalPorts: config.illegalPorts,
        localhostAppTunnel: config.localhostAppTunnel,
      },
      mesh: this.#mesh,
      demand: config.xdsOnDemand && config.xdsAddress !== undefined
        ? new Demand(this.#mesh, (name) => this.#remote?.demand(name) ?? Promise.resolve())
        : undefined,
      certificates,
      tlsPolicy,
      accessLog: new AccessLog(log),
      traffic: new TrafficMetrics(this.#registry),
      logs: {
        inbound: log.scope("ztunnel::proxy::inbound"),
        inboundPlaintext: log.scope("ztunnel::proxy::inbound_passthrough"),
        outbound: log.scope("ztunnel::proxy::outbound"),
        socks5: log.scope("ztunnel::proxy::socks5"),
        policy: log.scope("ztunnel::state"),
        connections: log.scope("ztunnel::proxy::connection_manager"),
      },
      keepAlive: keepaliveEnabled
        ? { timeMs: keepaliveTime, intervalMs: keepaliveInterval, retries: keepaliveRetries }
        : undefined,
      userTimeoutMs: userTimeoutEnabled ? keepaliveTime + keepaliveRetries * keepaliveInterval : undefined,
      held: registerHeldMetrics(this.#registry),
      connects: registerConnectMetrics(this.#registry),
      onDemandDns: new OnDemandDnsMetrics(this.#registry),
      ejections: config.endpointEjection ? new Ejections() : undefined,
      hostnames: new HostnameResolver({ ipv6: config.ipv6Enabled }),
      dns: config.dnsProxy
        ? dnsSettings(config, {
          metrics: new DnsMetrics(this.#registry),
          accessLog: new DnsLog(log),
          log: log.scope("ztunnel::dns::server"),
        })
        : undefined,
      dryRun: new DryRunRecorder({ registry: this.#registry, log: log.scope("ztunnel::state"), now: Date.now }),
      tunnel,
      dialTunnel: tunnelDialer(tunnel),
    };
    if (config.proxyMode === "shared") {
      this.#pods = new Pods(
        this.#plane,
        registerWorkloadManagerMetrics(this.#registry),
        log.scope("ztunnel::inpod::statemanager"),
      );
    }
  }

  async run(): Promise<number> {
    const config = this.#config;
    const state = this.#readiness.task("state manager");
    const proxy = this.#readiness.task("proxy");
    const pods = this.#pods === undefined ? undefined : this.#readiness.task("workload proxy manager");
    this.#admin = startAdmin({
      mode: "ztunnel",
      readinessAddresses: socketAddresses(config.readinessAddress),
      adminAddresses: socketAddresses(config.adminAddress),
      statsAddresses: socketAddresses(config.statsAddress),
      readiness: this.#readiness,
      registry: this.#registry,
      logger: log,
      build: buildInfo(),
      configDump: () => this.#dump(),
      controlPlane: () => dumpControlPlane(this.#remote?.status(), this.#credentials.trust.status()),
      dryRun: () => this.#plane.dryRun.report(),
      explain: (source, destination) => explainConnection(this.#plane, source, destination),
      shutdown: () => this.#stopping.resolve(),
    });
    onStopSignal(() => this.#stopping.resolve());
    if (this.#pods !== undefined) {
      const stuck = namespaceRefusal();
      if (stuck !== undefined) throw new Error(`shared mode needs CAP_SYS_ADMIN: ${stuck.message}`);
      const refused = config.packetMark === undefined ? undefined : markRefusal(config.packetMark);
      if (refused !== undefined) throw new Error(`shared mode needs CAP_NET_ADMIN: ${refused.message}`);
    }
    proxy.ready(); // what may still be missing has tasks of its own (spec/ztunnel.md §11.2, §14.3)

    await this.#credentials.start((identity) => this.#renewTunnels(identity));
    await this.#loadLocalState();
    if (!await this.#loadRemoteState()) return await this.#shutDown();
    state.ready();
    if (config.proxyMode === "dedicated" && config.proxyWorkload !== undefined) {
      const context = new WorkloadContext(this.#plane, config.proxyWorkload, undefined, config.packetMark);
      this.#own.push(new WorkloadProxy(context, "all"));
      if (this.#mesh.current.localWorkload(config.proxyWorkload) === undefined) {
        const { namespace, name, serviceAccount } = config.proxyWorkload;
        scope.warn("the mesh has no record of our own workload: its connections wait 5 s for it and are then refused", [
          ["workload", `${namespace}/${name}`],
          ["service_account", serviceAccount],
        ]);
      }
    } else if (config.selfWorkload !== undefined && config.proxy) {
      const context = new WorkloadContext(this.#plane, config.selfWorkload, undefined, undefined, true);
      this.#own.push(new WorkloadProxy(context, "inbound"));
    }
    if (this.#pods !== undefined && pods !== undefined) this.#followCni(this.#pods, pods);

    const started = setTimeout(releaseStartupCode, STARTUP_MS);
    await this.#stopping.promise;
    clearTimeout(started);
    return await this.#shutDown();
  }

  /** The local state, if there is one: followed where it is all there is, else read once, as in the original. */
  async #loadLocalState(): Promise<void> {
    const { localState, nodeName, xdsAddress } = this.#config;
    if (localState === undefined) return;
    this.#source = await followLocalState(localState, {}, log.scope("ztunnel::state"), this.#registry, {
      replace: (document) => {
        if (xdsAddress !== undefined) this.#static = MeshState.fromDocument(document, nodeName);
        this.#mesh.replace(MeshState.fromDocument(document, nodeName), this.#plane.routing.network);
        this.#localCertificates.replaced();
        return [];
      },
    });
    if (xdsAddress !== undefined) this.#source?.close();
  }

  /** Follows istiod, if there is one, and waits for its state; false: we were told to stop before it came. */
  async #loadRemoteState(): Promise<boolean> {
    const { xdsAddress: address } = this.#config;
    if (address === undefined) return true;
    this.#remote = new RemoteState({
      address,
      config: this.#config,
      mesh: {
        apply: (update) => {
          const change = this.#mesh.apply(update);
          this.#localCertificates.changed(change);
          return change;
        },
        hasPolicy: (key) => this.#mesh.current.policies.get(key) !== undefined,
      },
      registry: this.#registry,
      log: log.scope("xds::client"),
      // The CA is where istiod is: its back-off, minutes long by then, need not be waited for.
      onConnected: () => this.#credentials.certificates.retryFailed(),
    });
    return await Promise.race([
      this.#remote.synced.then(() => true),
      this.#stopping.promise.then(() => false),
    ]);
  }

  #renewTunnels(identity: string): void {
    for (const proxy of [...this.#own, ...(this.#pods?.list() ?? []).map(({ proxy }) => proxy)]) {
      if (proxy.context.speaksAs(identity)) proxy.renewTunnels();
    }
  }

  /** When our pods are served for the first time, another process's may be ours (AMBIENT_UPGRADE_SOCKET). */
  #takePlace(pods: Pods): void {
    const { upgradeSocket: path } = this.#config;
    if (path === undefined || this.#upgrade !== undefined) return;
    this.#upgrade = new Upgrade({
      path,
      log: log.scope("ztunnel::upgrade"),
      sockets: this.#plane.traffic.sockets,
      continueRelay: (uid, namespace, relay) => pods.continueRelay(uid, namespace, relay),
    });
    this.#upgrade.start();
  }

  #followCni(pods: Pods, ready: { ready(): void; pending(): void }): void {
    const zdsLog = log.scope("ztunnel::inpod::workloadmanager");
    this.#zds = new ZdsClient({
      path: this.#config.inpodSocket,
      handler: {
        startWorkload: (uid, info, namespace) => pods.start(uid, info, namespace),
        stopWorkload: (uid) => pods.stop(uid),
        readiness: (pending) => {
          if (pending) {
            ready.pending();
            return;
          }
          this.#takePlace(pods);
          ready.ready();
        },
        fatal: (message) => {
          zdsLog.error(message);
          log.flush();
          process.exit(1);
        },
        log: (level, message, fields) => zdsLog[level](message, Object.entries(fields)),
      },
    });
    const zds = this.#zds;
    this.#registry.beforeScrape(() => pods.setPending([...zds.state.pending].length));
    zds.start();
  }

  /** Takes no new work, waits for what runs up to the deadline, cuts the rest (spec/ztunnel.md §11.3). */
  async #shutDown(): Promise<number> {
    this.#admin?.close();
    this.#zds?.close();
    this.#pods?.close();
    const pods = this.#pods?.list() ?? [];
    this.#upgrade?.handOver(
      pods.map(({ uid, namespace, proxy }) => ({ uid, namespace, tracker: proxy.context.tracker })),
    );
    const proxies = [...this.#own, ...pods.map(({ proxy }) => proxy)];
    await drainAll(proxies, {
      deadlineMs: this.#config.terminationDeadline,
      log: scope,
      nameOf: (ip) => {
        const workload = this.#mesh.current.workloadByAddress(this.#plane.routing.network, ip);
        return workload && `${workload.namespace}/${workload.name}`;
      },
    });
    this.#upgrade?.close();
    this.#source?.close();
    this.#remote?.close();
    this.#credentials.close();
    scope.info("shutdown complete");
    log.flush();
    return 0;
  }

  #dump(): Record<string, Json> {
    const config = this.#config;
    return {
      ...dumpMesh(this.#mesh.current),
      config: dumpConfig(config, readResolvConf()) as Json,
      certificates: dumpCertificates(this.#credentials.certificates),
      staticConfig: config.localState === undefined
        ? { workloads: [], services: [], policies: [] }
        : staticConfig(this.#static ?? this.#mesh.current),
      ...(this.#pods === undefined
        ? {}
        : { workloadState: dumpWorkloadState(this.#pods.list(), this.#zds?.state.pending ?? []) }),
    };
  }
}

function staticConfig(mesh: MeshState): Json {
  const { workloads, services, policies } = dumpMesh(mesh);
  return { workloads: workloads ?? [], services: services ?? [], policies: policies ?? [] };
}
