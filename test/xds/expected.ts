/** Spec/ztunnel.md §3.3 and §8.1 written down once more, slowly, over messages of generated code. */
import type { Address, GatewayAddress, NetworkAddress, Service, Workload } from "../../proto/gen/workload_pb.ts";
import type { Address as PolicyAddress, Authorization, Match, StringMatch } from "../../proto/gen/authorization_pb.ts";
import { canonicalIp, parseCidr } from "../../src/net/address.ts";

/** What comes of a resource that is refused. */
export class Refused extends Error {}

function refuse(why: string): never {
  throw new Refused(why);
}

function word<T>(words: readonly T[], number: number): T {
  return number >= 0 && number < words.length ? words[number]! : refuse(`enum ${number}`);
}

function ip(bytes: Uint8Array): string {
  if (bytes.length === 4) return canonicalIp(bytes.join("."))!;
  if (bytes.length !== 16) return refuse(`${bytes.length} bytes`);
  const groups = Array.from({ length: 8 }, (_, i) => (bytes[2 * i]! * 256 + bytes[2 * i + 1]!).toString(16));
  return canonicalIp(groups.join(":"))!;
}

function range(bytes: Uint8Array, length: number): string {
  const address = ip(bytes);
  if (length > bytes.length * 8) return refuse(`prefix ${length}`);
  const mapped = bytes.length === 16 && !address.includes(":");
  return parseCidr(`${mapped ? `::ffff:${address}` : address}/${length}`)!.text;
}

const u16 = (number: number) => number % 65536;

function ports(list: readonly { servicePort: number; targetPort: number }[]): number[] {
  const map = new Map(list.map(({ servicePort, targetPort }) => [u16(servicePort), u16(targetPort)]));
  return [...map].flat();
}

function gateway({ destination, hboneMtlsPort }: GatewayAddress) {
  switch (destination.case) {
    case "hostname":
      return {
        destination: {
          kind: "hostname",
          namespace: destination.value.namespace,
          hostname: destination.value.hostname,
        },
        hboneMtlsPort: u16(hboneMtlsPort),
      };
    case "address":
      return {
        destination: { kind: "address", network: destination.value.network, ip: ip(destination.value.address) },
        hboneMtlsPort: u16(hboneMtlsPort),
      };
    default:
      return refuse("no destination");
  }
}

function expectedWorkload(from: Workload) {
  const services = Object.keys(from.services).sort();
  if (services.some((key) => !key.includes("/"))) refuse("service key");
  const tunnel = from.applicationTunnel;
  const workload = {
    uid: from.uid,
    name: from.name,
    namespace: from.namespace,
    trustDomain: from.trustDomain === "" ? "cluster.local" : from.trustDomain,
    serviceAccount: from.serviceAccount === "" ? "default" : from.serviceAccount,
    addresses: from.addresses.map(ip),
    hostname: from.hostname,
    network: from.network,
    protocol: word(["TCP", "HBONE"], from.tunnelProtocol),
    networkMode: word(["Standard", "HostNetwork"], from.networkMode),
    node: from.node,
    workloadName: from.workloadName,
    workloadType: word(["deployment", "cronjob", "pod", "job"], from.workloadType),
    canonicalName: from.canonicalName,
    canonicalRevision: from.canonicalRevision,
    clusterId: from.clusterId === "" ? "Kubernetes" : from.clusterId,
    locality: {
      region: from.locality?.region ?? "",
      zone: from.locality?.zone ?? "",
      subzone: from.locality?.subzone ?? "",
    },
    capacity: from.capacity ?? 1,
    status: word(["Healthy", "Unhealthy"], from.status),
    nativeTunnel: from.nativeTunnel,
    waypoint: from.waypoint && gateway(from.waypoint),
    networkGateway: from.networkGateway && gateway(from.networkGateway),
    applicationTunnel: tunnel && {
      protocol: word(["NONE", "PROXY"], tunnel.protocol),
      port: u16(tunnel.port) === 0 ? undefined : u16(tunnel.port),
    },
    authorizationPolicies: from.authorizationPolicies,
    services,
  };
  const memberships = services.map((service) => ({ service, ports: ports(from.services[service]!.ports) }));
  return { kind: "workload", update: { workload, memberships } };
}

