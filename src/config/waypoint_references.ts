/** What services and workloads say of their waypoints, against the waypoints that are there. */
import { selectPort } from "../mesh/destination.ts";
import { type Service, serviceKey } from "../mesh/service.ts";
import { formatGateway, type GatewayAddress, type Workload } from "../mesh/workload.ts";
import type { DocumentError, LocalDocument } from "./local_document.ts";
import type { MeshDocument } from "./mesh_document.ts";
import { WAYPOINT_CLASS, WAYPOINT_PORT } from "./objects/gateway.ts";
import type { LocalObject, ValuePath } from "./objects/mod.ts";

/**
 * Tunnel ports that the waypoint has not are errors: the traffic would be refused. A waypoint without workload, and a
 * service without endpoint, are doubts: what they lack may come.
 *
 * @param mesh what mergeMesh made of the documents
 */
export function checkWaypointReferences(
  documents: readonly MeshDocument[],
  mesh: LocalDocument,
  gateways: readonly LocalObject<"Gateway">[],
): { readonly errors: DocumentError[]; readonly warnings: DocumentError[] } {
  const checker = new Checker(mesh, gateways);
  let workloads = 0;
  let services = 0;
  for (const { yaml, place } of documents) {
    checker.place = place;
    for (const i of (yaml.workloads ?? []).keys()) {
      checker.check(["workloads", i, "waypoint"], (mesh.workloads[workloads + i] as Workload).waypoint);
    }
    for (const i of (yaml.services ?? []).keys()) {
      const service = mesh.services[services + i] as Service;
      checker.checkEndpoints(["services", i, "name"], service);
      checker.check(["services", i, "waypoint"], service.waypoint);
      for (const [j, { destination }] of service.weightedWaypoints.entries()) {
        checker.check(["services", i, "weightedWaypoints", j, "destination"], destination);
      }
    }
    workloads += yaml.workloads?.length ?? 0;
    services += yaml.services?.length ?? 0;
  }
  return checker;
}

interface Member {
  readonly workload: Workload;
  readonly ports: readonly number[];
}

class Checker {
  readonly errors: DocumentError[] = [];
  readonly warnings: DocumentError[] = [];
  /** Of the document that is being checked. */
  place: MeshDocument["place"] | undefined;
  readonly #services = new Map<string, Service>();
  readonly #workloads = new Map<string, Workload>();
  readonly #members = new Map<string, Member[]>();
  /** `namespace/name` of the waypoints' Gateways. */
  readonly #gateways: ReadonlySet<string>;

  constructor(mesh: LocalDocument, gateways: readonly LocalObject<"Gateway">[]) {
    for (const service of mesh.services) {
      this.#services.set(serviceKey(service), service);
      for (const { network, ip } of service.vips) this.#services.set(`${network}/${ip}`, service);
    }
    const byUid = new Map(mesh.workloads.map((workload) => [workload.uid, workload]));
    for (const workload of mesh.workloads) {
      for (const ip of workload.addresses) this.#workloads.set(`${workload.network}/${ip}`, workload);
    }
    for (const { service, workloadUid, endpoint } of mesh.memberships) {
      const workload = byUid.get(workloadUid);
      if (workload === undefined) continue;
      const members = this.#members.get(service) ?? [];
      members.push({ workload, ports: endpoint.ports });
      this.#members.set(service, members);
    }
    this.#gateways = new Set(
      gateways.filter(({ spec }) => spec.gatewayClassName === WAYPOINT_CLASS)
        .map(({ namespace, name }) => `${namespace}/${name}`),
    );
  }

  checkEndpoints(path: ValuePath, service: Service): void {
    if (service.loadBalancer?.mode === "Passthrough" || service.ports.length === 0) return;
    if (this.#members.has(serviceKey(service))) return;
    this.#warn(path, `service ${serviceKey(service)} has no endpoint: no workload names it, connections to it fail`);
  }

  check(path: ValuePath, waypoint: GatewayAddress | undefined): void {
    if (waypoint === undefined) return;
    const to = formatGateway(waypoint.destination);
    const service = this.#services.get(to);
    if (service !== undefined) return this.#checkService(path, waypoint.hboneMtlsPort, service);
    const workload = this.#workloads.get(to);
    // Istio gives a waypoint's Deployment and service account the name of the Gateway.
    if (workload === undefined || !this.#gateways.has(`${workload.namespace}/${workload.serviceAccount}`)) return;
    this.#checkPort(path, waypoint.hboneMtlsPort, `workload ${workload.uid}`);
  }

  #checkService(path: ValuePath, port: number, service: Service): void {
    if (service.loadBalancer?.mode === "Passthrough") return;
    const key = serviceKey(service);
    const members = this.#members.get(key) ?? [];
    const targets = members.map(({ workload, ports }) => selectPort(service, ports, workload, port))
      .filter((target) => target !== undefined);
    const at = service.ports.findIndex((known, i) => i % 2 === 0 && known === port);
    if (targets.length === 0 && at < 0) {
      const known = service.ports.filter((_, i) => i % 2 === 0);
      this.#error(
        [...path, "hboneMtlsPort"],
        `waypoint ${key} has no port ${port}; it has ${known.join(", ") || "none"}`,
      );
    } else if (targets.length === 0) {
      const message = `waypoint ${key} has no workload that serves port ${port}: connections through it are refused`;
      this.#warn(path, message);
    }
    if (!this.#gateways.has(`${service.namespace}/${service.name}`)) return;
    const wrong = (at < 0 || targets.length > 0 ? targets : [service.ports[at + 1] as number])
      .find((target) => target !== WAYPOINT_PORT);
    if (wrong !== undefined) this.#checkPort(path, wrong, `port ${port} of ${key} leads to ${wrong}, and`);
  }

  #checkPort(path: ValuePath, port: number, subject: string): void {
    if (port === WAYPOINT_PORT) return;
    this.#error(
      [...path, "hboneMtlsPort"],
      `${subject} is a waypoint, which serves tunnels at port ${WAYPOINT_PORT} only`,
    );
  }

  #error(path: ValuePath, message: string): void {
    this.errors.push(this.place!.error(path, message));
  }

  #warn(path: ValuePath, message: string): void {
    this.warnings.push(this.place!.error(path, message));
  }
}
