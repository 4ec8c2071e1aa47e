/** The settings of waypoint mode from environment, flags and mesh file (spec/waypoint.md §5.1). */
import type { AccessLog } from "../waypoint/snapshot/mod.ts";
import { readAccessLog } from "./access_log.ts";
import type { CertificateSettings, Flags, ListenAddress, LocalState, SocketSettings } from "./config.ts";
import { xdsAddress } from "./control_plane.ts";
import { LONGEST_TIMER } from "./duration.ts";
import { certificateSettings, localStateOf, MAX_WINDOW, proxyMetadata, socketSettings } from "./environment.ts";
import { ADMIN_PORT, anyAddress, INBOUND_HBONE_PORT, PROMETHEUS_PORT, READINESS_PORT, STATS_PORT } from "./listen.ts";
import { MESH_FILE, readProxyConfig } from "./proxy_config.ts";
import { ownSurroundings } from "./surroundings.ts";
import { type Environment, U16, U32, Variables } from "./variables.ts";

const SECOND = 1000;
const HOUR = 3600 * SECOND;

export interface GatewayName {
  readonly namespace: string;
  readonly name: string;
}

/** All durations are milliseconds, all sizes bytes. Names in capitals are the environment variables. */
export interface WaypointConfig extends CertificateSettings {
  /** `--gateway NAMESPACE/NAME`: which Gateway of the local state we are; undefined: the only one there is. */
  readonly gateway: GatewayName | undefined;
  /** TRUST_DOMAIN */
  readonly trustDomain: string;
  /** POD_NAMESPACE; undefined: the Gateway's. */
  readonly namespace: string | undefined;
  /** ISTIO_META_SERVICE_ACCOUNT or SERVICE_ACCOUNT; undefined: the Gateway's name. */
  readonly serviceAccount: string | undefined;
  readonly podName: string;
  /** INSTANCE_IP; undefined: the first address of an interface. */
  readonly instanceIp: string | undefined;
  readonly network: string;
  /** CLUSTER_DOMAIN, else what `--domain` ends with. */
  readonly clusterDomain: string;
  /** `--domain`: DNS domain of the pod, part of the xDS node's id. */
  readonly domain: string | undefined;
  /** `--serviceCluster`: the xDS node's cluster. */
  readonly serviceCluster: string | undefined;

  readonly hboneAddress: ListenAddress & { readonly kind: "address" };
  readonly adminAddress: ListenAddress;
  readonly statsAddress: ListenAddress;
  readonly prometheusAddress: ListenAddress;
  readonly readinessAddress: ListenAddress;

  readonly localState: LocalState;

  /** Connections that one HBONE peer may have in one tunnel. */
  readonly maxStreams: number;
  readonly streamWindow: number;
  readonly connectionWindow: number;
  readonly frameSize: number;
  /** Of a tunnel to an endpoint without a connection in it. */
  readonly hboneIdleTimeout: number;
  readonly socket: SocketSettings;
  /** AMBIENT_DETECTION_TIMEOUT, ours: how long a silent client of an undeclared or TLS port is waited for. */
  readonly detectionTimeout: number;
  /** ISTIO_META_HTTP10=1 or PILOT_HTTP10: HTTP/1.0 is served instead of 426. */
  readonly acceptHttp10: boolean;
  /** proxyHeaders.preserveHttp1HeaderCase of PROXY_CONFIG: names of fields of HTTP/1 go on as they came. */
  readonly preserveHeaderCase: boolean;
  /** ACCESS_LOG_FILE: what is logged unless a Telemetry says otherwise; undefined: nothing. */
  readonly accessLog: AccessLog | undefined;
  /** ACCESS_LOG_FORMAT and ACCESS_LOG_ENCODING, also for Telemetry's provider `envoy`; undefined: Istio's default text. */
  readonly accessLogFormat: AccessLog["format"];
  /** AMBIENT_UNSUPPORTED_FILTER, ours: what a chain with a filter that changes behaviour and that we lack does. */
  readonly unsupportedFilter: "fail" | "ignore";

  /** How long to serve on after the stop signal; with `exitWhenIdle` the least, with `grace` the most. */
  readonly drainDuration: number;
  /** EXIT_ON_ZERO_ACTIVE_CONNECTIONS */
  readonly exitWhenIdle: boolean;
  /** TERMINATION_GRACE_PERIOD_SECONDS, less what the end itself takes. */
  readonly grace: number;

  readonly logFormat: "plain" | "json";
  readonly logFilter: string;
  readonly istioVersion: string;
  readonly warnings: readonly string[];
}

export type WaypointConfigResult =
  | { readonly ok: true; readonly config: WaypointConfig }
  | { readonly ok: false; readonly errors: readonly string[] };

