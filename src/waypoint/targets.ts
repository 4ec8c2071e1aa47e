/** How a host of a cluster is reached: the target of its byte streams, made once for each state of the endpoint. */
import { formatAddress, parseAddress, type SocketAddress } from "../net/address.ts";
import type { HostState, LoadBalancedCluster } from "./cluster/mod.ts";
import type { Cluster, ClusterEndpoint, UpstreamTls } from "./snapshot/mod.ts";
import type { PoolLimits, StreamTarget, UpstreamPoolSet } from "./upstream/mod.ts";

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
    const basis = this.basis(cluster, host);
    if (basis?.perFlow === undefined) return basis;
    let { key, tls } = basis;
    const { sni, proxyProtocol } = basis.perFlow;
    if (sni && tls !== undefined && flow.authority !== undefined) {
      tls = { ...tls, sni: hostName(flow.authority) };
      key += `|${tls.sni}`;
    }
    if (proxyProtocol === undefined) return { ...basis, basis, perFlow: undefined, key, tls };
    const { source, destination } = flow;
    key += `|${formatAddress(source)}|${formatAddress(destination)}`;
    const header = { version: proxyProtocol, source, destination };
    return { ...basis, basis, perFlow: undefined, key, tls, proxyProtocol: header };
  }

  /**
   * What all flows to a host have in common, without SNI of a request and PROXY header. It is the same object for as long
   * as cluster and endpoint say the same, in whatever objects: pools compare it by identity.
   */
  basis(cluster: Cluster, host: HostState): StreamTarget | undefined {
    const { endpoint } = host;
    const known = this.#known.get(host);
    if (known !== undefined && known.endpoint === endpoint && known.cluster === cluster) return known.target;
    let target = this.#make(cluster, host);
    if (target === undefined) return undefined;
    if (known !== undefined && Bun.deepEquals(known.target, target)) target = known.target;
    this.#known.set(host, { endpoint, cluster, target });
    return target;
  }

  #make(cluster: Cluster, host: HostState): StreamTarget | undefined {
    const { endpoint } = host;
    const address = parseAddress(endpoint.address);
    if (address === undefined) return undefined;
    const { ownAddresses } = this.#options;
    if (endpoint.kind !== "tcp" && ownAddresses.has(address.ip)) return undefined;
    const tunnel = endpoint.tunnel === undefined ? undefined : parseAddress(endpoint.tunnel);
    if (tunnel !== undefined && ownAddresses.has(tunnel.ip)) return undefined;
    const { proxyProtocol } = cluster;
    const sni = cluster.tls?.autoSni === true;
    return {
      key: host.key,
      perFlow: sni || proxyProtocol !== undefined ? { sni, proxyProtocol } : undefined,
      kind: endpoint.kind,
      address,
      additionalAddresses: endpoint.additionalAddresses.map(parseAddress).filter((other) => other !== undefined),
      tunnel,
      authority: endpoint.kind === "double-hbone" ? endpoint.innerAuthority : undefined,
      expectedIdentities: endpoint.expectedIdentities.length > 0
        ? endpoint.expectedIdentities
        : [this.#options.trustDomainPrefix],
      tls: cluster.tls === undefined ? undefined : withoutAutoSni(cluster.tls),
      keepAlive: cluster.keepalive,
      connectTimeoutMs: cluster.connectTimeoutMs,
    };
  }
}

function withoutAutoSni({ autoSni: _, ...tls }: UpstreamTls): NonNullable<StreamTarget["tls"]> {
  return tls;
}

/** A host without its port. */
function hostName(authority: string): string {
  const colon = authority.lastIndexOf(":");
  return colon > 0 && authority.indexOf("]") < colon ? authority.slice(0, colon) : authority;
}

const limitsOf = new WeakMap<Cluster, PoolLimits>();

/** What a cluster allows each of its pools; the same object for the same cluster. */
export function poolLimits(cluster: Cluster): PoolLimits {
  let limits = limitsOf.get(cluster);
  if (limits === undefined) {
    const { breakers } = cluster;
    limits = {
      maxConnections: breakers.maxConnections,
      maxPendingRequests: breakers.maxPendingRequests,
      maxRequestsPerConnection: cluster.maxRequestsPerConnection,
      idleTimeoutMs: cluster.idleTimeoutMs,
      maxConnectionDurationMs: cluster.maxConnectionDurationMs,
      keepCase: cluster.preserveHeaderCase,
    };
    limitsOf.set(cluster, limits);
  }
  return limits;
}

/** Drains the pools of hosts that are reached otherwise than before: no request needs to come for that. */
export function reviewPools(balanced: LoadBalancedCluster, targets: Targets, pools: UpstreamPoolSet): void {
  const { cluster } = balanced;
  for (const host of balanced.hosts()) {
    const basis = targets.basis(cluster, host);
    if (basis === undefined) pools.drain(cluster.name, host.key);
    else pools.review(cluster.name, basis, poolLimits(cluster));
  }
}
