/** What all connections of the waypoint share. */
import type { RequestHead } from "../http/mod.ts";
import { pathOnly } from "../matching/mod.ts";
import { type CompiledRbac, type RbacVerdict, shadowMetadata } from "../policy/mod.ts";
import type { LogScope } from "../telemetry/mod.ts";
import type { ClusterSet } from "./cluster/mod.ts";
import type { Configuration } from "./configuration.ts";
import type { StreamInfo } from "./stream_info.ts";
import type { Targets } from "./targets.ts";
import type { DryRunCounts } from "./telemetry/mod.ts";
import type { UpstreamConnector, UpstreamPoolSet } from "./upstream/mod.ts";

export interface PlaneOptions {
  /** Our own SPIFFE URI. */
  readonly identity: string;
  /** The address that peers see us at. */
  readonly ownIp: string;
  /** All addresses of our own: nothing is forwarded to them. */
  readonly ownAddresses: ReadonlySet<string>;
  readonly detectionTimeoutMs: number;
  readonly clusters: ClusterSet;
  readonly targets: Targets;
  readonly connector: UpstreamConnector;
  readonly pools: UpstreamPoolSet;
  readonly dryRun: DryRunCounts;
  readonly logs: { readonly listener: LogScope; readonly policy: LogScope };
}

export class WaypointPlane {
  readonly identity: string;
  readonly ownIp: string;
  readonly ownAddresses: ReadonlySet<string>;
  readonly detectionTimeoutMs: number;
  readonly clusters: ClusterSet;
  readonly targets: Targets;
  readonly connector: UpstreamConnector;
  readonly pools: UpstreamPoolSet;
  readonly logs: PlaneOptions["logs"];
  /** What serves now; undefined until the first one was good. */
  configuration: Configuration | undefined = undefined;
  readonly #dryRun: DryRunCounts;

  constructor(options: PlaneOptions) {
    this.identity = options.identity;
    this.ownIp = options.ownIp;
    this.ownAddresses = options.ownAddresses;
    this.detectionTimeoutMs = options.detectionTimeoutMs;
    this.clusters = options.clusters;
    this.targets = options.targets;
    this.connector = options.connector;
    this.pools = options.pools;
    this.logs = options.logs;
    this.#dryRun = options.dryRun;
  }

  /**
   * Asks the policies of a chain about a request or, without a head, about a connection; what they say besides yes or no
   * is noted.
   */
  authorize(
    rbac: CompiledRbac,
    chain: string,
    info: StreamInfo,
    head: RequestHead | undefined,
    remoteIp: string = info.downstream.remote.ip,
  ): RbacVerdict {
    const { downstream } = info;
    const verdict = rbac.check({
      peerPrincipal: downstream.peerPrincipal,
      directRemoteIp: downstream.remote.ip,
      remoteIp,
      destination: downstream.local,
      serverName: downstream.requestedServerName,
      head,
      path: head === undefined ? "" : pathOnly(head.path),
      metadata: head === undefined ? undefined : info.metadata,
    });
    this.#heard(chain, info, verdict);
    return verdict;
  }

  /** Dry runs are counted, audits and denials are logged. */
  #heard(chain: string, info: StreamInfo, verdict: RbacVerdict): void {
    const { allow, deny } = verdict.shadow;
    if (allow !== undefined) this.#dryRun.count("allow", allow.policy, allow.allowed ? "allowed" : "denied");
    if (deny !== undefined) this.#dryRun.count("deny", deny.policy, deny.allowed ? "allowed" : "denied");
    const metadata = shadowMetadata(verdict.shadow);
    if (metadata !== undefined) (info.metadata ??= new Map()).set("envoy.filters.http.rbac", metadata);
    if (verdict.allowed && verdict.audits.length === 0) return;
    const { policy } = this.logs;
    if (!policy.enabled("info")) return;
    const { request, downstream } = info;
    policy.info(verdict.allowed ? "audit" : "denied", [
      ["chain", chain],
      ["src.addr", { display: `${downstream.remote.ip}:${downstream.remote.port}` }],
      ["src.identity", downstream.peerPrincipal ?? "none"],
      ...(request === undefined ? [] : [["request", `${request.method} ${request.path}`]] as const),
      ...(verdict.allowed ? [["policies", verdict.audits.join(",")]] as const : []),
      ...(verdict.allowed ? [] : [["policy", verdict.policy], ["reasons", verdict.reasons.join("; ")]] as const),
    ]);
  }
}
