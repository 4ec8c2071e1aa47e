import type { ZtunnelConfig } from "../config/mod.ts";
import type { DialTunnel } from "../hbone/mod.ts";
import type { CertificateCache } from "../identity/mod.ts";
import type { KeepAlive } from "../linux/mod.ts";
import type { RoutingSettings } from "../mesh/mod.ts";
import type { AccessLog, LogScope, TrafficMetrics } from "../telemetry/mod.ts";
import type { TlsPolicy } from "../tls/mod.ts";
import type { MeshSource } from "./mesh_source.ts";

/** What the proxies of all workloads of the process share. */
export interface DataPlane {
  readonly config: ZtunnelConfig;
  readonly routing: RoutingSettings;
  readonly mesh: MeshSource;
  readonly certificates: CertificateCache;
  readonly tlsPolicy: TlsPolicy;
  readonly accessLog: AccessLog;
  readonly traffic: TrafficMetrics;
  readonly logs: {
    readonly inbound: LogScope;
    readonly inboundPlaintext: LogScope;
    readonly outbound: LogScope;
    readonly socks5: LogScope;
    readonly policy: LogScope;
  };
  readonly keepAlive: KeepAlive | undefined;
  readonly userTimeoutMs: number | undefined;
  readonly dialTunnel: DialTunnel;
}
