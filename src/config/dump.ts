/** The settings as `config_dump` shows them. Tokens, PEM texts and header values stay out. */
import type { ResolverConfig } from "../dns/mod.ts";
import type { JsonValue as Json, ListenAddress, RootCertificate, ZtunnelConfig } from "./config.ts";
import { formatListenAddress } from "./listen.ts";
import type { WaypointConfig } from "./waypoint_config.ts";

/** A duration as seconds and nanoseconds. */
function duration(milliseconds: number): Json {
  const secs = Math.floor(milliseconds / 1000);
  return { secs, nanos: Math.round((milliseconds - secs * 1000) * 1e6) };
}

function listenAddress(address: ListenAddress): Json {
  return address.kind === "localhost"
    ? { Localhost: [address.ipv6, address.port] }
    : { SocketAddr: formatListenAddress(address) };
}

function rootCertificate(certificate: RootCertificate): Json {
  if (certificate.kind === "file") return { File: certificate.path };
  return certificate.kind === "system" ? "Default" : { Static: null };
}

/** Whoever sees the dump need not see what the headers carry. */
function headers(list: ZtunnelConfig["xdsHeaders"]): Json {
  return list.map(([name]) => [name, "<redacted>"]);
}

/** Names whose addresses are kept, as the original keeps them. */
const RESOLVER_CACHE = 4096;

function nameServer(ip: string): Json {
  const connection = (type: "udp" | "tcp") => ({ bind_addr: null, port: DNS_PORT, protocol: { type } });
  return { connections: [connection("udp"), connection("tcp")], ip, trust_negative_responses: true };
}

const DNS_PORT = 53;

/**
 * `dnsResolverCfg` and `dnsResolverOpts`. The original prints every option of its resolver library; here are those that
 * exist.
 */
function dumpResolver(resolver: ResolverConfig | undefined): { readonly [key: string]: Json } {
  if (resolver === undefined) return { dnsResolverCfg: null, dnsResolverOpts: null };
  const { nameservers, search, ndots, timeoutMs, attempts } = resolver;
  return {
    dnsResolverCfg: { domain: null, name_servers: nameservers.map(nameServer), search: [...search] },
    dnsResolverOpts: { attempts, cache_size: RESOLVER_CACHE, ndots, timeout: Math.round(timeoutMs / 1000) },
  };
}

/**
 * JSON value of the `config` key of config_dump, with ztunnel's field names.
 *
 * @param resolver undefined: none is in use
 */
export function dumpConfig(config: ZtunnelConfig, resolver?: ResolverConfig): { readonly [key: string]: Json } {
  const self = config.selfWorkload;
  return {
    adminAddr: listenAddress(config.adminAddress),
    altCaHostname: config.altCaHostname ?? null,
    altXdsHostname: config.altXdsHostname ?? null,
    caAddress: config.authority.kind === "remote" ? config.authority.address : null,
    caHeaders: headers(config.caHeaders),
    caRootCert: rootCertificate(config.caRootCertificate),
    clusterDomain: config.clusterDomain,
    clusterId: config.clusterId,
    connectionWindowSize: config.connectionWindow,
    crlPath: config.crlPath ?? null,
    dnsProxy: config.dnsProxy,
    dnsProxyAddr: listenAddress(config.dnsProxyAddress),
    ...dumpResolver(resolver),
    embeddedCaDirectory: config.authority.kind === "embedded" ? config.authority.directory : null,
    enableEnhancedBaggage: config.responseBaggage,
    endpointEjection: config.endpointEjection,
    fakeCa: config.fakeCa,
    fakeSelfInbound: false,
    frameSize: config.frameSize,
    illegalPorts: config.illegalPorts,
    inboundAddr: formatListenAddress(config.inboundAddress),
    inboundPlaintextAddr: formatListenAddress(config.inboundPlaintextAddress),
    inpodPortReuse: config.inpodPortReuse,
    inpodUds: config.inpodSocket,
    ipv6Enabled: config.ipv6Enabled,
    localNode: config.nodeName ?? null,
    localXdsPath: config.localState?.kind === "file" ? config.localState.path : null,
    localhostAppTunnel: config.localhostAppTunnel,
    network: config.network,
    numWorkerThreads: config.workerThreads,
    outboundAddr: formatListenAddress(config.outboundAddress),
    packetMark: config.packetMark ?? null,
    poolMaxStreamsPerConn: config.poolMaxStreamsPerConnection,
    poolUnusedReleaseTimeout: duration(config.poolUnusedReleaseTimeout),
    idleTimeout: config.idleTimeout === undefined ? null : duration(config.idleTimeout),
    preferedServiceNamespace: config.preferredServiceNamespace ?? null,
    proxy: config.proxy,
    proxyArgs: "",
    proxyMetadata: { ...config.proxyMetadata },
    proxyMode: config.proxyMode === "shared" ? "Shared" : "Dedicated",
    proxyWorkloadInformation: config.proxyWorkload === undefined ? null : { ...config.proxyWorkload },
    readinessAddr: listenAddress(config.readinessAddress),
    requireOriginalSource: config.requireOriginalSource ?? null,
    secretTtl: duration(config.secretTtl),
    selfTerminationDeadline: duration(config.terminationDeadline),
    socketConfig: {
      keepaliveEnabled: config.socket.keepaliveEnabled,
      keepaliveInterval: duration(config.socket.keepaliveInterval),
      keepaliveRetries: config.socket.keepaliveRetries,
      keepaliveTime: duration(config.socket.keepaliveTime),
      userTimeoutEnabled: config.socket.userTimeoutEnabled,
    },
    socks5Addr: config.socks5Address === undefined ? null : formatListenAddress(config.socks5Address),
    statsAddr: listenAddress(config.statsAddress),
    upgradeSocket: config.upgradeSocket ?? null,
    windowSize: config.streamWindow,
    xdsAddress: config.xdsAddress ?? null,
    xdsHeaders: headers(config.xdsHeaders),
    xdsOnDemand: config.xdsOnDemand,
    xdsRootCert: rootCertificate(config.xdsRootCertificate),
    ztunnelIdentity: self === undefined
      ? null
      : `spiffe://${config.selfTrustDomain}/ns/${self.namespace}/sa/${self.serviceAccount}`,
    ztunnelWorkload: self === undefined ? null : { ...self },
  };
}

/** The settings of waypoint mode as its log and `config_dump` show them. Tokens, PEM texts and header values stay out. */
export function dumpWaypointConfig(config: WaypointConfig): { readonly [key: string]: unknown } {
  return {
    ...config,
    authToken: config.authToken.kind === "static" ? { kind: "static" } : config.authToken,
    caHeaders: headers(config.caHeaders),
    caRootCertificate: config.caRootCertificate.kind === "pem" ? { kind: "pem" } : config.caRootCertificate,
    proxyMetadata: Object.keys(config.proxyMetadata),
  };
}
