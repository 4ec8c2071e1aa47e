/** backendRefs of routes: the service they mean, whether they may, and its cluster. */
import type { LocalObject, LocalObjects, ValuePath } from "../../config/objects/mod.ts";
import type { Service } from "../../mesh/service.ts";
import { type ClusterTable, type ClusterUse, UNKNOWN_SERVICE } from "./clusters.ts";
import { type Report, subject } from "./input.ts";
import type { ServiceTable } from "./services.ts";
import type { Cluster } from "../snapshot/mod.ts";

/** What a backendRef of any route says of its target. */
export interface BackendReference {
  readonly group?: string | undefined;
  readonly kind?: string | undefined;
  readonly namespace?: string | undefined;
  readonly name: string;
  readonly port?: number | undefined;
}

export interface Backend {
  readonly cluster: string;
  /** undefined: the reference leads nowhere. */
  readonly service: Service | undefined;
  readonly port: number;
}

const NOWHERE: Backend = { cluster: UNKNOWN_SERVICE, service: undefined, port: 0 };

export class Backends {
  readonly #services: ServiceTable;
  readonly #clusters: ClusterTable;
  readonly #grants: LocalObjects["ReferenceGrant"];
  readonly #report: Report;

  constructor(services: ServiceTable, clusters: ClusterTable, grants: LocalObjects["ReferenceGrant"], report: Report) {
    this.#services = services;
    this.#clusters = clusters;
    this.#grants = grants;
    this.#report = report;
  }

  /** A reference that is invalid leads to a cluster that is not there, with a warning (Gateway API: answer 500). */
  resolve(route: LocalObject, path: ValuePath, reference: BackendReference, use: ClusterUse): Backend {
    const { group = "", kind = "Service", name, port } = reference;
    const namespace = reference.namespace ?? route.namespace;
    const invalid = (field: string, message: string): Backend => {
      this.#report.warn(route, [...path, field], `${message}: what goes there is answered with an error`);
      return NOWHERE;
    };
    if (kind !== "Service" || group !== "" && group !== "core") {
      return invalid("kind", `${kind}${group === "" ? "" : ` (${group})`} is no kind of backend in this version`);
    }
    if (port === undefined) {
      this.#report.error(route, [...path, "port"], "required for a Service");
      return NOWHERE;
    }
    if (!this.#isGranted(route, namespace, name)) {
      return invalid("namespace", `no ReferenceGrant in ${namespace} lets ${subject(route)} refer to ${name}`);
    }
    const service = this.#services.find(namespace, name);
    if (service === undefined) return invalid("name", `no service ${namespace}/${name} in the mesh documents`);
    const cluster = this.#clusters.use(service, port, use);
    if (cluster === undefined) return invalid("port", `service ${namespace}/${name} has no port ${port}`);
    const { discovery, localities } = this.#clusters.clusters[cluster] as Cluster;
    if (discovery.kind === "static" && localities.length === 0) {
      const message =
        `service ${namespace}/${name} has no endpoint for port ${port}: what goes there is answered with an error`;
      this.#report.warn(route, [...path, "name"], message);
    }
    return { cluster, service, port };
  }

  /**
   * Within a namespace always. A service of the namespace of a parent is what the client can have without the route, so a
   * consumer's route needs no permission for it.
   */
  #isGranted(route: LocalObject, namespace: string, name: string): boolean {
    if (namespace === route.namespace) return true;
    const parents = "parentRefs" in route.spec ? route.spec.parentRefs ?? [] : [];
    if (parents.some((parent) => parent.kind === "Service" && parent.namespace === namespace)) return true;
    return this.#grants.some((grant) =>
      grant.namespace === namespace &&
      grant.spec.from.some(({ group, kind, namespace: from }) =>
        group === "gateway.networking.k8s.io" && kind === route.kind && from === route.namespace
      ) &&
      grant.spec.to.some((to) =>
        (to.group === "" || to.group === "core") && to.kind === "Service" &&
        (to.name === undefined || to.name === "" || to.name === name)
      )
    );
  }
}
