/** Mesh documents (workloads, services, policies) merged into one mesh, with what contradicts itself in them. Pure. */
import { parseIdentity } from "../identity/spiffe.ts";
import { type Service, serviceKey } from "../mesh/service.ts";
import { formatGateway, type GatewayAddress, workloadIdentity } from "../mesh/workload.ts";
import { policyKey } from "../policy/policy.ts";
import {
  convertPolicy,
  convertService,
  convertWorkload,
  membershipsOfService,
  membershipsOfWorkload,
  uidOf,
} from "./local_convert.ts";
import type { DocumentError, DocumentWarning, LocalDocument } from "./local_document.ts";
import type { Place } from "./local_place.ts";
import type { LocalYaml } from "./local_schema.ts";
import type { ValuePath } from "./objects/mod.ts";

/** A validated mesh document. */
export interface MeshDocument {
  readonly yaml: LocalYaml;
  readonly place: Place;
}

/** The records of all documents together; those that stand twice are in what findConflicts returns. */
export function mergeMesh(documents: readonly MeshDocument[]): LocalDocument {
  const workloads = documents.flatMap(({ yaml }) => yaml.workloads ?? []);
  const services = documents.flatMap(({ yaml }) => yaml.services ?? []);
  return {
    workloads: workloads.map(convertWorkload),
    memberships: [...services.flatMap(membershipsOfService), ...workloads.flatMap(membershipsOfWorkload)],
    services: services.map(convertService),
    policies: documents.flatMap(({ yaml }) => yaml.policies ?? []).map(convertPolicy),
  };
}

/** Remembers where each key stood first. */
function once(what: string, errors: DocumentError[]) {
  const first = new Map<string, { place: Place; path: ValuePath }>();
  return (key: string, place: Place, path: ValuePath) => {
    const before = first.get(key);
    if (before === undefined) first.set(key, { place, path });
    else errors.push(place.error(path, `${what} ${key} is already at ${before.place.seenFrom(place, before.path)}`));
  };
}

/**
 * Things that may exist once only, and policies that do not exist.
 *
 * @param objects keys of policies that come from objects
 */
export function findConflicts(documents: readonly MeshDocument[], objects: ReadonlySet<string>): DocumentError[] {
  const errors: DocumentError[] = [];
  const workload = once("workload", errors);
  const service = once("service", errors);
  const policy = once("policy", errors);
  const known = new Set(objects);
  for (const { yaml, place } of documents) {
    for (const [i, item] of (yaml.workloads ?? []).entries()) {
      workload(uidOf(item), place, item.uid === undefined ? ["workloads", i] : ["workloads", i, "uid"]);
    }
    for (const [i, item] of (yaml.services ?? []).entries()) {
      service(serviceKey(item), place, ["services", i, "hostname"]);
      for (const [uid, endpoint] of Object.entries(item.endpoints ?? {})) {
        if (endpoint.workloadUid === uid) continue;
        const path = ["services", i, "endpoints", uid, "workloadUid"];
        errors.push(place.error(path, `${endpoint.workloadUid} is not the key ${uid} that it stands under`));
      }
      for (const port of Object.keys(item.appProtocols ?? {})) {
        if (item.ports[port] !== undefined) continue;
        errors.push(place.error(["services", i, "appProtocols", port], `${port} is no port of this service`));
      }
    }
    for (const [i, item] of (yaml.policies ?? []).entries()) {
      const key = policyKey(item);
      policy(key, place, ["policies", i, "name"]);
      if (objects.has(key)) errors.push(place.error(["policies", i, "name"], `policy ${key} is an object as well`));
      known.add(key);
    }
  }
  // A policy that is not there protects nothing: a slip of the pen must not open a workload.
  for (const { yaml, place } of documents) {
    for (const [i, item] of (yaml.workloads ?? []).entries()) {
      for (const [j, key] of (item.authorizationPolicies ?? []).entries()) {
        if (known.has(key)) continue;
        errors.push(place.error(["workloads", i, "authorizationPolicies", j], `no policy ${key} in the local state`));
      }
    }
  }
  return errors;
}

