/** A snapshot of the mesh: who is where, which services there are, which policies apply. Never changes. */
import type { LocalDocument } from "../config/local_document.ts";
import { parseIdentity } from "../identity/spiffe.ts";
import { type Policy, PolicyIndex, type PolicySet } from "../policy/mod.ts";
import { type Candidate, EndpointPool } from "./load_balancing.ts";
import { type Endpoint, type Service, serviceKey } from "./service.ts";
import { ServiceIndex } from "./service_index.ts";
import { type Workload, workloadIdentity, type WorkloadInfo } from "./workload.ts";
import { WorkloadIndex } from "./workload_index.ts";

export interface MeshContents {
  readonly workloads: Iterable<Workload>;
  readonly services: Iterable<Service>;
  readonly policies: Iterable<Policy>;
  /** Endpoints whose service is not known (yet): `namespace/hostname` → uid → endpoint. */
  readonly staged?: ReadonlyMap<string, ReadonlyMap<string, Endpoint>>;
}

export class MeshState {
  readonly #workloads: WorkloadIndex;
  readonly #services: ServiceIndex;
  readonly #policies: PolicyIndex;
  readonly #staged: ReadonlyMap<string, ReadonlyMap<string, Endpoint>>;
  readonly #pools = new Map<Service, EndpointPool>();
  readonly #memberships = new Map<Workload, readonly Service[]>();
  readonly #identities = new Map<Workload, readonly string[]>();
  readonly #serviceIdentities = new Map<Service, Map<Workload, readonly string[]>>();

  /** @param nodeName our node; undefined: every workload counts as local */
  constructor(contents: MeshContents, nodeName: string | undefined) {
    this.#workloads = new WorkloadIndex(contents.workloads, nodeName);
    this.#services = new ServiceIndex(contents.services);
    this.#policies = new PolicyIndex(contents.policies);
    this.#staged = contents.staged ?? new Map();
  }

  /** A mesh in which nothing is known. */
  static empty(): MeshState {
    return new MeshState({ workloads: [], services: [], policies: [] }, undefined);
  }

  /** The mesh that a local file describes. */
  static fromDocument(document: LocalDocument, nodeName: string | undefined): MeshState {
    const endpoints = new Map<string, Map<string, Endpoint>>();
    for (const { service, endpoint } of document.memberships) {
      let members = endpoints.get(service);
      if (members === undefined) endpoints.set(service, members = new Map());
      members.set(endpoint.workloadUid, endpoint);
    }
    const services: Service[] = [];
    for (const service of document.services) {
      const key = serviceKey(service);
      services.push(withEndpoints(service, endpoints.get(key)));
      endpoints.delete(key);
    }
    const { workloads, policies } = document;
    return new MeshState({ workloads, services, policies, staged: endpoints }, nodeName);
  }

  /** By uid, in no particular order. */
  workloads(): IterableIterator<Workload> {
    return this.#workloads.values();
  }

  services(): IterableIterator<Service> {
    return this.#services.values();
  }

  get policies(): PolicyIndex {
    return this.#policies;
  }

  /** Endpoints that wait for their service. */
  get stagedEndpoints(): ReadonlyMap<string, ReadonlyMap<string, Endpoint>> {
    return this.#staged;
  }

  workloadByUid(uid: string): Workload | undefined {
    return this.#workloads.byUid(uid);
  }

  /** The workload that owns an address; host network workloads own none. */
  workloadByAddress(network: string, ip: string): Workload | undefined {
    return this.#workloads.byAddress(network, ip);
  }

  workloadByHostname(namespace: string, hostname: string): Workload | undefined {
    return this.#workloads.byHostname(namespace, hostname);
  }

  /** The record of a pod of this node. */
  localWorkload(info: WorkloadInfo): Workload | undefined {
    return this.#workloads.local(info);
  }

  /** The records of all workloads of this node. */
  localWorkloads(): Generator<Workload> {
    return this.#workloads.locals();
  }

  /** @param clientNamespace who asks, for visibility and precedence; undefined: nobody in particular */
  serviceByVip(network: string, ip: string, clientNamespace?: string): Service | undefined {
    return this.#services.byVip(network, ip, clientNamespace);
  }

  serviceByHostname(hostname: string, clientNamespace?: string): Service | undefined {
    return this.#services.byHostname(hostname, clientNamespace);
  }

  /** The service `namespace/hostname`. */
  service(namespace: string, hostname: string): Service | undefined {
    return this.#services.byKey(`${namespace}/${hostname}`);
  }

  policiesFor(workload: Workload): PolicySet {
    return this.#policies.for(workload);
  }

  /** Services that a workload is an endpoint of. Looked up once for each workload: only local ones are asked for. */
  servicesOf(workload: Workload): readonly Service[] {
    let services = this.#memberships.get(workload);
    if (services === undefined) {
      services = [...this.#services.values()].filter((service) => service.endpoints.has(workload.uid));
      this.#memberships.set(workload, services);
    }
    return services;
  }

  /** The endpoints of a service whose workloads are known. */
  endpointPool(service: Service): EndpointPool {
    let pool = this.#pools.get(service);
    if (pool === undefined) {
      const candidates: Candidate[] = [];
      for (const { workloadUid, ports } of service.endpoints.values()) {
        const workload = this.#workloads.byUid(workloadUid);
        if (workload !== undefined) candidates.push({ workload, ports });
      }
      this.#pools.set(service, pool = new EndpointPool(service, candidates));
    }
    return pool;
  }

  /**
   * SPIFFE ids that a workload may show when it is reached (as an endpoint of a service): its own and the service's
   * alternative names. The same array each time.
   */
  expectedIdentities(workload: Workload, service: Service | undefined): readonly string[] {
    if (service === undefined || service.subjectAltNames.length === 0) {
      return remember(this.#identities, workload, () => [workloadIdentity(workload)]);
    }
    const identities = remember(this.#serviceIdentities, service, () => new Map<Workload, readonly string[]>());
    return remember(identities, workload, () => [
      ...service.subjectAltNames.filter((name) => parseIdentity(name) !== undefined),
      workloadIdentity(workload),
    ]);
  }
}

function remember<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  let value = map.get(key);
  if (value === undefined) map.set(key, value = make());
  return value;
}

/** The service with its endpoints; unhealthy ones only where the health policy wants them. */
function withEndpoints(service: Service, members: ReadonlyMap<string, Endpoint> | undefined): Service {
  const all = service.loadBalancer?.healthPolicy === "AllowAll";
  const endpoints = new Map<string, Endpoint>();
  for (const [uid, endpoint] of members ?? []) {
    if (all || endpoint.status === "Healthy") endpoints.set(uid, endpoint);
  }
  return { ...service, endpoints };
}
