/** Workloads by uid, by address, and those of our own node by name. */
import { AddressIndex } from "./addresses.ts";
import type { Workload, WorkloadInfo } from "./workload.ts";

/** Precedence among workloads that share an address: a pod before anything else, then one that speaks HBONE. */
function addressRank(workload: Workload): number {
  return (workload.uid.includes("//Pod/") ? 2 : 0) + (workload.protocol === "HBONE" ? 1 : 0);
}

export class WorkloadIndex {
  readonly #byUid = new Map<string, Workload>();
  readonly #byAddress = new AddressIndex<Workload>();
  /** Namespace → name → workloads that run on our node. */
  readonly #local = new Map<string, Map<string, Workload[]>>();

  /** @param nodeName our node; undefined: every workload counts as local */
  constructor(workloads: Iterable<Workload>, nodeName: string | undefined) {
    for (const workload of workloads) this.#byUid.set(workload.uid, workload);
    for (const workload of this.#byUid.values()) {
      if (workload.networkMode !== "HostNetwork") this.#indexAddresses(workload);
      if (nodeName === undefined || workload.node === nodeName) this.#indexLocal(workload);
    }
  }

  #indexAddresses(workload: Workload): void {
    for (const ip of workload.addresses) {
      const present = this.#byAddress.get(workload.network, ip);
      if (present === undefined || addressRank(workload) >= addressRank(present)) {
        this.#byAddress.set(workload.network, ip, workload);
      }
    }
  }

  #indexLocal(workload: Workload): void {
    let names = this.#local.get(workload.namespace);
    if (names === undefined) this.#local.set(workload.namespace, names = new Map());
    const list = names.get(workload.name);
    if (list === undefined) names.set(workload.name, [workload]);
    else list.push(workload);
  }

  get size(): number {
    return this.#byUid.size;
  }

  values(): IterableIterator<Workload> {
    return this.#byUid.values();
  }

  byUid(uid: string): Workload | undefined {
    return this.#byUid.get(uid);
  }

  byAddress(network: string, ip: string): Workload | undefined {
    return this.#byAddress.get(network, ip);
  }

  /** The record of a pod of this node, all three of name, namespace and service account being equal. */
  local(info: WorkloadInfo): Workload | undefined {
    const list = this.#local.get(info.namespace)?.get(info.name);
    if (list === undefined) return undefined;
    for (const workload of list) if (workload.serviceAccount === info.serviceAccount) return workload;
    return undefined;
  }

  /** All that run on this node. */
  *locals(): Generator<Workload> {
    for (const names of this.#local.values()) {
      for (const list of names.values()) yield* list;
    }
  }

  /** A workload by its hostname. A scan: only gateways given by the hostname of a workload need it. */
  byHostname(namespace: string, hostname: string): Workload | undefined {
    for (const workload of this.#byUid.values()) {
      if (workload.hostname === hostname && workload.namespace === namespace) return workload;
    }
    return undefined;
  }
}