/** The settings, or everything that is wrong with them. */
export async function loadWaypointConfig(
  env: Environment,
  flags: Flags & { readonly gateway?: string | undefined } = {},
): Promise<WaypointConfigResult> {
  const meshFile = flags.meshConfig ?? MESH_FILE;
  const read = await readProxyConfig(env["PROXY_CONFIG"], meshFile);
  if (!read.ok) return read;
  const { proxyConfig } = read;
  const variables = new Variables(env);
  const surroundings = ownSurroundings();
  const warnings: string[] = [...(flags.warnings ?? [])];
  const localState = localStateOf(variables, flags);
  const controlPlane = xdsAddress(variables, proxyConfig.discoveryAddress, localState === undefined ? "none" : "alone");
  const metadata = proxyMetadata(variables, proxyConfig);
  const certificates = certificateSettings(variables, flags, surroundings, warnings, metadata);
  const ipv6 = variables.boolean("IPV6_ENABLED") ?? surroundings.ipv6Loopback;
  const exitWhenIdle = variables.boolean("EXIT_ON_ZERO_ACTIVE_CONNECTIONS") ?? false;
  const minimumDrain = variables.duration("MINIMUM_DRAIN_DURATION") ?? 5 * SECOND;
  const drain = exitWhenIdle ? minimumDrain : proxyConfig.terminationDrainDuration ?? minimumDrain;
  const drainDuration = Math.min(drain, LONGEST_TIMER);
  const graceSeconds = variables.integer("TERMINATION_GRACE_PERIOD_SECONDS", 0, U32) ?? 30;
  const grace = Math.min(graceSeconds * SECOND, LONGEST_TIMER);
  const gateway = gatewayName(variables, flags.gateway);
  const accessLog = await readAccessLog(variables, read.accessLog ?? {}, meshFile);

  const errors = [...variables.errors];
  if (errors.length === 0 && localState === undefined) {
    errors.push(
      "waypoint mode needs --config PATH (or LOCAL_XDS_PATH), a file or a folder with its configuration: " +
        "this version does not take a waypoint's configuration from istiod",
    );
  } else if (errors.length === 0 && controlPlane !== undefined) {
    errors.push(
      `cannot take a waypoint's configuration from ${controlPlane}: this version reads it from local files only. ` +
        'Set XDS_ADDRESS=""',
    );
  }
  const config: Omit<WaypointConfig, "localState"> = {
    gateway,
    trustDomain: variables.text("TRUST_DOMAIN") ?? "cluster.local",
    namespace: variables.text("POD_NAMESPACE"),
    serviceAccount: metadata["SERVICE_ACCOUNT"] ?? variables.text("SERVICE_ACCOUNT"),
    podName: variables.text("POD_NAME") ?? "",
    instanceIp: variables.text("INSTANCE_IP"),
    network: metadata["NETWORK"] ?? variables.text("NETWORK") ?? "",
    clusterDomain: variables.text("CLUSTER_DOMAIN") ?? clusterDomainOf(flags.domain) ?? "cluster.local",
    domain: flags.domain,
    serviceCluster: flags.serviceCluster,

    hboneAddress: anyAddress(INBOUND_HBONE_PORT, ipv6),
    adminAddress: {
      kind: "localhost",
      ipv6: ipv6 && surroundings.ipv6Loopback,
      port: proxyConfig.proxyAdminPort ?? ADMIN_PORT,
    },
    statsAddress: anyAddress(proxyConfig.statsPort ?? STATS_PORT, ipv6),
    prometheusAddress: anyAddress(PROMETHEUS_PORT, ipv6),
    readinessAddress: anyAddress(READINESS_PORT, ipv6),

    ...certificates,

    maxStreams: 100,
    streamWindow: variables.integer("PILOT_HBONE_INITIAL_STREAM_WINDOW_SIZE", 1, MAX_WINDOW) ?? 4 << 20,
    connectionWindow: variables.integer("PILOT_HBONE_INITIAL_CONNECTION_WINDOW_SIZE", U16, MAX_WINDOW) ?? 16 << 20,
    frameSize: 1 << 20,
    hboneIdleTimeout: HOUR,
    socket: socketSettings(variables),
    detectionTimeout: Math.min(variables.duration("AMBIENT_DETECTION_TIMEOUT") ?? 5 * SECOND, LONGEST_TIMER),
    acceptHttp10: isHttp10(variables, metadata["HTTP10"]),
    preserveHeaderCase: proxyConfig.preserveHttp1HeaderCase ?? false,
    ...accessLog,
    unsupportedFilter: variables.oneOf("AMBIENT_UNSUPPORTED_FILTER", ["fail", "ignore"]) ?? "fail",

    drainDuration,
    exitWhenIdle,
    grace: Math.max(drainDuration, grace - 2 * SECOND),

    logFormat: variables.oneOf("LOG_FORMAT", ["plain", "json"]) ?? flags.logFormat ?? "plain",
    logFilter: variables.text("RUST_LOG") ?? flags.logFilter ?? "info",
    istioVersion: metadata["ISTIO_VERSION"] ?? "unknown",
    warnings,
  };
  errors.push(...variables.errors.filter((error) => !errors.includes(error)));
  if (errors.length > 0 || localState === undefined) return { ok: false, errors };
  return { ok: true, config: { ...config, localState } };
}

/** `cluster.local` of `shop.svc.cluster.local`. */
function clusterDomainOf(domain: string | undefined): string | undefined {
  return /^[^.]+\.svc\.(.+)$/.exec(domain ?? "")?.[1];
}

/** Metadata of a proxy says it by `1`, istiod's own setting for all of them by `true`. */
function isHttp10(variables: Variables, metadata: string | undefined): boolean {
  const everywhere = variables.boolean("PILOT_HTTP10") ?? false;
  if (metadata !== undefined && !["", "0", "1"].includes(metadata)) {
    variables.errors.push(`invalid proxy metadata HTTP10=${metadata} (expected 0 or 1)`);
  }
  return everywhere || metadata === "1";
}

function gatewayName(variables: Variables, text: string | undefined): GatewayName | undefined {
  if (text === undefined) return undefined;
  const [namespace, name, ...more] = text.split("/");
  if (namespace && name && more.length === 0) return { namespace, name };
  variables.errors.push(`--gateway ${text}: expected NAMESPACE/NAME of a Gateway`);
  return undefined;
}
