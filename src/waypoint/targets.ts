/** How a host of a cluster is reached: the target of its byte streams, made once for each state of the endpoint. */
import { parseAddress, type SocketAddress } from "../net/address.ts";
import type { HostState } from "./cluster/mod.ts";
import type { Cluster, ClusterEndpoint, UpstreamTls } from "./snapshot/mod.ts";
import type { PoolLimits, StreamTarget } from "./upstream/mod.ts";

interface Known {
  readonly endpoint: ClusterEndpoint;
  readonly cluster: Cluster;
  readonly target: StreamTarget;
}

export interface TargetOptions {
  /** `spiffe://<trust domain>/`: what a tunnel's peer must at least show. */
  readonly trustDomainPrefix: string;
  /** Our own addresses: no tunnel goes to them, for it would come back to us. */
  readonly ownAddresses: ReadonlySet<string>;
}

/** What of one flow has a part in how the host is reached. */
export interface TargetFlow {
  /** For TLS with automatic SNI: the authority of the request; undefined for TCP. */
  readonly authority: string | undefined;
  /** For the PROXY protocol. */
  readonly source: SocketAddress;
  readonly destination: SocketAddress;
}

export class Targets {
  readonly #options: TargetOptions;
  readonly #known = new WeakMap<HostState, Known>();

  constructor(options: TargetOptions) {
    this.#options = options;
  }

  /** undefined: the endpoint has no address that may be dialled. */
  of(cluster: Cluster, host: HostState, flow: TargetFlow): StreamTarget | undefined {
    const perFlow = cluster.proxyProtocol !== undefined || cluster.tls?.autoSni === true;
    const { endpoint } = host;
    if (!perFlow) {
      const known = this.#known.get(host);
      if (known !== undefined && known.endpoint === endpoint && known.cluster === cluster) return known.target;
    }
    const target = this.#make(cluster, host, flow);
    if (target !== undefined && !perFlow) this.#known.set(host, { endpoint, cluster, target });
    return target;
  }

  #make(cluster: Cluster, host: HostState, flow: TargetFlow): StreamTarget | undefined {
    const { endpoint } = host;
    const address = parseAddress(endpoint.address);
    if (address === undefined) return undefined;
    const { ownAddresses } = this.#options;
    if (endpoint.kind !== "tcp" && ownAddresses.has(address.ip)) return undefined;
    const tls = cluster.tls === undefined ? undefined : resolvedTls(cluster.tls, flow.authority);
    const { proxyProtocol } = cluster;
    const tunnel = endpoint.tunnel === undefined ? undefined : parseAddress(endpoint.tunnel);
    if (tunnel !== undefined && ownAddresses.has(tunnel.ip)) return undefined;
    let key = host.key;
    if (cluster.tls?.autoSni === true) key += `|${tls?.sni ?? ""}`;
    if (proxyProtocol !== undefined) key += `|${flow.source.ip}:${flow.source.port}`;
    return {
      key,
      kind: endpoint.kind,
      address,
      additionalAddresses: endpoint.additionalAddresses.map(parseAddress).filter((other) => other !== undefined),
      tunnel,
      authority: endpoint.kind === "double-hbone" ? endpoint.innerAuthority : undefined,
      expectedIdentities: endpoint.expectedIdentities.length > 0
        ? endpoint.expectedIdentities
        : [this.#options.trustDomainPrefix],
      tls,
      proxyProtocol: proxyProtocol && {
        version: proxyProtocol,
        source: flow.source,
        destination: flow.destination,
      },
      keepAlive: cluster.keepalive,
      connectTimeoutMs: cluster.connectTimeoutMs,
    };
  }
}

function resolvedTls(tls: UpstreamTls, authority: string | undefined): NonNullable<StreamTarget["tls"]> {
  const { autoSni, sni, ...rest } = tls;
  return { ...rest, sni: autoSni && authority !== undefined ? hostName(authority) : sni };
}

/** A host without its port. */
function hostName(authority: string): string {
  const colon = authority.lastIndexOf(":");
  return colon > 0 && authority.indexOf("]") < colon ? authority.slice(0, colon) : authority;
}

/** What a cluster allows each of its pools. */
export function poolLimits(cluster: Cluster): PoolLimits {
  const { breakers } = cluster;
  return {
    maxConnections: breakers.maxConnections,
    maxPendingRequests: breakers.maxPendingRequests,
    maxRequestsPerConnection: cluster.maxRequestsPerConnection,
    idleTimeoutMs: cluster.idleTimeoutMs,
    maxConnectionDurationMs: cluster.maxConnectionDurationMs,
    keepCase: cluster.preserveHeaderCase,
  };
}
