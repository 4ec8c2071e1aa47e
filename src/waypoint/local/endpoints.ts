/** Endpoints of a service port from the mesh records (spec/waypoint.md §1.13). */
import { parseIdentity } from "../../identity/mod.ts";
import { selectPort } from "../../mesh/destination.ts";
import { rankEndpoint } from "../../mesh/load_balancing.ts";
import type { Service } from "../../mesh/service.ts";
import { type Workload, workloadIdentity } from "../../mesh/workload.ts";
import { isIpv4 } from "../../net/address.ts";
import type { ClusterEndpoint, LocalityEndpoints } from "../snapshot/mod.ts";
import type { Member } from "./services.ts";

/** `ip:port`, IPv6 in brackets. */
export function hostPort(host: string, port: number): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

export interface ServiceEndpoints {
  readonly localities: readonly LocalityEndpoints[];
  /** All are host names, to be resolved. */
  readonly byName: boolean;
  /** Uids of members that cannot be reached, and why. */
  readonly skipped: readonly { readonly uid: string; readonly reason: string }[];
}

/** Whether a member may get requests at all. */
function isUsable(service: Service, { workload, endpoint }: Member): boolean {
  if (workload.capacity === 0) return false;
  return endpoint.status === "Healthy" || service.loadBalancer?.healthPolicy === "AllowAll";
}

function isAllowed(service: Service, ip: string): boolean {
  return service.ipFamilies === undefined || service.ipFamilies === "Dual" ||
    (service.ipFamilies === "IPv4") === isIpv4(ip);
}

/**
 * @param self the waypoint's own workload, for the service's routing preferences; undefined: there is no knowing what is
 * near, and all are equal
 */
export function endpointsOf(
  service: Service,
  port: number,
  members: readonly Member[],
  network: string,
  self: Workload | undefined,
): ServiceEndpoints {
  const skipped: { uid: string; reason: string }[] = [];
  const reached: { member: Member; endpoint: ClusterEndpoint; named: boolean }[] = [];
  for (const member of members) {
    if (!isUsable(service, member)) continue;
    const { workload } = member;
    const target = selectPort(service, member.endpoint.ports, workload, port);
    if (target === undefined) continue;
    if (workload.network !== network) {
      skipped.push({
        uid: workload.uid,
        reason: `is in network "${workload.network}", which cannot be reached from here`,
      });
      continue;
    }
    const addresses = workload.addresses.filter((ip) => isAllowed(service, ip));
    const named = addresses.length === 0 && workload.hostname !== "";
    if (named && workload.protocol === "HBONE") {
      skipped.push({ uid: workload.uid, reason: "has HBONE and no address" });
    } else if (named || addresses.length > 0) {
      const hosts = named ? [workload.hostname] : addresses;
      reached.push({ member, endpoint: endpointOf(service, workload, hosts, target), named });
    }
  }
  const byName = reached.length > 0 && reached.every(({ named }) => named);
  const kept = reached.filter(({ named }) => named === byName);
  for (const { member, named } of reached) {
    if (named !== byName) skipped.push({ uid: member.workload.uid, reason: "has no address, but others do" });
  }
  return { localities: byLocality(kept, priorities(service, kept, self)), byName, skipped };
}

function endpointOf(service: Service, workload: Workload, hosts: readonly string[], port: number): ClusterEndpoint {
  const hbone = workload.protocol === "HBONE";
  // What is no id of a workload, such as a bare trust domain, would stand for many.
  const names = service.subjectAltNames.filter((name) => parseIdentity(name) !== undefined);
  const [first, ...others] = hosts.map((host) => hostPort(host, port));
  return {
    kind: hbone ? "hbone" : "tcp",
    address: first as string,
    additionalAddresses: hbone ? [] : others,
    tunnel: undefined,
    innerAuthority: undefined,
    expectedIdentities: hbone ? [...new Set([workloadIdentity(workload), ...names])] : [],
    weight: workload.capacity,
    health: "healthy",
    workload: {
      name: workload.workloadName || workload.name,
      namespace: workload.namespace,
      canonicalName: workload.canonicalName,
      canonicalRevision: workload.canonicalRevision,
      cluster: workload.clusterId,
    },
  };
}

/**
 * How far each endpoint is from us by the service's routing preferences, 0 the nearest; undefined: it may not be used
 * (mode Strict).
 */
function priorities(
  { loadBalancer }: Service,
  reached: readonly { readonly member: Member }[],
  self: Workload | undefined,
): (number | undefined)[] {
  const { routingPreferences, mode } = loadBalancer ?? { routingPreferences: [], mode: "Standard" };
  if (self === undefined || mode !== "Failover" && mode !== "Strict") return reached.map(() => 0);
  const ranks = reached.map(({ member }) => {
    const { rank, complete } = rankEndpoint(routingPreferences, self, member.workload);
    return mode === "Strict" && !complete ? undefined : rank;
  });
  const descending = [...new Set(ranks)].filter((rank) => rank !== undefined).sort((a, b) => b - a);
  return ranks.map((rank) => rank === undefined ? undefined : descending.indexOf(rank));
}

/** In the order in which the localities come first. */
function byLocality(
  reached: readonly { readonly member: Member; readonly endpoint: ClusterEndpoint }[],
  priorities: readonly (number | undefined)[],
): LocalityEndpoints[] {
  const groups = new Map<string, LocalityEndpoints & { endpoints: ClusterEndpoint[] }>();
  for (const [i, { member: { workload: { locality } }, endpoint }] of reached.entries()) {
    const priority = priorities[i];
    if (priority === undefined) continue;
    const key = `${priority} ${locality.region}/${locality.zone}/${locality.subzone}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, { locality, priority, weight: undefined, endpoints: [endpoint] });
    else group.endpoints.push(endpoint);
  }
  return [...groups.values()].sort((a, b) => a.priority - b.priority);
}
