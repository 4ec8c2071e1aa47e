/** istio.workload.Workload: fields of spec/ztunnel.md §4.1, converted as in §3.3. */
import type { ServiceMembership, WorkloadUpdate } from "../../mesh/update.ts";
import { type ApplicationTunnel, newWorkload, type PortMap } from "../../mesh/workload.ts";
import { BadField, type FieldReader } from "../wire.ts";
import { notAnIp } from "./cidr.ts";
import {
  APPLICATION_PROTOCOLS,
  LEGACY_ISTIO_MTLS,
  NETWORK_MODES,
  TUNNEL_PROTOCOLS,
  wordOf,
  WORKLOAD_STATUSES,
  WORKLOAD_TYPES,
} from "./enums.ts";
import { GatewayDraft, readGateway, toGateway, toPort } from "./gateway.ts";
import { readPortList } from "./ports.ts";
import { type Memberships, sharedList, sharedLocality, sharedMemberships, sharedPorts } from "./shared.ts";

/** What an empty field stands for. */
const DEFAULT_TRUST_DOMAIN = "cluster.local";
const DEFAULT_SERVICE_ACCOUNT = "default";
const DEFAULT_CLUSTER = "Kubernetes";
const DEFAULT_CAPACITY = 1;

/** Longer lists of a draft are not kept for the next record. */
const MOST_KEPT = 64;

class MembershipDraft implements ServiceMembership {
  service = "";
  /** What has been read of the ports. */
  read: number[] = [];
  /** The value of it. */
  ports: PortMap = [];
}

/**
 * What has been read of a Workload; enums are still numbers, since the last one on the wire is the one that counts. One
 * draft serves many records, one after the other: with one for each, most of what a push leaves to collect would be drafts.
 */
export class WorkloadDraft {
  uid = "";
  name = "";
  namespace = "";
  /** A number where there is none, of its bytes. Judged at the end: the uid, by which it is told, may come after them. */
  addresses: (string | number)[] = [];
  hostname = "";
  network = "";
  tunnelProtocol = 0;
  trustDomain = "";
  serviceAccount = "";
  waypoint: GatewayDraft | undefined;
  networkGateway: GatewayDraft | undefined;
  node = "";
  canonicalName = "";
  canonicalRevision = "";
  workloadType = 0;
  workloadName = "";
  nativeTunnel = false;
  applicationTunnel: { protocol: number; port: number } | undefined;
  services: MembershipDraft[] = [];
  authorizationPolicies: string[] = [];
  status = 0;
  clusterId = "";
  locality: { region: string; zone: string; subzone: string } | undefined;
  networkMode = 0;
  capacity: { value: number } | undefined;
  /** Of earlier records, to be used again. */
  readonly spare: MembershipDraft[] = [];

  /** As new. */
  reset(): void {
    this.uid =
      this.name =
      this.namespace =
      this.hostname =
      this.network =
        "";
    this.trustDomain =
      this.serviceAccount =
      this.node =
      this.clusterId =
        "";
    this.canonicalName = this.canonicalRevision = this.workloadName = "";
    this.tunnelProtocol =
      this.workloadType =
      this.status =
      this.networkMode =
        0;
    this.nativeTunnel = false;
    this.waypoint = this.networkGateway = undefined;
    this.applicationTunnel = this.locality = this.capacity = undefined;
    this.addresses = emptied(this.addresses);
    this.authorizationPolicies = emptied(this.authorizationPolicies);
    for (const draft of this.services) {
      if (this.spare.length === MOST_KEPT) break;
      draft.service = "";
      draft.read = emptied(draft.read);
      this.spare.push(draft);
    }
    this.services = emptied(this.services);
  }
}

function emptied<T>(list: T[]): T[] {
  if (list.length > MOST_KEPT) return [];
  list.length = 0;
  return list;
}

export function readWorkload(reader: FieldReader, field: number, into: WorkloadDraft): boolean {
  switch (field) {
    case 20:
      into.uid = reader.text("uid");
      return true;
    case 1:
      into.name = reader.text("name");
      return true;
    case 2:
      into.namespace = reader.sharedText("namespace");
      return true;
    case 3:
      into.addresses.push(reader.ip("addresses"));
      return true;
    case 21:
      into.hostname = reader.text("hostname");
      return true;
    case 4:
      into.network = reader.sharedText("network");
      return true;
    case 5:
      into.tunnelProtocol = reader.enumeration("tunnel_protocol");
      return true;
    case 6:
      into.trustDomain = reader.sharedText("trust_domain");
      return true;
    case 7:
      into.serviceAccount = reader.sharedText("service_account");
      return true;
    case 8:
      reader.message("waypoint", readGateway, into.waypoint ??= new GatewayDraft());
      return true;
    case 19:
      reader.message("network_gateway", readGateway, into.networkGateway ??= new GatewayDraft());
      return true;
    case 9:
      into.node = reader.sharedText("node");
      return true;
    case 10:
      into.canonicalName = reader.sharedText("canonical_name");
      return true;
    case 11:
      into.canonicalRevision = reader.sharedText("canonical_revision");
      return true;
    case 12:
      into.workloadType = reader.enumeration("workload_type");
      return true;
    case 13:
      into.workloadName = reader.sharedText("workload_name");
      return true;
    case 14:
      into.nativeTunnel = reader.bool("native_tunnel");
      return true;
    case 23:
      reader.message("application_tunnel", readApplicationTunnel, into.applicationTunnel ??= { protocol: 0, port: 0 });
      return true;
    case 22:
      readMembership(reader, into);
      return true;
    case 16:
      into.authorizationPolicies.push(
        reader.sharedText(`authorization_policies[${into.authorizationPolicies.length}]`),
      );
      return true;
    case 17:
      into.status = reader.enumeration("status");
      return true;
    case 18:
      into.clusterId = reader.sharedText("cluster_id");
      return true;
    case 24:
      reader.message("locality", readLocality, into.locality ??= { region: "", zone: "", subzone: "" });
      return true;
    case 25:
      into.networkMode = reader.enumeration("network_mode");
      return true;
    case 27:
      reader.message("capacity", readUint32Value, into.capacity ??= { value: 0 });
      return true;
    default:
      return false;
  }
}

