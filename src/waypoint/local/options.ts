/** What the compiler of local objects must know of the waypoint itself. Plain data: it crosses to the child process. */
import type { AccessLog } from "../snapshot/mod.ts";

export interface WaypointOptions {
  /** `--gateway`: which Gateway we are; undefined: the only one of class istio-waypoint. */
  readonly gateway: { readonly namespace: string; readonly name: string } | undefined;
  /** `gateway` is the one that already serves: its end is an error of its own. */
  readonly running?: boolean | undefined;
  /** e.g. `cluster.local` */
  readonly clusterDomain: string;
  /** The mesh's own trust domain, then its aliases. */
  readonly trustDomains: readonly string[];
  /** Our network; virtual addresses and workloads of others are not reached from here. */
  readonly network: string;
  /** Our own address, by which our workload and so our locality is known; undefined: that of the Gateway's workloads. */
  readonly address?: string | undefined;
  /** Where mesh-wide policies and Telemetry are; Istio: istio-system. */
  readonly rootNamespace: string;
  /** The mesh's own access log (mesh file: accessLogFile); undefined: none unless a Telemetry says so. */
  readonly accessLog: AccessLog | undefined;
  /** Format of Telemetry's provider `envoy` where there is no log of the mesh; undefined: Istio's default text. */
  readonly accessLogFormat?: AccessLog["format"];
  /** HTTP/1.0 is served; default: 426 on ports declared HTTP, TCP on others. */
  readonly acceptHttp10?: boolean;
  /** Names of fields keep their case through HTTP/1 on either side; default: they become lower case. */
  readonly preserveHeaderCase?: boolean;
}
