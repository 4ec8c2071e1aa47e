/** Which workload is an endpoint of which service, and what waits for a service that is not known yet. */
import { type Candidate, EndpointPool } from "./load_balancing.ts";
import { type Endpoint, type Service, serviceKey } from "./service.ts";
import type { LiveService, ServiceIndex } from "./service_index.ts";
import type { ServiceMembership } from "./update.ts";
import type { VipRange } from "./vip_ranges.ts";
import { TextMap } from "./text_map.ts";
import type { HealthStatus, PortMap, Workload } from "./workload.ts";
import type { WorkloadIndex } from "./workload_index.ts";

const NONE: readonly never[] = [];

function allowsAll(service: Service): boolean {
  return service.loadBalancer?.healthPolicy === "AllowAll";
}

function sameServices({ services }: Workload, memberships: readonly ServiceMembership[]): boolean {
  if (services.length !== memberships.length) return false;
  for (let i = 0; i < services.length; i++) if (services[i] !== memberships[i]!.service) return false;
  return true;
}

/** By their ports, which are one list for all that say the same (xds/istio/shared.ts). */
const healthy = new WeakMap<PortMap, Endpoint>();

function sharedEndpoint(ports: PortMap, status: HealthStatus): Endpoint {
  if (status !== "Healthy") return { ports, status };
  let endpoint = healthy.get(ports);
  if (endpoint === undefined) healthy.set(ports, endpoint = { ports, status });
  return endpoint;
}

/**
 * The endpoints of all services (spec/ztunnel.md §3.3). Those of a service are changed in place, one at a time; an
 * unhealthy one is kept only if the service allows all when it comes, and lost when a service stops to allow all.
 */
export class EndpointStore {
  readonly #workloads: WorkloadIndex;
  readonly #services: ServiceIndex;
  /**
   * Uid → keys of the services that the workload was made an endpoint of, wanted there or not; absent where they are
   * those of its record, as they are for all that come from a control plane.
   */
  readonly #memberships = new TextMap<readonly string[]>();
  /** Endpoints whose service is not known: `namespace/hostname` → uid → endpoint. */
  readonly #staged = new Map<string, Map<string, Endpoint>>();
  /** Made when first asked for, then kept up to date; a record that takes the place of another has a new one. */
  readonly #pools = new WeakMap<Service, EndpointPool>();

  constructor(workloads: WorkloadIndex, services: ServiceIndex) {
    this.#workloads = workloads;
    this.#services = services;
  }

  get staged(): ReadonlyMap<string, ReadonlyMap<string, Endpoint>> {
    return this.#staged;
  }

  /** Adds or replaces a service, with the endpoints that are there for it and that it wants. */
  addService(service: Service, ranges: readonly VipRange[]): void {
    const key = serviceKey(service);
    const before = this.#services.remove(key);
    const endpoints = before?.endpoints ?? this.#staged.get(key) ?? new Map<string, Endpoint>();
    this.#staged.delete(key);
    if (!allowsAll(service) && (before === undefined || allowsAll(before))) {
      for (const [uid, { status }] of endpoints) if (status === "Unhealthy") endpoints.delete(uid);
    }
    this.#services.add({ ...service, endpoints }, ranges);
  }

  /** Removes a service; its endpoints wait for it to come back, as their workloads still name it. False: not there. */
  removeService(key: string): boolean {
    const service = this.#services.remove(key);
    if (service === undefined) return false;
    if (service.endpoints.size > 0) this.#staged.set(key, service.endpoints);
    return true;
  }

  /** Makes a workload, just added, an endpoint of services; what was listed for its uid before it came stays. */
  join(workload: Workload, memberships: readonly ServiceMembership[]): void {
    const { uid, status } = workload;
    const listed = this.#memberships.get(uid) ?? NONE;
    for (const key of listed) this.#admit(key, uid);
    if (listed.length > 0 || !sameServices(workload, memberships)) {
      this.#memberships.set(uid, [...listed, ...memberships.map(({ service }) => service)]);
    }
    for (const { service, ports } of memberships) this.#put(service, uid, sharedEndpoint(ports, status));
  }

  /** As `join` for a record that has taken the place of another. */
  rejoin(before: Workload, after: Workload, memberships: readonly ServiceMembership[]): void {
    // Those of the same services are replaced where they are.
    if (this.#memberships.get(after.uid) !== undefined || !sameServices(before, memberships)) this.leave(before);
    this.join(after, memberships);
  }

  /** An endpoint that is listed with its service (a local file), whether its workload is known or not. */
  list(key: string, uid: string, endpoint: Endpoint): void {
    const workload = this.#workloads.byUid(uid);
    this.#memberships.set(uid, [...this.#keys(uid, workload), key]);
    this.#put(key, uid, endpoint);
  }

  /** Keys of the services that a workload was made an endpoint of. */
  #keys(uid: string, workload: Workload | undefined): readonly string[] {
    return this.#memberships.get(uid) ?? workload?.services ?? NONE;
  }

  /** Removes all endpoints of a workload, staged ones too. */
  leave(workload: Workload): void {
    const { uid } = workload;
    for (const key of this.#keys(uid, workload)) {
      const service = this.#services.byKey(key);
      if (service !== undefined) {
        this.#drop(service, uid);
        continue;
      }
      const waiting = this.#staged.get(key);
      if (waiting?.delete(uid) && waiting.size === 0) this.#staged.delete(key);
    }
    this.#memberships.delete(uid);
  }

  #put(key: string, uid: string, endpoint: Endpoint): void {
    const service = this.#services.byKey(key);
    if (service === undefined) {
      let waiting = this.#staged.get(key);
      if (waiting === undefined) this.#staged.set(key, waiting = new Map());
      waiting.set(uid, endpoint);
    } else if (endpoint.status === "Healthy" || allowsAll(service)) {
      service.endpoints.set(uid, endpoint);
      this.#admit(key, uid);
    } else {
      this.#drop(service, uid);
    }
  }

  /** An endpoint can be chosen once its workload is known. */
  #admit(key: string, uid: string): void {
    const service = this.#services.byKey(key);
    const pool = service && this.#pools.get(service);
    const endpoint = service?.endpoints.get(uid);
    const workload = this.#workloads.byUid(uid);
    if (endpoint !== undefined && workload !== undefined) pool?.put({ workload, ports: endpoint.ports });
  }

  #drop(service: LiveService, uid: string): void {
    service.endpoints.delete(uid);
    this.#pools.get(service)?.remove(uid);
  }

  /** The services that a workload is an endpoint of. */
  servicesOf(workload: Workload): Service[] {
    const { uid } = workload;
    const services: Service[] = [];
    for (const key of this.#keys(uid, workload)) {
      const service = this.#services.byKey(key);
      if (service?.endpoints.has(uid) && !services.includes(service)) services.push(service);
    }
    return services;
  }

  /** The endpoints of a service whose workloads are known. */
  pool(service: Service): EndpointPool {
    let pool = this.#pools.get(service);
    if (pool === undefined) {
      const candidates: Candidate[] = [];
      for (const [uid, { ports }] of service.endpoints) {
        const workload = this.#workloads.byUid(uid);
        if (workload !== undefined) candidates.push({ workload, ports });
      }
      this.#pools.set(service, pool = new EndpointPool(service, candidates));
    }
    return pool;
  }
}