/**
 * References that lead nowhere, and names that no certificate can bear: legal, since what they mean may come later.
 *
 * @param mesh what mergeMesh made of the documents
 */
export function findDoubts(documents: readonly MeshDocument[], mesh: LocalDocument): DocumentWarning[] {
  const warnings: DocumentWarning[] = [];
  const services = new Set(mesh.services.map(serviceKey));
  const uids = new Set(mesh.workloads.map(({ uid }) => uid));
  const places = knownPlaces(mesh);
  const shared = sharedAddresses();
  let workloadsBefore = 0;
  let servicesBefore = 0;
  for (const { yaml, place } of documents) {
    const doubt = (path: ValuePath, message: string) => warnings.push(place.error(path, message));
    const gateway = (address: GatewayAddress | undefined, path: ValuePath) => {
      const to = address && formatGateway(address.destination);
      if (to !== undefined && !places.has(to)) doubt(path, `nothing in the local state is at ${to}`);
    };
    for (const [i, item] of (yaml.workloads ?? []).entries()) {
      const path = ["workloads", i];
      const record = mesh.workloads[workloadsBefore + i]!;
      if (record.protocol === "HBONE" && parseIdentity(workloadIdentity(record)) === undefined) {
        doubt(path, `${workloadIdentity(record)} is no SPIFFE id: HBONE needs trustDomain and serviceAccount`);
      }
      if (record.networkMode === "Standard") {
        for (const [j, ip] of record.addresses.entries()) {
          shared("workload", `${record.network}/${ip}`, record.uid, (other) => {
            doubt(
              [...path, "workloadIps", j],
              `${ip} is an address of workload ${other} as well: one of them gets its traffic`,
            );
          });
        }
      }
      for (const key of Object.keys(item.services)) {
        if (!services.has(key)) doubt([...path, "services", key], "no such service in the local state");
      }
      gateway(record.waypoint, [...path, "waypoint", "destination"]);
      gateway(record.networkGateway, [...path, "networkGateway", "destination"]);
    }
    for (const [i, item] of (yaml.services ?? []).entries()) {
      const path = ["services", i];
      const service = mesh.services[servicesBefore + i]!;
      for (const [j, { network, ip }] of service.vips.entries()) {
        shared("service", `${network}/${ip}`, serviceKey(service), (other) => {
          doubt([...path, "vips", j], `${ip} is a VIP of service ${other} as well: one of them gets its traffic`);
        });
      }
      for (const uid of Object.keys(item.endpoints ?? {})) {
        if (!uids.has(uid)) doubt([...path, "endpoints", uid], "no such workload in the local state");
      }
      for (const [j, name] of service.subjectAltNames.entries()) {
        if (parseIdentity(name) === undefined) {
          doubt([...path, "subjectAltNames", j], `${name} is no SPIFFE id; ignored`);
        }
      }
      gateway(service.waypoint, [...path, "waypoint", "destination"]);
    }
    workloadsBefore += yaml.workloads?.length ?? 0;
    servicesBefore += yaml.services?.length ?? 0;
  }
  return warnings;
}

/** Remembers whose an address is, and tells of the first owner when there is another. */
function sharedAddresses() {
  const owners = new Map<string, string>();
  return (kind: "workload" | "service", address: string, owner: string, doubt: (other: string) => void) => {
    const key = `${kind} ${address}`;
    const other = owners.get(key);
    if (other === undefined) owners.set(key, owner);
    else if (other !== owner) doubt(other);
  };
}

/** Everything that a waypoint or gateway reference can lead to, as formatGateway writes it. */
function knownPlaces(mesh: LocalDocument): Set<string> {
  const places = new Set<string>();
  const service = (item: Service) => {
    places.add(serviceKey(item));
    for (const { network, ip } of item.vips) places.add(`${network}/${ip}`);
  };
  mesh.services.forEach(service);
  for (const workload of mesh.workloads) {
    for (const ip of workload.addresses) places.add(`${workload.network}/${ip}`);
    if (workload.hostname !== "") places.add(`${workload.namespace}/${workload.hostname}`);
  }
  return places;
}
