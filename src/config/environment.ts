/** The settings of ztunnel mode from environment, flags and mesh file: every variable, its default, its errors. */
import type { WorkloadInfo } from "../mesh/workload.ts";
import type {
  CertificateSettings,
  ConfigResult,
  Flags,
  JsonValue,
  ListenAddress,
  LocalState,
  SocketSettings,
  ZtunnelConfig,
} from "./config.ts";
import {
  authoritySource,
  authToken,
  extraHeaders,
  rootCertificate,
  tokenWarning,
  xdsAddress,
} from "./control_plane.ts";
import { LONGEST_TIMER } from "./duration.ts";
import {
  ADMIN_PORT,
  anyAddress,
  DNS_PORT,
  INBOUND_HBONE_PORT,
  INBOUND_PLAINTEXT_PORT,
  OUTBOUND_PORT,
  parseListenAddress,
  READINESS_PORT,
  SOCKS5_PORT,
  STATS_PORT,
} from "./listen.ts";
import { type ProxyConfig, readProxyConfig } from "./proxy_config.ts";
import { ownSurroundings, type Surroundings } from "./surroundings.ts";
import { workerThreads } from "./threads.ts";
import { type Environment, U16, U32, Variables } from "./variables.ts";

const SECOND = 1000;
const MINUTE = 60 * SECOND;
/** RFC 9113 §6.9.1, §4.2 */
export const MAX_WINDOW = 0x7fff_ffff;
const MIN_FRAME_SIZE = 16_384;
const MAX_FRAME_SIZE = 16_777_215;
/** SO_MARK by which the rules of istio-cni know our sockets. */
const INPOD_MARK = 1337;
const META = "ISTIO_META_";

/** Everything beside environment and flags; the defaults are those of the machine. */
export interface Context {
  readonly proxyConfig?: ProxyConfig;
  readonly surroundings?: Surroundings;
}

/** Reads the mesh file and PROXY_CONFIG, then the rest. */
export async function loadConfig(env: Environment, flags: Flags = {}): Promise<ConfigResult> {
  const result = await readProxyConfig(env["PROXY_CONFIG"]);
  if (!result.ok) return result;
  return readConfig(env, flags, { proxyConfig: result.proxyConfig });
}

/** The settings, or everything that is wrong with them. */
export function readConfig(env: Environment, flags: Flags = {}, context: Context = {}): ConfigResult {
  const variables = new Variables(env);
  const proxyConfig = context.proxyConfig ?? { proxyMetadata: {} };
  const config = readSettings(variables, flags, proxyConfig, context.surroundings ?? ownSurroundings());
  const errors = [...variables.errors];
  if (!config.proxy && !config.dnsProxy) errors.push("ENABLE_PROXY=false with the DNS proxy off leaves nothing to do");
  if (config.xdsOnDemand && config.dnsProxy) {
    errors.push("XDS_ON_DEMAND=true does not work with the DNS proxy: set ISTIO_META_DNS_CAPTURE=false");
  }
  const asked = ["KUBERNETES_SERVICE_HOST", "XDS_ADDRESS"].some((name) => variables.has(name));
  if (config.xdsAddress !== undefined && !asked && proxyConfig.discoveryAddress === undefined) {
    errors.push(
      "give the mesh with --config PATH (a file or a folder, see `ambient help`), or istiod's address with XDS_ADDRESS",
    );
  }
  return errors.length === 0 ? { ok: true, config } : { ok: false, errors };
}

