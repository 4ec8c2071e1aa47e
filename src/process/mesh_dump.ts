import { SortedEntries, SortedList } from "../admin/mod.ts";
import {
  type Endpoint,
  formatGateway,
  type GatewayAddress,
  type MeshState,
  type PortMap,
  type Service,
  type Workload,
} from "../mesh/mod.ts";
import type { Match, Policy, StringMatch } from "../policy/mod.ts";

/**
 * Plain data for JSON, and what is made while it is written: a generator is a list as well. Keys are sorted by whoever
 * prints it.
 */
export type Json =
  | null
  | boolean
  | number
  | string
  | Iterable<Json>
  | { [key: string]: Json }
  | SortedList
  | SortedEntries;

function ports(map: PortMap): Json {
  const dump: { [key: string]: Json } = {};
  for (let i = 0; i + 1 < map.length; i += 2) dump[String(map[i])] = map[i + 1] as number;
  return dump;
}

function gateway(address: GatewayAddress): Json {
  return { destination: formatGateway(address.destination), hboneMtlsPort: address.hboneMtlsPort };
}

/** Leaves out what has the default that the original leaves out (spec/ztunnel.md §11.2, §2.8). */
function set(dump: { [key: string]: Json }, key: string, value: Json | undefined): void {
  if (value !== undefined && value !== "") dump[key] = value;
}

function workloadDump(workload: Workload): Json {
  const dump: { [key: string]: Json } = {
    uid: workload.uid,
    workloadIps: [...workload.addresses],
    protocol: workload.protocol,
    name: workload.name,
    namespace: workload.namespace,
    serviceAccount: workload.serviceAccount,
    workloadName: workload.workloadName,
    workloadType: workload.workloadType,
    canonicalName: workload.canonicalName,
    canonicalRevision: workload.canonicalRevision,
    networkMode: workload.networkMode,
    status: workload.status,
    clusterId: workload.clusterId,
    capacity: workload.capacity,
  };
  if (workload.authorizationPolicies.length > 0) dump["authorizationPolicies"] = [...workload.authorizationPolicies];
  if (workload.services.length > 0) dump["services"] = [...workload.services];
  set(dump, "trustDomain", workload.trustDomain);
  set(dump, "network", workload.network);
  set(dump, "node", workload.node);
  set(dump, "hostname", workload.hostname);
  set(dump, "waypoint", workload.waypoint && gateway(workload.waypoint));
  set(dump, "networkGateway", workload.networkGateway && gateway(workload.networkGateway));
  set(dump, "nativeTunnel", workload.nativeTunnel ? true : undefined);
  const { applicationTunnel: tunnel, locality } = workload;
  if (tunnel !== undefined) {
    dump["applicationTunnel"] = {
      protocol: tunnel.protocol,
      ...(tunnel.port === undefined ? {} : { port: tunnel.port }),
    };
  }
  if (locality.region !== "" || locality.zone !== "" || locality.subzone !== "") {
    dump["locality"] = { region: locality.region, zone: locality.zone, subzone: locality.subzone };
  }
  return dump;
}

function endpointDump(endpoint: Endpoint, workloadUid: string): Json {
  return { workloadUid, port: ports(endpoint.ports), status: endpoint.status };
}

function endpointsDump(endpoints: ReadonlyMap<string, Endpoint>): Json {
  return SortedEntries.of(endpoints, endpointDump);
}

function serviceDump(service: Service): Json {
  const dump: { [key: string]: Json } = {
    name: service.name,
    namespace: service.namespace,
    hostname: service.hostname,
    vips: service.vips.map(({ network, ip }) => `${network}/${ip}`),
    ports: ports(service.ports),
    endpoints: endpointsDump(service.endpoints),
    subjectAltNames: [...service.subjectAltNames],
    visibility: service.visibility,
    canonical: service.canonical,
  };
  if (service.cidrVips.length > 0) {
    dump["cidrVips"] = service.cidrVips.map(({ network, cidr }) => `${network}/${cidr}`);
  }
  set(dump, "ipFamilies", service.ipFamilies);
  set(dump, "waypoint", service.waypoint && gateway(service.waypoint));
  if (service.weightedWaypoints.length > 0) {
    dump["weightedWaypoints"] = service.weightedWaypoints.map(({ destination, weight }) => ({
      destination: gateway(destination),
      weight,
    }));
  }
  if (service.loadBalancer !== undefined) {
    const { routingPreferences, mode, healthPolicy } = service.loadBalancer;
    dump["loadBalancer"] = { routingPreferences: [...routingPreferences], mode, healthPolicy };
  }
  return dump;
}

function stringMatch(match: StringMatch): Json {
  if (match.kind === "presence") return { Presence: [] };
  return { [match.kind.charAt(0).toUpperCase() + match.kind.slice(1)]: match.value };
}

function matchDump(match: Match): Json {
  const dump: { [key: string]: Json } = {};
  const strings = ["namespaces", "notNamespaces", "principals", "notPrincipals"] as const;
  for (const key of strings) if (match[key].length > 0) dump[key] = match[key].map(stringMatch);
  const addresses = ["sourceIps", "notSourceIps", "destinationIps", "notDestinationIps"] as const;
  for (const key of addresses) if (match[key].length > 0) dump[key] = [...match[key]];
  const numbers = ["destinationPorts", "notDestinationPorts"] as const;
  for (const key of numbers) if (match[key].length > 0) dump[key] = [...match[key]];
  for (const key of ["serviceAccounts", "notServiceAccounts"] as const) {
    if (match[key].length > 0) {
      dump[key] = match[key].map(({ namespace, serviceAccount }) => ({ namespace, serviceAccount }));
    }
  }
  return dump;
}

function policyDump(policy: Policy): Json {
  return {
    name: policy.name,
    namespace: policy.namespace,
    scope: policy.scope,
    action: policy.action,
    dryRun: policy.dryRun,
    rules: policy.rules.map((rule) => rule.map((clause) => clause.map(matchDump))),
  };
}

/**
 * `workloads`, `services`, `policies` and `stagedServices` of the configuration dump. They are read while they are
 * written, in steps: what changes meanwhile may show as it was or as it is.
 */
export function dumpMesh(mesh: MeshState): { [key: string]: Json } {
  return {
    workloads: SortedList.distinct(workloadUids(mesh), (uid) => uid, (uid) => {
      const workload = mesh.workloadByUid(uid);
      return workload && workloadDump(workload);
    }),
    services: SortedList.distinct(
      { [Symbol.iterator]: () => mesh.services() },
      ({ hostname, namespace }) => `${hostname}\0${namespace}`,
      serviceDump,
    ),
    policies: SortedList.distinct(mesh.policies.entries(), ([key]) => key, ([, { policy }]) => policyDump(policy)),
    stagedServices: SortedEntries.of(mesh.stagedEndpoints, endpointsDump),
  };
}

/** Names and no records: those may be made at each look. */
function* workloadUids(mesh: MeshState): Generator<string, void> {
  for (const { uid } of mesh.workloads()) yield uid;
}
