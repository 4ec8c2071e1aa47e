/** Random batches of changes to a small, crowded mesh, and a slow, literal account of what they leave behind. */
import {
  type Endpoint,
  type GatewayAddress,
  type MeshUpdate,
  newService,
  type Service,
  serviceKey,
  type Workload,
  type WorkloadChange,
  type WorkloadUpdate,
} from "../../src/mesh/mod.ts";
import { newMatch, type Policy, policyKey } from "../../src/policy/mod.ts";
import { pod } from "./fixtures.ts";

export const NETWORKS = ["", "n2"];
export const IPS = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.1.2.3", "fd00::1", "fd00:0:1::1"];
export const NAMESPACES = ["shop", "bank"];
export const HOSTNAMES = ["a.example", "b.example", "c.example"];
export const POLICIES = ["allow", "deny"];
const CIDRS = ["10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "fd00::/16", "fd00::/48", "0.0.0.0/0"];
const GATEWAY: GatewayAddress = { destination: { kind: "address", network: "", ip: "10.0.0.9" }, hboneMtlsPort: 15008 };
const UIDS = ["c//Pod/shop/a", "c//Pod/shop/b", "c//Pod/bank/a", "c/entry/a", "c/entry/b", "shop/a.example"];

/** What of a record may be another the next time. */
const CHANGES: readonly (readonly (keyof Workload | "memberships")[])[] = [
  ["locality"],
  ["capacity"],
  ["status"],
  ["networkMode"],
  ["node"],
  ["protocol"],
  ["network"],
  ["addresses"],
  ["services", "memberships"],
  ["hostname"],
  ["namespace", "name"],
  ["networkGateway"],
  ["authorizationPolicies"],
  ["memberships"],
];

/** Numbers in [0, 1) that a seed determines (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let bits = Math.imul(state ^ (state >>> 15), 1 | state);
    bits = (bits + Math.imul(bits ^ (bits >>> 7), 61 | bits)) ^ bits;
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32;
  };
}

export class RandomMesh {
  readonly #random: () => number;
  readonly #told = new Map<string, WorkloadUpdate>();

  constructor(seed: number) {
    this.#random = seeded(seed);
  }

  #chance(probability: number): boolean {
    return this.#random() < probability;
  }

  #one<T>(of: readonly T[]): T {
    return of[Math.floor(this.#random() * of.length)]!;
  }

  #some<T>(of: readonly T[], most: number): T[] {
    const count = Math.floor(this.#random() * (most + 1));
    return [...new Set(Array.from({ length: count }, () => this.#one(of)))];
  }

  #many<T>(most: number, make: () => T): T[] {
    return Array.from({ length: Math.floor(this.#random() * (most + 1)) }, make);
  }

  #key(): string {
    return `${this.#one(NAMESPACES)}/${this.#one(HOSTNAMES)}`;
  }

  /** A record, or what was told of it last with something changed, as most pushes of a control plane are. */
  #workload(): WorkloadUpdate {
    const uid = this.#one(UIDS);
    const last = this.#told.get(uid);
    const update = last === undefined || this.#chance(0.5) ? this.#newWorkload(uid) : this.#changed(last);
    this.#told.set(uid, update);
    return update;
  }

  #changed({ workload, memberships }: WorkloadUpdate): WorkloadUpdate {
    const other = this.#newWorkload(workload.uid);
    // Lists of one text are not one list.
    const same = { ...workload, addresses: [...workload.addresses], services: [...workload.services] };
    const changed = this.#one(CHANGES);
    for (const field of changed) if (field !== "memberships") Object.assign(same, { [field]: other.workload[field] });
    return { workload: same, memberships: changed.includes("memberships") ? other.memberships : memberships };
  }

  #newWorkload(uid: string): WorkloadUpdate {
    const keys = [...new Set(this.#many(3, () => this.#key()))];
    const addresses = this.#some(IPS, 2);
    // One that says an address twice.
    if (addresses.length > 0 && this.#chance(0.05)) addresses.push(addresses[0]!);
    const workload = pod(this.#one(["a", "b"]), addresses, {
      uid,
      namespace: this.#one(NAMESPACES),
      network: this.#one(NETWORKS),
      hostname: this.#chance(0.3) ? this.#one(HOSTNAMES) : "",
      protocol: this.#one(["TCP", "HBONE"]),
      networkMode: this.#chance(0.1) ? "HostNetwork" : "Standard",
      node: this.#one(["node-a", "node-b"]),
      locality: { region: this.#one(["r1", "r2"]), zone: "", subzone: "" },
      capacity: this.#one([0, 1, 1, 3]),
      networkGateway: this.#chance(0.2) ? GATEWAY : undefined,
      status: this.#chance(0.2) ? "Unhealthy" : "Healthy",
      // A control plane's records say their services, those of a file do not.
      services: this.#chance(0.8) ? keys : [],
      authorizationPolicies: this.#some(POLICIES.map((name) => `shop/${name}`), 2),
    });
    return { workload, memberships: keys.map((service) => ({ service, ports: this.#one([[], [80, 9090]]) })) };
  }

  #service(): Service {
    const network = this.#one(NETWORKS);
    return newService({
      name: "s",
      namespace: this.#one(NAMESPACES),
      hostname: this.#one(HOSTNAMES),
      vips: this.#some(IPS, 2).map((ip) => ({ network, ip })),
      cidrVips: this.#some(CIDRS, 2).map((cidr) => ({ network, cidr })),
      ports: this.#one([[80, 8080], [80, 0]]),
      subjectAltNames: this.#chance(0.3) ? ["spiffe://td/ns/a/sa/b"] : [],
      canonical: this.#chance(0.3),
      visibility: this.#chance(0.2) ? "Namespace" : "Public",
      loadBalancer: this.#chance(0.3) ? undefined : {
        mode: this.#one(["Standard", "Strict", "Failover"]),
        routingPreferences: this.#one([["Network", "Region"], ["Region"], []]),
        healthPolicy: this.#one(["OnlyHealthy", "AllowAll"]),
      },
    });
  }

  #policy(): Policy {
    return {
      name: this.#one(POLICIES),
      namespace: "shop",
      scope: this.#one(["Global", "Namespace", "WorkloadSelector"]),
      action: this.#one(["Allow", "Deny"]),
      rules: [[[newMatch({ destinationPorts: [Math.floor(this.#random() * 100)] })]]],
      dryRun: this.#chance(0.2),
    };
  }

  update(): MeshUpdate {
    return {
      removed: this.#many(2, () => this.#chance(0.5) ? this.#one(UIDS) : this.#key()),
      services: this.#many(2, () => this.#service()),
      workloads: this.#many(3, () => this.#workload()),
      policies: this.#many(1, () => this.#policy()),
      removedPolicies: this.#many(1, () => `shop/${this.#one(POLICIES)}`),
    };
  }
}

/** What spec/ztunnel.md §3.3 makes of batches, with no index at all. */
export class Account {
  readonly workloads = new Map<string, Workload>();
  readonly services = new Map<string, Service>();
  readonly policies = new Map<string, Policy>();
  /** By service, known or not. */
  readonly endpoints = new Map<string, Map<string, Endpoint>>();

  apply(update: MeshUpdate): { unknownRemovals: string[]; workloads: WorkloadChange[] } {
    for (const key of update.removedPolicies ?? []) this.policies.delete(key);
    for (const policy of update.policies ?? []) this.policies.set(policyKey(policy), policy);
    const unknownRemovals: string[] = [];
    const workloads: WorkloadChange[] = [];
    for (const name of update.removed ?? []) {
      const before = this.workloads.get(name);
      if (before !== undefined) {
        this.#removeWorkload(name);
        workloads.push({ before });
      } else if (!this.services.delete(name)) unknownRemovals.push(name);
    }
    for (const service of update.services ?? []) {
      const key = serviceKey(service);
      this.services.delete(key);
      this.services.set(key, service);
      for (const [uid, endpoint] of [...this.endpoints.get(key) ?? []]) {
        if (!passes(service, endpoint)) this.endpoints.get(key)!.delete(uid);
      }
    }
    for (const { workload, memberships } of update.workloads ?? []) {
      const before = this.workloads.get(workload.uid);
      workloads.push(before === undefined ? { after: workload } : { before, after: workload });
      this.#removeWorkload(workload.uid);
      this.workloads.set(workload.uid, workload);
      for (const { service, ports } of memberships) {
        const endpoint = { ports, status: workload.status };
        const known = this.services.get(service);
        if (known !== undefined && !passes(known, endpoint)) continue;
        const members = this.endpoints.get(service) ?? new Map<string, Endpoint>();
        this.endpoints.set(service, members.set(workload.uid, endpoint));
      }
    }
    return { unknownRemovals, workloads };
  }

  #removeWorkload(uid: string): void {
    this.workloads.delete(uid);
    for (const members of this.endpoints.values()) members.delete(uid);
  }
}

function passes(service: Service, { status }: Endpoint): boolean {
  return status === "Healthy" || service.loadBalancer?.healthPolicy === "AllowAll";
}
