/** AuthorizationPolicies as the RBAC filters of a chain (spec/waypoint.md §1.16, §1.18). */
import { asPolicyObject } from "../../config/objects/policy_object.ts";
import type { LocalObject, LocalObjects } from "../../config/objects/mod.ts";
import type { Service } from "../../mesh/service.ts";
import { type AuthorizationRbacOptions, authorizationToRbac, type PolicyProblem, type Rbac } from "../../policy/mod.ts";
import type { OwnGateway } from "./gateway.ts";
import { byAge, type Report, subject } from "./input.ts";
import type { WaypointOptions } from "./options.ts";
import { targetsOf } from "./targets.ts";

type PolicyObject = LocalObject<"AuthorizationPolicy">;

export class AuthorizationTable {
  readonly #objects: readonly PolicyObject[];
  readonly #bySubject: ReadonlyMap<string, PolicyObject>;
  readonly #gateway: OwnGateway;
  readonly #options: WaypointOptions;
  readonly #report: Report;
  readonly #used = new Set<PolicyObject>();

  constructor(
    objects: LocalObjects["AuthorizationPolicy"],
    gateway: OwnGateway,
    options: WaypointOptions,
    report: Report,
  ) {
    this.#objects = objects.filter(({ spec }) => targetsOf(spec).length > 0).sort(byAge);
    this.#bySubject = new Map(this.#objects.map((object) => [subject(object), object]));
    this.#gateway = gateway;
    this.#options = options;
    this.#report = report;
  }

  /** How many policies the chains so far are under. */
  get used(): number {
    return this.#used.size;
  }

  /** @param service undefined: a chain to workloads, for which only the Gateway's policies count */
  of(
    service: Service | undefined,
    chain: Omit<AuthorizationRbacOptions, "trustDomains">,
  ): readonly Rbac[] {
    const { rootNamespace, trustDomains } = this.#options;
    const namespaces = new Set([rootNamespace, this.#gateway.namespace, service?.namespace ?? rootNamespace]);
    const policies = [...namespaces].flatMap((namespace) =>
      this.#objects.filter((object) => object.namespace === namespace && this.#applies(object, service))
    );
    for (const policy of policies) this.#used.add(policy);
    if (policies.length === 0) return [];
    const { filters, problems } = authorizationToRbac(policies.map(asPolicyObject), { trustDomains, ...chain });
    for (const problem of problems) this.#tell(problem);
    return filters;
  }

  #applies(object: PolicyObject, service: Service | undefined): boolean {
    return targetsOf(object.spec).some(({ kind, name }) => {
      switch (kind) {
        case "Service":
          return service !== undefined && object.namespace === service.namespace && name === service.name;
        case "Gateway":
          return object.namespace === this.#gateway.namespace && name === this.#gateway.name;
        case "GatewayClass":
          return object.namespace === this.#options.rootNamespace &&
            name === this.#gateway.object.spec.gatewayClassName;
      }
    });
  }

  #tell({ kind, object: name, path, message }: PolicyProblem): void {
    const object = this.#bySubject.get(name);
    if (object === undefined) throw new Error(`a problem of an object that is not there: ${name}`);
    if (kind === "warning") this.#report.warn(object, path, message);
    else this.#report.error(object, path, message);
  }
}
