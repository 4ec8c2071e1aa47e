/** Hosts that exist because a request wanted to go there: original destinations and resolved authorities. */
import { formatAddress, type SocketAddress } from "../../net/address.ts";
import type { ClusterEndpoint, EndpointLocality } from "../snapshot/cluster.ts";
import { Host } from "./host.ts";

/** A host without requests for so long is forgotten, ms (Envoy: cleanup_interval, connect_originate's 60 s). */
const IDLE_MS = 60_000;
/** Beyond so many, idle hosts are forgotten at once, the oldest first. */
const MAX_HOSTS = 4096;

const NOWHERE: EndpointLocality = { region: "", zone: "", subzone: "" };

/** An endpoint of which only the address is known. */
export function bareEndpoint(kind: "hbone" | "tcp", address: string, others: readonly string[] = []): ClusterEndpoint {
  return {
    kind,
    address,
    additionalAddresses: others,
    tunnel: undefined,
    innerAuthority: undefined,
    expectedIdentities: [],
    weight: 1,
    health: "healthy",
    workload: undefined,
  };
}

/** `host:port` of an authority, lower case; undefined: it is none. */
export function authorityKey(authority: string, defaultPort: number): string | undefined {
  const colon = authority.lastIndexOf(":");
  const bracket = authority.lastIndexOf("]");
  const host = colon > bracket ? authority.slice(0, colon) : authority;
  const port = colon > bracket ? authority.slice(colon + 1) : String(defaultPort);
  const isPort = port.length > 0 && port.length <= 5 && Number(port) > 0 && Number(port) <= 65535 &&
    String(Number(port)) === port;
  if (host === "" || !isPort) return undefined;
  return `${host.toLowerCase()}:${port}`;
}

export class OnDemandHosts {
  readonly #hosts = new Map<string, Host>();
  readonly #now: () => number;
  readonly #removed: (host: Host) => void;
  #sweptAt: number;

  constructor(now: () => number, removed: (host: Host) => void) {
    this.#now = now;
    this.#removed = removed;
    this.#sweptAt = now();
  }

  values(): IterableIterator<Host> {
    return this.#hosts.values();
  }

  /** The host at a destination: a listed one (whose workload is known) before one made for the address alone. */
  at(destination: SocketAddress, hbone: boolean, listed: ReadonlyMap<string, Host>): Host {
    const address = formatAddress(destination);
    const known = listed.get(`hbone|${address}`) ?? listed.get(`tcp|${address}`);
    if (known !== undefined) return known;
    const kind = hbone ? "hbone" : "tcp";
    const key = `${kind}|${address}`;
    return this.get(key) ?? this.put(key, bareEndpoint(kind, address));
  }

  get(key: string): Host | undefined {
    const host = this.#hosts.get(key);
    if (host !== undefined) host.usedAt = this.#now();
    return host;
  }

  /** Adds a host, or gives it another endpoint. */
  put(key: string, endpoint: ClusterEndpoint): Host {
    const now = this.#now();
    let host = this.#hosts.get(key);
    if (host !== undefined) {
      host.endpoint = endpoint;
      return host;
    }
    if (now - this.#sweptAt >= IDLE_MS || this.#hosts.size >= MAX_HOSTS) this.forgetIdle();
    host = new Host(key, endpoint, NOWHERE, 0, now);
    host.usedAt = now;
    this.#hosts.set(key, host);
    return host;
  }

  clear(): void {
    for (const host of this.#hosts.values()) this.#remove(host);
  }

  /** Forgets hosts that have had no request for a while. */
  forgetIdle(): void {
    const now = this.#now();
    this.#sweptAt = now;
    for (const host of this.#hosts.values()) {
      if (host.activeRequests === 0 && now - host.usedAt >= IDLE_MS) this.#remove(host);
    }
    if (this.#hosts.size < MAX_HOSTS) return;
    const idle = [...this.#hosts.values()].filter(({ activeRequests }) => activeRequests === 0)
      .sort((a, b) => a.usedAt - b.usedAt);
    for (const host of idle.slice(0, MAX_HOSTS / 4)) this.#remove(host);
  }

  #remove(host: Host): void {
    host.removed = true;
    this.#hosts.delete(host.key);
    this.#removed(host);
  }
}
