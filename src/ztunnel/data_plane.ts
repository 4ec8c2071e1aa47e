import type { ZtunnelConfig } from "../config/mod.ts";
import type { HostnameResolver } from "../dns/mod.ts";
import type { DialTunnel, TunnelOptions } from "../hbone/mod.ts";
import type { CertificateCache } from "../identity/mod.ts";
import type { KeepAlive } from "../linux/mod.ts";
import type { RoutingSettings, Workload } from "../mesh/mod.ts";
import type { SocketAddress } from "../net/address.ts";
import type {
  AccessLog,
  ConnectMetrics,
  HeldMetrics,
  LogScope,
  OnDemandDnsMetrics,
  TrafficMetrics,
} from "../telemetry/mod.ts";
import type { TlsPolicy } from "../tls/mod.ts";
import type { Demand } from "./demand.ts";
import type { DnsSettings } from "./dns/mod.ts";
import type { DryRunRecorder } from "./dry_run.ts";
import type { Ejections } from "./ejection.ts";
import type { MeshSource } from "./mesh_source.ts";

/** What the proxies of all workloads of the process share. */
export interface DataPlane {
  readonly config: ZtunnelConfig;
  readonly routing: RoutingSettings;
  readonly mesh: MeshSource;
  /** Fetches records when a connection asks for them; undefined: all are there. */
  readonly demand: Demand | undefined;
  readonly certificates: CertificateCache;
  readonly tlsPolicy: TlsPolicy;
  readonly accessLog: AccessLog;
  readonly traffic: TrafficMetrics;
  readonly held: HeldMetrics;
  readonly connects: ConnectMetrics;
  readonly onDemandDns: OnDemandDnsMetrics;
  /** What connects have learnt of endpoints; undefined: AMBIENT_ENDPOINT_EJECTION is off, and nothing is retried. */
  readonly ejections: Ejections | undefined;
  /** Addresses of workloads that have only a name. */
  readonly hostnames: HostnameResolver;
  /** What the DNS proxies of the workloads share; undefined: there are none. */
  readonly dns: DnsSettings | undefined;
  readonly dryRun: DryRunRecorder;
  readonly logs: {
    readonly inbound: LogScope;
    readonly inboundPlaintext: LogScope;
    readonly outbound: LogScope;
    readonly socks5: LogScope;
    readonly policy: LogScope;
    readonly connections: LogScope;
  };
  readonly keepAlive: KeepAlive | undefined;
  readonly userTimeoutMs: number | undefined;
  readonly tunnel: TunnelOptions;
  readonly dialTunnel: DialTunnel;
}

/** The record of a peer by its address, for telemetry; never used to trust it. */
export function callerOf({ mesh, routing }: DataPlane, peer: SocketAddress): Workload | undefined {
  return mesh.current.workloadByAddress(routing.network, peer.ip);
}