const isExact = ({ address, length }: NetworkAddress) => length === undefined || length === address.length * 8;

function expectedService(from: Service) {
  const balancing = from.loadBalancing;
  for (const { address } of from.addresses) ip(address);
  return {
    kind: "service",
    service: {
      name: from.name,
      namespace: from.namespace,
      hostname: from.hostname,
      vips: from.addresses.filter(isExact).map(({ network, address }) => ({ network, ip: ip(address) })),
      cidrVips: from.addresses.filter((address) => !isExact(address))
        .map(({ network, address, length }) => ({ network, cidr: range(address, length!) })),
      ports: ports(from.ports),
      endpoints: new Map(),
      subjectAltNames: from.subjectAltNames,
      waypoint: from.waypoint && gateway(from.waypoint),
      weightedWaypoints: from.weightedWaypoints.map(({ destination, weight }) => ({
        destination: destination === undefined ? refuse("no destination") : gateway(destination),
        weight,
      })),
      loadBalancer: balancing && {
        routingPreferences: balancing.routingPreference.map((scope) =>
          word(["Region", "Zone", "Subzone", "Node", "Cluster", "Network"], scope - 1)
        ),
        mode: word(["Standard", "Strict", "Failover", "Passthrough"], balancing.mode),
        healthPolicy: word(["OnlyHealthy", "AllowAll"], balancing.healthPolicy),
      },
      ipFamilies: word([undefined, "IPv4", "IPv6", "Dual"], from.ipFamilies),
      canonical: from.canonical,
      visibility: from.visibility === 1 ? "Namespace" : "Public",
    },
  };
}

/** The record that an Address has to become. Throws Refused. */
export function expectedAddress({ type }: Address) {
  if (type.case === "workload") return expectedWorkload(type.value);
  return type.case === "service" ? expectedService(type.value) : refuse("neither");
}

function text({ matchType }: StringMatch) {
  if (matchType.case === undefined) return refuse("no kind");
  return matchType.case === "presence" ? { kind: "presence" } : { kind: matchType.case, value: matchType.value };
}

const block = ({ address, length }: PolicyAddress) => range(address, length);
const port = (number: number) => number > 65535 ? refuse(`port ${number}`) : number;
const account = ({ namespace, serviceAccount }: { namespace: string; serviceAccount: string }) => ({
  namespace,
  serviceAccount,
});

function expectedMatch(from: Match) {
  return {
    namespaces: from.namespaces.map(text),
    notNamespaces: from.notNamespaces.map(text),
    principals: from.principals.map(text),
    notPrincipals: from.notPrincipals.map(text),
    sourceIps: from.sourceIps.map(block),
    notSourceIps: from.notSourceIps.map(block),
    destinationIps: from.destinationIps.map(block),
    notDestinationIps: from.notDestinationIps.map(block),
    destinationPorts: from.destinationPorts.map(port),
    notDestinationPorts: from.notDestinationPorts.map(port),
    serviceAccounts: from.serviceAccounts.map(account),
    notServiceAccounts: from.notServiceAccounts.map(account),
  };
}

/** The policy that an Authorization has to become. Throws Refused. */
export function expectedPolicy(from: Authorization) {
  return {
    namespace: from.namespace,
    name: from.name,
    scope: word(["Global", "Namespace", "WorkloadSelector"], from.scope),
    action: word(["Allow", "Deny"], from.action),
    rules: from.rules.map(({ clauses }) => clauses.map(({ matches }) => matches.map(expectedMatch))),
    dryRun: from.dryRun,
  };
}