function readSettings(
  variables: Variables,
  flags: Flags,
  proxyConfig: ProxyConfig,
  surroundings: Surroundings,
): ZtunnelConfig {
  const warnings: string[] = [];
  const proxyMode = variables.oneOf("PROXY_MODE", ["shared", "dedicated"]) ?? "shared";
  const shared = proxyMode === "shared";
  const metadata = proxyMetadata(variables, proxyConfig);
  const ipv6 = variables.boolean("IPV6_ENABLED") ?? true;
  const ipv6Loopback = ipv6 && surroundings.ipv6Loopback;
  const socks5 = variables.boolean("UNSTABLE_ENABLE_SOCKS5") ?? false;
  const localState = localStateOf(variables, flags);
  const self = selfWorkload(variables);

  return {
    proxyMode,
    proxyWorkload: proxyWorkload(variables, shared),
    selfWorkload: self,
    selfTrustDomain: variables.text("TRUST_DOMAIN") ?? "cluster.local",
    podName: variables.text("POD_NAME") ?? "",
    podNamespace: variables.text("POD_NAMESPACE") ?? "",
    instanceIp: variables.text("INSTANCE_IP") ?? "1.1.1.1",

    proxy: variables.boolean("ENABLE_PROXY") ?? true,
    dnsProxy: (metadata["DNS_CAPTURE"] ?? "true").toLowerCase() === "true",
    dnsProxyAddress: dnsProxyAddress(variables, metadata["DNS_PROXY_ADDR"], ipv6Loopback),
    network: variables.text("NETWORK") ?? "",
    nodeName: variables.text("NODE_NAME"),
    clusterDomain: variables.text("CLUSTER_DOMAIN") ?? "cluster.local",
    ipv6Enabled: ipv6,
    preferredServiceNamespace: variables.text("PREFERED_SERVICE_NAMESPACE"),

    inboundAddress: anyAddress(INBOUND_HBONE_PORT, ipv6),
    inboundPlaintextAddress: anyAddress(INBOUND_PLAINTEXT_PORT, ipv6),
    outboundAddress: anyAddress(OUTBOUND_PORT, ipv6),
    socks5Address: socks5 ? { kind: "address", ip: "127.0.0.1", port: SOCKS5_PORT } : undefined,
    adminAddress: { kind: "localhost", ipv6: ipv6Loopback, port: proxyConfig.proxyAdminPort ?? ADMIN_PORT },
    statsAddress: anyAddress(proxyConfig.statsPort ?? STATS_PORT, ipv6),
    readinessAddress: anyAddress(READINESS_PORT, ipv6),
    illegalPorts: [INBOUND_HBONE_PORT, INBOUND_PLAINTEXT_PORT, OUTBOUND_PORT, ...(socks5 ? [SOCKS5_PORT] : [])],

    xdsAddress: xdsAddress(
      variables,
      proxyConfig.discoveryAddress,
      flags.config !== undefined ? "alone" : localState !== undefined ? "beside" : "none",
    ),
    xdsRootCertificate: rootCertificate(variables, "XDS_ROOT_CA", surroundings),
    altXdsHostname: variables.text("ALT_XDS_HOSTNAME") || undefined,
    xdsHeaders: extraHeaders(variables, "XDS_HEADER_"),
    xdsOnDemand: variables.boolean("XDS_ON_DEMAND") ?? false,
    localState,

    ...certificateSettings(variables, flags, surroundings, warnings, metadata),
    fakeCa: variables.text("FAKE_CA") === "true",

    workerThreads: workerThreads(variables, surroundings.cores, proxyConfig.concurrency),
    poolMaxStreamsPerConnection: variables.integer("POOL_MAX_STREAMS_PER_CONNECTION", 1, U16) ?? 100,
    poolUnusedReleaseTimeout: variables.duration("POOL_UNUSED_RELEASE_TIMEOUT") ?? 5 * MINUTE,
    idleTimeout: variables.duration("AMBIENT_IDLE_TIMEOUT"),
    endpointEjection: variables.boolean("AMBIENT_ENDPOINT_EJECTION") ?? true,
    upgradeSocket: flags.upgradeFrom ?? variables.text("AMBIENT_UPGRADE_SOCKET"),
    streamWindow: variables.integer("HTTP2_STREAM_WINDOW_SIZE", 1, MAX_WINDOW) ?? 4 << 20,
    connectionWindow: variables.integer("HTTP2_CONNECTION_WINDOW_SIZE", 1, MAX_WINDOW) ?? 16 << 20,
    frameSize: variables.integer("HTTP2_FRAME_SIZE", MIN_FRAME_SIZE, MAX_FRAME_SIZE) ?? 1 << 20,
    terminationDeadline: terminationDeadline(variables),
    requireOriginalSource: variables.boolean("ENABLE_ORIG_SRC"),
    packetMark: variables.integer("PACKET_MARK", 0, U32) ?? (shared ? INPOD_MARK : undefined),
    socket: socketSettings(variables),
    inpodSocket: variables.text("INPOD_UDS") ?? "/var/run/ztunnel/ztunnel.sock",
    inpodPortReuse: variables.boolean("INPOD_PORT_REUSE") ?? true,
    localhostAppTunnel: variables.boolean("LOCALHOST_APP_TUNNEL") ?? true,
    responseBaggage: variables.boolean("ENABLE_RESPONSE_BAGGAGE") ?? true,

    policyInfoLogging: variables.boolean("AUTHZ_POLICY_INFO_LOGGING") ?? false,
    logFormat: variables.oneOf("LOG_FORMAT", ["plain", "json"]) ?? "plain",
    logFilter: logFilter(variables, warnings),

    jsonMetadata: jsonMetadata(variables),
    istioVersion: metadata["ISTIO_VERSION"] ?? "unknown",
    warnings,
  };
}

