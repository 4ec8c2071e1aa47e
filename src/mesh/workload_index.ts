/** Workloads by uid, by address, by hostname, and those of our own node by name. Changed in place, record by record. */
import { AddressIndex } from "./addresses.ts";
import { sameItems } from "./same_items.ts";
import { TextMap } from "./text_map.ts";
import type { Workload, WorkloadInfo } from "./workload.ts";

/** Precedence among workloads that share an address: a pod before anything else, then one that speaks HBONE. */
function addressRank(workload: Workload): number {
  return (workload.uid.includes("//Pod/") ? 2 : 0) + (workload.protocol === "HBONE" ? 1 : 0);
}

/** Whether two records of one uid are found by the same addresses, hostname and node. */
function isFoundAlike(a: Workload, b: Workload): boolean {
  return a.network === b.network && a.networkMode === b.networkMode && a.hostname === b.hostname && a.node === b.node &&
    sameItems(a.addresses, b.addresses);
}

/** Makes equal texts one, whose keys are in many maps. */
function shareTexts(before: Workload, after: { -readonly [K in "uid" | "name" | "addresses"]: Workload[K] }): void {
  after.uid = before.uid;
  after.addresses = before.addresses;
  if (after.name === before.name) after.name = before.name;
}

/**
 * Several workloads with one address, the earliest first. Rare: an index entry is usually the workload itself. Yet there
 * may be thousands (entries of many services that all name one egress proxy), so one more or less looks at no other.
 */
class Sharers {
  readonly #members: Set<Workload>;
  /** undefined: to be found when someone asks. */
  #owner: Workload | undefined;

  constructor(first: Workload, second: Workload) {
    this.#members = new Set([first, second]);
  }

  get size(): number {
    return this.#members.size;
  }

  /** The one that a lookup finds: of the highest rank, the latest. */
  get owner(): Workload {
    if (this.#owner !== undefined) return this.#owner;
    let best: Workload | undefined;
    for (const next of this.#members) {
      if (best === undefined || addressRank(next) >= addressRank(best)) best = next;
    }
    return this.#owner = best as Workload;
  }

  add(workload: Workload): void {
    this.#members.add(workload);
    if (this.#owner !== undefined && addressRank(workload) >= addressRank(this.#owner)) this.#owner = workload;
  }

  remove(workload: Workload): void {
    this.#members.delete(workload);
    if (workload === this.#owner) this.#owner = undefined;
  }
}

export class WorkloadIndex {
  readonly #byUid = new TextMap<Workload>();
  readonly #byAddress = new AddressIndex<Workload | Sharers>();
  /** `namespace/hostname` → workloads that have a hostname. */
  readonly #byHostname = new Map<string, Set<Workload>>();
  /** Namespace → name → workloads that run on our node. */
  readonly #local = new Map<string, Map<string, Workload[]>>();
  readonly #nodeName: string | undefined;

  /** @param nodeName our node; undefined: every workload counts as local */
  constructor(nodeName: string | undefined) {
    this.#nodeName = nodeName;
  }

  /** Adds a workload whose uid nobody has (any more). It comes last wherever order decides. */
  add(workload: Workload): void {
    this.#byUid.set(workload.uid, workload);
    if (workload.networkMode !== "HostNetwork") {
      for (const ip of workload.addresses) this.#addAddress(workload, ip);
    }
    if (workload.hostname !== "") this.#addHostname(workload);
    if (this.#isLocal(workload)) this.#addLocal(workload);
  }

  /**
   * Puts a record in place of one of the same uid, if it is found by the same as that and was alone there: what most
   * changes of a mesh are. False: nothing has changed; it must be removed and added.
   */
  replace(before: Workload, after: Workload): boolean {
    if (!isFoundAlike(before, after) || after.hostname !== "" || this.#isLocal(after)) return false;
    shareTexts(before, after);
    const { network, addresses } = after;
    if (after.networkMode !== "HostNetwork") {
      for (const ip of addresses) if (this.#byAddress.get(network, ip) !== before) return false;
      for (const ip of addresses) this.#byAddress.set(network, ip, after);
    }
    this.#byUid.set(after.uid, after);
    return true;
  }

  /** Removes and returns the workload; undefined when there is none. */
  remove(uid: string): Workload | undefined {
    const workload = this.#byUid.get(uid);
    if (workload === undefined) return undefined;
    this.#byUid.delete(uid);
    if (workload.networkMode !== "HostNetwork") {
      for (const ip of workload.addresses) this.#removeAddress(workload, ip);
    }
    if (workload.hostname !== "") this.#removeHostname(workload);
    if (this.#isLocal(workload)) this.#removeLocal(workload);
    return workload;
  }

  #isLocal(workload: Workload): boolean {
    return this.#nodeName === undefined || workload.node === this.#nodeName;
  }

  #addAddress(workload: Workload, ip: string): void {
    const { network } = workload;
    const present = this.#byAddress.get(network, ip);
    if (present === undefined) this.#byAddress.set(network, ip, workload);
    else if (present instanceof Sharers) present.add(workload);
    else if (present !== workload) this.#byAddress.set(network, ip, new Sharers(present, workload));
  }

  #removeAddress(workload: Workload, ip: string): void {
    const { network } = workload;
    const present = this.#byAddress.get(network, ip);
    if (present === workload) {
      this.#byAddress.delete(network, ip);
    } else if (present instanceof Sharers) {
      present.remove(workload);
      if (present.size === 1) this.#byAddress.set(network, ip, present.owner);
    }
  }

  #addHostname(workload: Workload): void {
    const key = `${workload.namespace}/${workload.hostname}`;
    const named = this.#byHostname.get(key);
    if (named === undefined) this.#byHostname.set(key, new Set([workload]));
    else named.add(workload);
  }

  #removeHostname(workload: Workload): void {
    const key = `${workload.namespace}/${workload.hostname}`;
    const named = this.#byHostname.get(key);
    if (named?.delete(workload) && named.size === 0) this.#byHostname.delete(key);
  }

  #addLocal(workload: Workload): void {
    let names = this.#local.get(workload.namespace);
    if (names === undefined) this.#local.set(workload.namespace, names = new Map());
    const list = names.get(workload.name);
    if (list === undefined) names.set(workload.name, [workload]);
    else list.push(workload);
  }

  #removeLocal(workload: Workload): void {
    const names = this.#local.get(workload.namespace);
    const list = names?.get(workload.name);
    if (names === undefined || list === undefined) return;
    const rest = list.filter((other) => other !== workload);
    if (rest.length > 0) names.set(workload.name, rest);
    else if (names.delete(workload.name) && names.size === 0) this.#local.delete(workload.namespace);
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
    const found = this.#byAddress.get(network, ip);
    return found instanceof Sharers ? found.owner : found;
  }

  /** A workload by its hostname; the earliest of several. */
  byHostname(namespace: string, hostname: string): Workload | undefined {
    return this.#byHostname.get(`${namespace}/${hostname}`)?.values().next().value;
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
}
