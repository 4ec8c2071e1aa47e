/** Short ways to write meshes and flows. */
import { parseAddress, type SocketAddress } from "../../src/net/address.ts";
import {
  type Endpoint,
  MeshState,
  newService,
  newWorkload,
  type RoutingSettings,
  type Service,
  serviceKey,
  type Workload,
  type WorkloadInfo,
} from "../../src/mesh/mod.ts";
import type { Policy } from "../../src/policy/mod.ts";

export const SETTINGS: RoutingSettings = {
  network: "",
  hbonePort: 15008,
  illegalPorts: [15008, 15006, 15001],
  localhostAppTunnel: true,
};

export function address(text: string): SocketAddress {
  const parsed = parseAddress(text);
  if (parsed === undefined) throw new Error(`no address: ${text}`);
  return parsed;
}

export function pod(name: string, ips: string | string[], given: Partial<Workload> = {}): Workload {
  const namespace = given.namespace ?? "shop";
  return newWorkload({
    uid: `Kubernetes//Pod/${namespace}/${name}`,
    name,
    namespace,
    trustDomain: "cluster.local",
    serviceAccount: name,
    addresses: [ips].flat(),
    protocol: "HBONE",
    node: "node-a",
    ...given,
  });
}

/** A service with a VIP and port 80 → 8080. */
export function service(name: string, vip: string, given: Partial<Service> = {}): Service {
  const namespace = given.namespace ?? "shop";
  return newService({
    name,
    namespace,
    hostname: `${name}.${namespace}.svc.cluster.local`,
    vips: vip === "" ? [] : [{ network: "", ip: vip }],
    ports: [80, 8080],
    ...given,
  });
}

export interface Membership {
  readonly of: Service;
  readonly workload: Workload;
  readonly ports?: readonly number[];
  readonly status?: Endpoint["status"];
}

export function mesh(given: {
  workloads?: Workload[];
  services?: Service[];
  policies?: Policy[];
  members?: Membership[];
  nodeName?: string;
}): MeshState {
  return MeshState.fromDocument({
    workloads: given.workloads ?? [],
    services: given.services ?? [],
    policies: given.policies ?? [],
    memberships: (given.members ?? []).map(({ of, workload, ports, status }) => ({
      service: serviceKey(of),
      workloadUid: workload.uid,
      endpoint: { ports: ports ?? [], status: status ?? workload.status },
    })),
  }, given.nodeName);
}

export function infoOf({ name, namespace, serviceAccount }: Workload): WorkloadInfo {
  return { name, namespace, serviceAccount };
}