/** How certificates are got and judged; CA_ADDR is pilot-agent's word for CA_ADDRESS. */
export function certificateSettings(
  variables: Variables,
  flags: Flags,
  surroundings: Surroundings,
  warnings: string[],
  metadata: Readonly<Record<string, string>>,
): CertificateSettings {
  const authority = authoritySource(variables, flags, surroundings, warnings);
  const token = authToken(variables, surroundings);
  const warning = authority.kind === "remote" ? tokenWarning(token) : undefined;
  if (warning !== undefined) warnings.push(warning);
  return {
    authority,
    caRootCertificate: rootCertificate(variables, "CA_ROOT_CA", surroundings),
    altCaHostname: variables.text("ALT_CA_HOSTNAME") || undefined,
    caHeaders: extraHeaders(variables, "CA_HEADER_"),
    authToken: token,
    clusterId: metadata["CLUSTER_ID"] ?? variables.text("CLUSTER_ID") ?? "Kubernetes",
    secretTtl: variables.duration("SECRET_TTL") ?? 24 * 60 * MINUTE,
    crlPath: variables.text("CRL_PATH") || undefined,
    pqc: variables.text("COMPLIANCE_POLICY") !== "" && variables.oneOf("COMPLIANCE_POLICY", ["pqc"]) === "pqc",
    tls12: variables.boolean("TLS12_ENABLED") ?? false,
    proxyMetadata: metadata,
  };
}

/** RUST_LOG as it is. A word that is neither a level nor the beginning of a scope silences everything: told, not refused. */
function logFilter(variables: Variables, warnings: string[]): string {
  const text = variables.text("RUST_LOG");
  for (const directive of (text ?? "").split(",")) {
    const word = directive.trim();
    if (word === "" || word.includes("=") || LOG_WORD.test(word)) continue;
    warnings.push(`RUST_LOG: ${word} is no level and no scope; only lines of a scope ${word} will be written`);
  }
  return text ?? "info";
}

/** Levels by name and number, and what scopes begin with. */
const LOG_WORD =
  /^(off|error|warn|info|debug|trace|[0-5]|ztunnel(::.*)?|waypoint(::.*)?|ambient(::.*)?|access|dns|xds)$/i;

export function proxyMetadata(variables: Variables, proxyConfig: ProxyConfig): Record<string, string> {
  const metadata: Record<string, string> = {};
  for (const [key, value] of Object.entries(proxyConfig.proxyMetadata)) {
    metadata[key.startsWith(META) ? key.slice(META.length) : key] = value;
  }
  for (const [key, value] of variables.withPrefix(META)) metadata[key] = value;
  return metadata;
}

