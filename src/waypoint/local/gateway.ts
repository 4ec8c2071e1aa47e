/** Which Gateway we are, and what leads to it (spec/waypoint.md §1.20). */
import { WAYPOINT_CLASS } from "../../config/objects/gateway.ts";
import type { LocalObject } from "../../config/objects/mod.ts";
import { canonicalIp } from "../../net/address.ts";
import type { GatewayAddress, Workload } from "../../mesh/workload.ts";
import type { Service } from "../../mesh/service.ts";
import { type LocalInput, type Report, subject } from "./input.ts";
import type { WaypointOptions } from "./options.ts";

const WAYPOINT_FOR = "istio.io/waypoint-for";
const GATEWAY_NAME = "gateway.networking.k8s.io/gateway-name";

const TRAFFIC = ["service", "workload", "all", "none"] as const;
export type WaypointFor = (typeof TRAFFIC)[number];

function names(gateways: readonly LocalObject<"Gateway">[]): string {
  return gateways.map(({ namespace, name }) => `${namespace}/${name}`).join(", ");
}

/** Our Gateway; undefined with an error in the report when there is no telling. */
export function chooseGateway(
  input: LocalInput,
  options: WaypointOptions,
  report: Report,
): LocalObject<"Gateway"> | undefined {
  const waypoints: LocalObject<"Gateway">[] = [];
  const others: LocalObject<"Gateway">[] = [];
  for (const gateway of input.objects.Gateway) {
    const { gatewayClassName } = gateway.spec;
    (gatewayClassName === WAYPOINT_CLASS ? waypoints : others).push(gateway);
    if (gatewayClassName === WAYPOINT_CLASS) continue;
    const message = `class ${gatewayClassName} is no waypoint's (${WAYPOINT_CLASS}): no effect here`;
    report.warn(gateway, ["spec", "gatewayClassName"], message);
  }
  const none = [
    "there is none",
    ...others.map((other) => `${subject(other)} is of class ${other.spec.gatewayClassName}`),
  ]
    .join("; ");
  const wanted = options.gateway;
  if (wanted !== undefined) {
    const found = waypoints.find(({ namespace, name }) => namespace === wanted.namespace && name === wanted.name);
    if (found !== undefined) return found;
    if (options.running === true) {
      const message = `Gateway ${wanted.namespace}/${wanted.name} is no longer there; the last good state stays`;
      report.errors.push({ path: "", message });
      return undefined;
    }
    const there = waypoints.length === 0 ? none : `there are ${names(waypoints)}`;
    report.errors.push({
      path: `--gateway ${wanted.namespace}/${wanted.name}`,
      message: `no such Gateway of class ${WAYPOINT_CLASS}; ${there}`,
    });
    return undefined;
  }
  const [only, second] = waypoints;
  if (only !== undefined && second === undefined) return only;
  if (only === undefined) {
    const message = `waypoint mode needs a Gateway of class ${WAYPOINT_CLASS}; ${none}`;
    report.errors.push({ path: "--config", message });
  } else {
    const message = `one of ${names(waypoints)} must be chosen: --gateway NAMESPACE/NAME`;
    report.error(second as LocalObject<"Gateway">, ["metadata", "name"], message);
  }
  return undefined;
}

/** Our Gateway with all addresses by which services and workloads may refer to it. */
export class OwnGateway {
  readonly object: LocalObject<"Gateway">;
  readonly traffic: WaypointFor;
  readonly #network: string;
  readonly #hostnames: Set<string>;
  readonly #addresses = new Set<string>();
  /** Uids of the waypoint's own workloads. */
  readonly #workloads = new Set<string>();
  readonly #service: Service | undefined;

