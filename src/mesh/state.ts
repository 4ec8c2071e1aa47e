/** What is known of the mesh: who is where, which services there are, which policies apply. Changed in place. */
import type { LocalDocument } from "../config/local_document.ts";
import { PolicyIndex, policyKey, type PolicySet } from "../policy/mod.ts";
import { EndpointStore } from "./endpoint_store.ts";
import { ExpectedIdentities } from "./expected_identities.ts";
import type { EndpointPool } from "./load_balancing.ts";
import type { Endpoint, Service } from "./service.ts";
import { type HostnamePreference, ServiceIndex } from "./service_index.ts";
import type { MeshChange, MeshUpdate, RejectedPolicy, WorkloadChange, WorkloadUpdate } from "./update.ts";
import { parseRanges } from "./vip_ranges.ts";
import type { Workload, WorkloadInfo } from "./workload.ts";
import { WorkloadIndex } from "./workload_index.ts";

/**
 * Records are immutable, and what is answered holds until the next `apply`; the state itself changes in place, as a
 * push touches few records of many.
 */
export class MeshState {
  readonly #workloads: WorkloadIndex;
  readonly #services = new ServiceIndex();
  readonly #endpoints: EndpointStore;
  readonly #policies = new PolicyIndex();
  readonly #identities = new ExpectedIdentities();
  /** Of the read that `reading` watches. */
  #missing: Set<string> | undefined = undefined;

  /** @param nodeName our node; undefined: every workload counts as local */
  constructor(nodeName?: string) {
    this.#workloads = new WorkloadIndex(nodeName);
    this.#endpoints = new EndpointStore(this.#workloads, this.#services);
  }

  /** A mesh in which nothing is known. */
  static empty(): MeshState {
    return new MeshState();
  }

  /** The mesh that a local file describes. */
  static fromDocument(document: LocalDocument, nodeName: string | undefined): MeshState {
    const { workloads, services, policies, memberships } = document;
    const state = new MeshState(nodeName);
    const { rejectedPolicies: [rejected] } = state.apply({
      workloads: workloads.map((workload) => ({ workload, memberships: [] })),
      services,
      policies,
    });
    if (rejected !== undefined) throw new Error(rejected.error);
    for (const { service, workloadUid, endpoint } of memberships) state.#endpoints.list(service, workloadUid, endpoint);
    return state;
  }

  /**
   * Applies a batch: policies, then removals, services and workloads. Throws on a CIDR VIP that is none, before anything
   * is changed: whoever decodes records refuses those.
   */
  apply(update: MeshUpdate): MeshChange {
    const services = (update.services ?? []).map((service) => ({ service, ranges: parseRanges(service) }));
    const rejectedPolicies: RejectedPolicy[] = [];
    const policiesChanged = this.#applyPolicies(update, rejectedPolicies);
    const workloads: WorkloadChange[] = [];
    const unknownRemovals: string[] = [];
    for (const name of update.removed ?? []) {
      const before = this.#removeWorkload(name);
      if (before !== undefined) workloads.push({ before });
      else if (!this.#endpoints.removeService(name)) unknownRemovals.push(name);
    }
    for (const { service, ranges } of services) this.#endpoints.addService(service, ranges);
    for (const insert of update.workloads ?? []) workloads.push(this.#putWorkload(insert));
    return { unknownRemovals, policiesChanged, rejectedPolicies, workloads };
  }

  #putWorkload({ workload, memberships }: WorkloadUpdate): WorkloadChange {
    const before = this.#workloads.byUid(workload.uid);
    if (before !== undefined && this.#workloads.replace(before, workload)) {
      this.#endpoints.rejoin(before, workload, memberships);
      return { before, after: workload };
    }
    if (before !== undefined) this.#removeWorkload(workload.uid);
    this.#workloads.add(workload);
    this.#endpoints.join(workload, memberships);
    return before === undefined ? { after: workload } : { before, after: workload };
  }

  #removeWorkload(uid: string): Workload | undefined {
    const workload = this.#workloads.remove(uid);
    if (workload !== undefined) this.#endpoints.leave(workload);
    return workload;
  }

  #applyPolicies({ policies = [], removedPolicies = [] }: MeshUpdate, rejected: RejectedPolicy[]): boolean {
    const version = this.#policies.version;
    for (const key of removedPolicies) this.#policies.remove(key);
    for (const policy of policies) {
      const result = this.#policies.put(policy);
      if (!result.ok) rejected.push({ policy: policyKey(policy), error: result.error });
    }
    return this.#policies.version !== version;
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
    return this.#endpoints.staged;
  }

  workloadByUid(uid: string): Workload | undefined {
    return this.#workloads.byUid(uid);
  }

  /** The workload that owns an address; host network workloads own none. */
  workloadByAddress(network: string, ip: string): Workload | undefined {
    return this.#workloads.byAddress(network, ip) ?? this.#miss(network, ip);
  }

  workloadByHostname(namespace: string, hostname: string): Workload | undefined {
    return this.#workloads.byHostname(namespace, hostname) ?? this.#miss(namespace, hostname);
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
    return this.#services.byVip(network, ip, clientNamespace) ?? this.#miss(network, ip);
  }

  /** @param preference what DNS adds to the precedence */
  serviceByHostname(hostname: string, clientNamespace?: string, preference?: HostnamePreference): Service | undefined {
    return this.#services.byHostname(hostname, clientNamespace, preference);
  }

  /** The service `namespace/hostname`. */
  service(namespace: string, hostname: string): Service | undefined {
    return this.#services.byKey(`${namespace}/${hostname}`) ?? this.#miss(namespace, hostname);
  }

  /**
   * Reads the mesh, and tells what was asked for and is not there: resource names `network/ip` and `namespace/hostname`
   * (spec/ztunnel.md §3.2). Something of the same name that was found counts as there.
   */
  reading<T>(read: () => T): { readonly value: T; readonly missing: readonly string[] } {
    const missing = new Set<string>();
    const outer = this.#missing;
    this.#missing = missing;
    try {
      const value = read();
      return { value, missing: Array.from(missing).filter((name) => !this.#knows(name)) };
    } finally {
      this.#missing = outer;
    }
  }

  #miss(scope: string, name: string): undefined {
    this.#missing?.add(`${scope}/${name}`);
    return undefined;
  }

  #knows(resource: string): boolean {
    const slash = resource.indexOf("/");
    const [scope, name] = [resource.slice(0, slash), resource.slice(slash + 1)];
    return this.#workloads.byAddress(scope, name) !== undefined ||
      this.#services.byVip(scope, name, undefined) !== undefined ||
      this.#services.byKey(resource) !== undefined || this.#workloads.byHostname(scope, name) !== undefined;
  }

  policiesFor(workload: Workload): PolicySet {
    return this.#policies.for(workload);
  }

  /** Services that a workload is an endpoint of. */
  servicesOf(workload: Workload): readonly Service[] {
    return this.#endpoints.servicesOf(workload);
  }

  /** The endpoints of a service whose workloads are known. */
  endpointPool(service: Service): EndpointPool {
    return this.#endpoints.pool(service);
  }

  /**
   * SPIFFE ids that a workload may show when it is reached (as an endpoint of a service): the service's alternative
   * names and its own. The same array for the same contents.
   */
  expectedIdentities(workload: Workload, service: Service | undefined): readonly string[] {
    return this.#identities.of(workload, service);
  }
}
