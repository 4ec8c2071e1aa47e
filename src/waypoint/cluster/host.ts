/** An upstream host: an endpoint with what the proxy knows of it while it lasts. */
import type { ClusterEndpoint, EndpointLocality } from "../snapshot/cluster.ts";

/** What the data path sees of a host. It counts its requests in `activeRequests`. */
export interface HostState {
  /** The newest data of the endpoint; weight, health and workload may change while the host stays the same. */
  readonly endpoint: ClusterEndpoint;
  /** Identity within its cluster: kind, address and tunnel. Usable as part of a pool key. */
  readonly key: string;
  readonly locality: EndpointLocality;
  readonly priority: number;
  /** The endpoint has left the cluster: what runs may end, nothing new is sent to it. */
  readonly removed: boolean;
  /** Requests (TCP: connections) under way; the caller counts up and down, LEAST_REQUEST reads. */
  activeRequests: number;
}

export class Host implements HostState {
  endpoint: ClusterEndpoint;
  readonly key: string;
  locality: EndpointLocality;
  priority: number;
  removed = false;
  activeRequests = 0;
  /** When it came or became healthy, ms of the clock of the cluster: where slow start begins. */
  since: number;
  /** When it was chosen last, the same clock; kept for hosts that come on demand. */
  usedAt = 0;

  constructor(key: string, endpoint: ClusterEndpoint, locality: EndpointLocality, priority: number, since: number) {
    this.key = key;
    this.endpoint = endpoint;
    this.locality = locality;
    this.priority = priority;
    this.since = since;
  }
}

/** Two endpoints with the same key are the same host. */
export function endpointKey(endpoint: ClusterEndpoint): string {
  const { kind, address, tunnel, innerAuthority } = endpoint;
  return tunnel === undefined ? `${kind}|${address}` : `${kind}|${address}|${tunnel}|${innerAuthority ?? ""}`;
}