function jsonMetadata(variables: Variables): Record<string, JsonValue> {
  const prefix = "ISTIO_METAJSON_";
  const metadata: Record<string, JsonValue> = {};
  for (const [key, text] of variables.withPrefix(prefix)) {
    try {
      metadata[key] = JSON.parse(text);
    } catch (error) {
      variables.invalid(prefix + key, (error as Error).message);
    }
  }
  return metadata;
}

/** `namespace/name/service-account`; needed in dedicated mode, where no CNI says who we serve. */
function proxyWorkload(variables: Variables, shared: boolean): WorkloadInfo | undefined {
  const name = "PROXY_WORKLOAD_INFO";
  if (shared) return undefined;
  if (!variables.has(name)) {
    variables.errors.push(`PROXY_MODE=dedicated needs ${name}=namespace/name/service-account`);
    return undefined;
  }
  const parts = variables.text(name)!.split("/");
  if (parts.length === 3 && !parts.includes("")) {
    return { namespace: parts[0]!, name: parts[1]!, serviceAccount: parts[2]! };
  }
  variables.invalid(name, "expected namespace/name/service-account");
  return undefined;
}

function selfWorkload(variables: Variables): WorkloadInfo | undefined {
  const name = variables.text("POD_NAME");
  const namespace = variables.text("POD_NAMESPACE");
  const serviceAccount = variables.text("SERVICE_ACCOUNT");
  if (name === undefined || namespace === undefined || serviceAccount === undefined) return undefined;
  return { name, namespace, serviceAccount };
}

function dnsProxyAddress(variables: Variables, text: string | undefined, ipv6Loopback: boolean): ListenAddress {
  const standard: ListenAddress = { kind: "localhost", ipv6: ipv6Loopback, port: DNS_PORT };
  if (text === undefined) return standard;
  const address = parseListenAddress(text, ipv6Loopback);
  if (address === undefined) {
    variables.errors.push(`invalid proxy metadata DNS_PROXY_ADDR=${text} (expected localhost:PORT or IP:PORT)`);
  }
  return address ?? standard;
}

/** --config and LOCAL_XDS_PATH are the same thing, LOCAL_XDS the text itself. Only one of them can be meant. */
export function localStateOf(variables: Variables, flags: Flags): LocalState | undefined {
  const path = variables.text("LOCAL_XDS_PATH");
  const text = variables.text("LOCAL_XDS");
  if (path !== undefined && flags.config !== undefined && path !== flags.config) {
    variables.errors.push(`--config ${flags.config} and LOCAL_XDS_PATH=${path} name different files: give one`);
  }
  const file = flags.config ?? path;
  if (file !== undefined && text !== undefined) {
    variables.errors.push(
      `${flags.config === undefined ? "LOCAL_XDS_PATH" : "--config"} and LOCAL_XDS are both set: give one`,
    );
  }
  if (file === "") variables.errors.push("the path of the local file is empty");
  if (file !== undefined) return { kind: "file", path: file };
  return text === undefined ? undefined : { kind: "inline", text };
}

export function socketSettings(variables: Variables): SocketSettings {
  return {
    keepaliveEnabled: variables.boolean("KEEPALIVE_ENABLED") ?? true,
    keepaliveTime: variables.duration("KEEPALIVE_TIME") ?? 3 * MINUTE,
    keepaliveInterval: variables.duration("KEEPALIVE_INTERVAL") ?? 3 * MINUTE,
    keepaliveRetries: variables.integer("KEEPALIVE_RETRIES", 0, U32) ?? 9,
    userTimeoutEnabled: variables.boolean("USER_TIMEOUT_ENABLED") ?? false,
  };
}

/** How long to drain: as told, else a little less than what Kubernetes grants before it kills. */
function terminationDeadline(variables: Variables): number {
  const explicit = variables.duration("CONNECTION_TERMINATION_DEADLINE");
  const grace = variables.integer("TERMINATION_GRACE_PERIOD_SECONDS", 0, U32);
  if (explicit !== undefined) return Math.min(explicit, LONGEST_TIMER);
  if (grace === undefined) return 5 * SECOND;
  return Math.min(Math.max(1, grace > 10 ? grace - 5 : grace - 1) * SECOND, LONGEST_TIMER);
}
