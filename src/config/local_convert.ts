/** From the validated YAML shape to the records that the mesh works with. */
import { canonicalIp, parseCidr } from "../net/address.ts";
import { newService, type Service, serviceKey } from "../mesh/service.ts";
import {
  type GatewayAddress,
  type GatewayDestination,
  newWorkload,
  type PortMap,
  type Workload,
} from "../mesh/workload.ts";
import { type Match, newMatch, type Policy, type StringMatch } from "../policy/policy.ts";
import type { LocalMembership } from "./local_document.ts";
import type { GatewayYaml, PolicyYaml, ServiceYaml, StringMatchYaml, WorkloadYaml } from "./local_schema.ts";

/** Records whose text has been validated; a failure here is a hole in the schema. */
function valid<T>(value: T | undefined): T {
  if (value === undefined) throw new Error("a value passed validation that cannot be converted");
  return value;
}

function split(text: string): [before: string, after: string] {
  const slash = text.indexOf("/");
  return [text.slice(0, slash), text.slice(slash + 1)];
}

function portMap(ports: Readonly<Record<string, number>>): PortMap {
  return Object.entries(ports).flatMap(([service, target]) => [Number(service), target]);
}

function destinationOf(text: string): GatewayDestination {
  const [before, after] = split(text);
  const ip = canonicalIp(after);
  return ip === undefined
    ? { kind: "hostname", namespace: before, hostname: after }
    : { kind: "address", network: before, ip };
}

function gatewayOf(yaml: GatewayYaml | undefined): GatewayAddress | undefined {
  return yaml && { destination: destinationOf(yaml.destination), hboneMtlsPort: yaml.hboneMtlsPort };
}

/** Uid of a workload; those of a hand-written file may lack one. */
export function uidOf(yaml: WorkloadYaml): string {
  return yaml.uid === undefined || yaml.uid === "" ? `${yaml.namespace}/${yaml.name ?? ""}` : yaml.uid;
}

export function convertWorkload(yaml: WorkloadYaml): Workload {
  return newWorkload({
    ...yaml,
    uid: uidOf(yaml),
    addresses: yaml.workloadIps.map((ip) => valid(canonicalIp(ip))),
    locality: yaml.locality && {
      region: yaml.locality.region ?? "",
      zone: yaml.locality.zone ?? "",
      subzone: yaml.locality.subzone ?? "",
    },
    waypoint: gatewayOf(yaml.waypoint),
    networkGateway: gatewayOf(yaml.networkGateway),
    applicationTunnel: yaml.applicationTunnel &&
      { protocol: yaml.applicationTunnel.protocol, port: yaml.applicationTunnel.port },
    services: undefined,
  });
}

/** The endpoints that a workload is of the services it names. */
export function membershipsOfWorkload(yaml: WorkloadYaml): LocalMembership[] {
  return Object.entries(yaml.services).map(([service, ports]) => ({
    service,
    workloadUid: uidOf(yaml),
    endpoint: { ports: portMap(ports), status: yaml.status ?? "Healthy" },
  }));
}

/** The endpoints that a service names itself. */
export function membershipsOfService(yaml: ServiceYaml): LocalMembership[] {
  return Object.values(yaml.endpoints ?? {}).map(({ workloadUid, port, status }) => ({
    service: serviceKey(yaml),
    workloadUid,
    endpoint: { ports: portMap(port), status: status ?? "Healthy" },
  }));
}

export function convertService(yaml: ServiceYaml): Service {
  return newService({
    ...yaml,
    vips: yaml.vips.map((vip) => {
      const [network, ip] = split(vip);
      return { network, ip: valid(canonicalIp(ip)) };
    }),
    cidrVips: yaml.cidrVips?.map((vip) => {
      const [network, range] = split(vip);
      return { network, cidr: valid(parseCidr(range)).text };
    }),
    ports: portMap(yaml.ports),
    endpoints: undefined,
    waypoint: gatewayOf(yaml.waypoint),
    weightedWaypoints: yaml.weightedWaypoints?.map(({ destination, weight }) => ({
      destination: valid(gatewayOf(destination)),
      weight,
    })),
    loadBalancer: yaml.loadBalancer && {
      routingPreferences: yaml.loadBalancer.routingPreferences ?? [],
      mode: yaml.loadBalancer.mode ?? "Standard",
      healthPolicy: yaml.loadBalancer.healthPolicy ?? "OnlyHealthy",
    },
  });
}

function stringMatch(yaml: StringMatchYaml): StringMatch {
  if ("Exact" in yaml) return { kind: "exact", value: yaml.Exact };
  if ("Prefix" in yaml) return { kind: "prefix", value: yaml.Prefix };
  if ("Suffix" in yaml) return { kind: "suffix", value: yaml.Suffix };
  return { kind: "presence" };
}

function matchOf(yaml: PolicyYaml["rules"][number][number][number]): Match {
  return newMatch({
    ...yaml,
    namespaces: yaml.namespaces?.map(stringMatch),
    notNamespaces: yaml.notNamespaces?.map(stringMatch),
    principals: yaml.principals?.map(stringMatch),
    notPrincipals: yaml.notPrincipals?.map(stringMatch),
  });
}

export function convertPolicy(yaml: PolicyYaml): Policy {
  return { ...yaml, rules: yaml.rules.map((rule) => rule.map((clause) => clause.map(matchOf))) };
}