  constructor(object: LocalObject<"Gateway">, input: LocalInput, options: WaypointOptions, report: Report) {
    this.object = object;
    this.#network = options.network;
    this.traffic = trafficOf(object, report);
    const hostname = `${object.name}.${object.namespace}.svc.${options.clusterDomain}`;
    this.#service = input.mesh.services.find(({ namespace, name, hostname: known }) =>
      namespace === object.namespace && (name === object.name || known === hostname)
    );
    this.#hostnames = new Set([hostname]);
    for (const { value } of object.spec.addresses ?? []) {
      const ip = canonicalIp(value ?? "");
      if (ip !== undefined) this.#addresses.add(ip);
      else if (value !== undefined) this.#hostnames.add(value);
    }
    if (this.#service !== undefined) this.#addService(this.#service, input);
    for (const workload of input.mesh.workloads) {
      if (workload.namespace !== object.namespace) continue;
      const label = input.labels.get(workload.uid)?.[GATEWAY_NAME];
      // Istio gives a waypoint's Deployment and service account the name of the Gateway.
      if ([label, workload.workloadName, workload.serviceAccount].includes(object.name)) {
        this.#workloads.add(workload.uid);
      }
    }
    for (const workload of input.mesh.workloads) if (this.#workloads.has(workload.uid)) this.#addWorkload(workload);
  }

  #addService(service: Service, { mesh }: LocalInput): void {
    this.#hostnames.add(service.hostname);
    for (const { network, ip } of service.vips) if (network === this.#network) this.#addresses.add(ip);
    const key = `${service.namespace}/${service.hostname}`;
    for (const { service: of, workloadUid } of mesh.memberships) if (of === key) this.#workloads.add(workloadUid);
  }

  #addWorkload({ network, addresses, hostname }: Workload): void {
    if (network === this.#network) { for (const ip of addresses) this.#addresses.add(ip); }
    if (hostname !== "") this.#hostnames.add(hostname);
  }

  get namespace(): string {
    return this.object.namespace;
  }

  get name(): string {
    return this.object.name;
  }

  /** Our own workload: that of the address, else any if all are in one place. */
  self({ mesh }: LocalInput, address: string | undefined, report: Report): Workload | undefined {
    const own = mesh.workloads.filter(({ uid }) => this.#workloads.has(uid));
    const [first, ...others] = own;
    const found = own.find(({ addresses }) => address !== undefined && addresses.includes(address));
    if (found !== undefined || first === undefined) return found;
    const place = placeOf(first);
    if (others.every((workload) => placeOf(workload) === place)) return first;
    const preferring = mesh.services.filter(({ loadBalancer }) => (loadBalancer?.routingPreferences ?? []).length > 0);
    if (preferring.length > 0) {
      const message = "its workloads are in several places, and which of them we are is not known: " +
        `routing preferences of ${preferring[0]!.hostname} and others have no effect`;
      report.warn(this.object, ["metadata", "name"], message);
    }
    return undefined;
  }

  /** Whether a reference to a waypoint leads to us. */
  #isMeant({ destination }: GatewayAddress): boolean {
    if (destination.kind === "hostname") {
      return destination.namespace === this.namespace && this.#hostnames.has(destination.hostname);
    }
    return destination.network === this.#network && this.#addresses.has(destination.ip);
  }

  /** Services whose traffic comes here, in their order. */
  services(input: LocalInput, report: Report): Service[] {
    const bound = input.mesh.services.filter((service) =>
      service !== this.#service &&
      (service.waypoint !== undefined && this.#isMeant(service.waypoint) ||
        service.weightedWaypoints.some(({ destination }) => this.#isMeant(destination)))
    );
    return this.#accept(bound, "service", bound[0]?.hostname, report);
  }

  /** Workloads whose traffic by address comes here. */
  workloads(input: LocalInput, report: Report): Workload[] {
    const bound = input.mesh.workloads.filter(({ uid, waypoint }) =>
      waypoint !== undefined && !this.#workloads.has(uid) && this.#isMeant(waypoint)
    );
    return this.#accept(bound, "workload", bound[0]?.name, report);
  }

  #accept<T>(bound: T[], what: "service" | "workload", example: string | undefined, report: Report): T[] {
    if (this.traffic === "all" || this.traffic === what || bound.length === 0) return bound;
    const message =
      `${subject(this.object)} is for ${this.traffic}: traffic of ${bound.length} ${what}(s) that name it ` +
      `as waypoint, e.g. ${example}, is refused`;
    report.warn(this.object, ["metadata", "labels"], message);
    return [];
  }
}

/** All that routing preferences look at. */
function placeOf({ locality: { region, zone, subzone }, node, clusterId, network }: Workload): string {
  return JSON.stringify([region, zone, subzone, node, clusterId, network]);
}

function trafficOf(object: LocalObject<"Gateway">, report: Report): WaypointFor {
  const label = object.labels[WAYPOINT_FOR] ?? "service";
  const traffic = TRAFFIC.find((known) => known === label);
  if (traffic !== undefined) return traffic;
  report.error(object, ["metadata", "labels", WAYPOINT_FOR], `expected ${TRAFFIC.join(", ")}, got "${label}"`);
  return "none";
}
