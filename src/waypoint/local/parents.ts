/** parentRefs of routes: the services, and their ports, that a route is for. */
import type { Kind, LocalObject } from "../../config/objects/mod.ts";
import { assumption } from "../../config/policy_reach.ts";
import type { Service } from "../../mesh/service.ts";
import { byAge, type Report } from "./input.ts";
import { portsOf, type ServiceTable } from "./services.ts";
import { serviceKey } from "../../mesh/service.ts";

export type RouteKind = "HTTPRoute" | "GRPCRoute" | "TCPRoute";

/** The routes of services by their ports, oldest first. */
export class Attachments<K extends RouteKind & Kind> {
  readonly #byPort = new Map<string, LocalObject<K>[]>();

  constructor(routes: readonly LocalObject<K>[], services: ServiceTable, report: Report) {
    for (const route of routes.toSorted(byAge)) this.#attach(route, services, report);
  }

  #attach(route: LocalObject<K>, services: ServiceTable, report: Report): void {
    const { spec } = route;
    if ((spec.parentRefs ?? []).length === 0) report.warn(route, ["spec"], "no parentRefs: the route has no effect");
    if ("hostnames" in spec && (spec.hostnames ?? []).length > 0) {
      report.warn(route, ["spec", "hostnames"], "host names have no effect on a service's route: all hosts match");
    }
    for (const [i, parent] of (spec.parentRefs ?? []).entries()) {
      const path = ["spec", "parentRefs", i];
      const { group = "gateway.networking.k8s.io", kind = "Gateway", name } = parent;
      const namespace = parent.namespace ?? route.namespace;
      if (kind === "Gateway" && group === "gateway.networking.k8s.io") {
        const message =
          "a route at a Gateway is one into the mesh and has no effect here; a waypoint's is at a Service";
        report.warn(route, path, message);
        continue;
      }
      if (kind !== "Service" || group !== "" && group !== "core") {
        report.error(route, [...path, "kind"], `${kind} (${group || "core"}) is no parent in this version; Service is`);
        continue;
      }
      const service = services.find(namespace, name);
      if (service === undefined) {
        const assumed = parent.namespace === undefined ? assumption(route) : "";
        const message = `no service ${namespace}/${name} in the mesh documents: no effect${assumed}`;
        report.warn(route, [...path, "name"], message);
        continue;
      }
      const ports = portsOf(service).filter((port) => parent.port === undefined || parent.port === port);
      if (ports.length === 0) {
        report.warn(route, [...path, "port"], `service ${namespace}/${name} has no such port: no effect`);
      }
      const suitable = ports.filter((port) => isFor(route.kind, services.kind(service, port)));
      if (ports.length > 0 && suitable.length === 0) {
        const message =
          `no such port of service ${namespace}/${name} is for ${route.kind}, by its appProtocols: no effect`;
        report.warn(route, path, message);
      }
      for (const port of suitable) this.#add(service, port, route);
    }
  }

  #add(service: Service, port: number, route: LocalObject<K>): void {
    const key = `${serviceKey(service)}:${port}`;
    const routes = this.#byPort.get(key);
    if (routes === undefined) this.#byPort.set(key, [route]);
    else if (!routes.includes(route)) routes.push(route);
  }

  of(service: Service, port: number): readonly LocalObject<K>[] {
    return this.#byPort.get(`${serviceKey(service)}:${port}`) ?? [];
  }
}

function isFor(kind: Kind, port: ReturnType<ServiceTable["kind"]>): boolean {
  return port === "undeclared" || port === (kind === "TCPRoute" ? "tcp" : "http");
}