function readApplicationTunnel(reader: FieldReader, field: number, into: { protocol: number; port: number }): boolean {
  if (field === 1) into.protocol = reader.enumeration("protocol");
  else if (field === 2) into.port = toPort(reader.uint32("port"));
  else return false;
  return true;
}

function readLocality(reader: FieldReader, field: number, into: NonNullable<WorkloadDraft["locality"]>): boolean {
  if (field === 1) into.region = reader.sharedText("region");
  else if (field === 2) into.zone = reader.sharedText("zone");
  else if (field === 3) into.subzone = reader.sharedText("subzone");
  else return false;
  return true;
}

function readUint32Value(reader: FieldReader, field: number, into: { value: number }): boolean {
  if (field !== 1) return false;
  into.value = reader.uint32("value");
  return true;
}

/** An entry of the map `services`. */
function readMembership(reader: FieldReader, into: WorkloadDraft): void {
  const entry = into.spare.pop() ?? new MembershipDraft();
  into.services.push(entry);
  reader.message("services", readMapEntry, entry);
}

function readMapEntry(reader: FieldReader, field: number, into: MembershipDraft): boolean {
  if (field === 1) into.service = reader.sharedText("key");
  else if (field === 2) reader.message("value", readPortList, into.read);
  else return false;
  return true;
}

/** Throws BadField, whose path begins at the workload. */
export function toWorkload(draft: WorkloadDraft): WorkloadUpdate {
  if (draft.tunnelProtocol === LEGACY_ISTIO_MTLS) {
    throw new BadField("tunnel_protocol", "LEGACY_ISTIO_MTLS is not supported");
  }
  const { members, keys } = toMemberships(draft.services);
  const workload = newWorkload({
    uid: draft.uid,
    name: draft.name,
    namespace: draft.namespace,
    trustDomain: draft.trustDomain || DEFAULT_TRUST_DOMAIN,
    serviceAccount: draft.serviceAccount || DEFAULT_SERVICE_ACCOUNT,
    addresses: toAddresses(draft.addresses),
    hostname: draft.hostname,
    network: draft.network,
    protocol: wordOf(TUNNEL_PROTOCOLS, draft.tunnelProtocol, "tunnel_protocol"),
    networkMode: wordOf(NETWORK_MODES, draft.networkMode, "network_mode"),
    node: draft.node,
    // A pod of its own is its own workload: then the names are one text.
    workloadName: draft.workloadName === draft.name ? draft.name : draft.workloadName,
    workloadType: wordOf(WORKLOAD_TYPES, draft.workloadType, "workload_type"),
    canonicalName: draft.canonicalName,
    canonicalRevision: draft.canonicalRevision,
    clusterId: draft.clusterId || DEFAULT_CLUSTER,
    locality: draft.locality && sharedLocality(draft.locality),
    capacity: draft.capacity === undefined ? DEFAULT_CAPACITY : draft.capacity.value,
    status: wordOf(WORKLOAD_STATUSES, draft.status, "status"),
    nativeTunnel: draft.nativeTunnel,
    waypoint: draft.waypoint && toGateway(draft.waypoint, "waypoint"),
    networkGateway: draft.networkGateway && toGateway(draft.networkGateway, "network_gateway"),
    applicationTunnel: draft.applicationTunnel && toApplicationTunnel(draft.applicationTunnel),
    authorizationPolicies: sharedList(draft.authorizationPolicies),
    services: keys,
  });
  return { workload, memberships: members };
}

function toAddresses(addresses: readonly (string | number)[]): readonly string[] {
  const ips: string[] = [];
  for (let i = 0; i < addresses.length; i++) {
    const ip = addresses[i]!;
    if (typeof ip === "number") throw notAnIp(ip, `addresses[${i}]`);
    ips.push(ip);
  }
  return ips;
}

/**
 * In the order of their keys: that of a map on the wire is accidental, and replicas are to share one list. Of two with the
 * same key the later counts.
 */
function toMemberships(drafts: MembershipDraft[]): Memberships {
  if (drafts.length > 1) drafts.sort((a, b) => a.service < b.service ? -1 : a.service > b.service ? 1 : 0);
  const members: MembershipDraft[] = [];
  for (let i = 0; i < drafts.length; i++) {
    const draft = drafts[i]!;
    const { service } = draft;
    if (drafts[i + 1]?.service === service) continue;
    if (!service.includes("/")) {
      throw new BadField(`services[${JSON.stringify(service)}]`, "the key is not namespace/hostname");
    }
    draft.ports = sharedPorts(draft.read);
    members.push(draft);
  }
  return sharedMemberships(members);
}

function toApplicationTunnel({ protocol, port }: { protocol: number; port: number }): ApplicationTunnel {
  return {
    protocol: wordOf(APPLICATION_PROTOCOLS, protocol, "application_tunnel.protocol"),
    port: port === 0 ? undefined : port,
  };
}
