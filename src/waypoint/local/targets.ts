/** targetRefs of policies and Telemetry: what they may name, and whether it is there (spec/waypoint.md §1.18). */
import { assumption } from "../../config/policy_reach.ts";
import type { LocalObject, TargetRef, ValuePath } from "../../config/objects/mod.ts";
import type { OwnGateway } from "./gateway.ts";
import type { Report } from "./input.ts";
import type { ServiceTable } from "./services.ts";

interface Targeting {
  readonly targetRef?: TargetRef | undefined;
  readonly targetRefs?: readonly TargetRef[] | undefined;
}

export function targetsOf({ targetRef, targetRefs }: Targeting): readonly TargetRef[] {
  return targetRefs ?? (targetRef === undefined ? [] : [targetRef]);
}

const GROUPS = {
  Service: ["", "core"],
  Gateway: ["gateway.networking.k8s.io"],
  GatewayClass: ["gateway.networking.k8s.io"],
};

/** Reports targets that cannot be, and doubts about those that are not there. */
export function checkTargets(
  object: LocalObject & { readonly spec: Targeting },
  gateway: OwnGateway,
  gateways: readonly LocalObject<"Gateway">[],
  services: ServiceTable,
  rootNamespace: string,
  report: Report,
): void {
  for (const [i, target] of targetsOf(object.spec).entries()) {
    const path: ValuePath = object.spec.targetRefs === undefined ? ["spec", "targetRef"] : ["spec", "targetRefs", i];
    const { kind, name, group = "", namespace } = target;
    if (!GROUPS[kind].includes(group)) {
      report.error(object, [...path, "group"], `${kind} is of group ${GROUPS[kind][0] || '""'}`);
    }
    if (namespace !== undefined && namespace !== object.namespace) {
      report.error(object, [...path, "namespace"], "what is targeted must be in the object's own namespace");
    }
    // Of a policy these two are errors, told before (config/policy_reach.ts).
    if (kind === "Service" && services.find(object.namespace, name) === undefined) {
      const message = `no service ${object.namespace}/${name} in the mesh documents: no effect${assumption(object)}`;
      report.warn(object, [...path, "name"], message);
    }
    if (kind === "Gateway" && !gateways.some((other) => other.namespace === object.namespace && other.name === name)) {
      const message = `no Gateway ${object.namespace}/${name} in the local state: no effect${assumption(object)}`;
      report.warn(object, [...path, "name"], message);
    }
    if (kind === "GatewayClass" && object.namespace !== rootNamespace) {
      report.warn(object, path, `only objects in ${rootNamespace} may target a GatewayClass: no effect`);
    }
    if (kind === "GatewayClass" && name !== gateway.object.spec.gatewayClassName) {
      report.warn(object, [...path, "name"], `we are of class ${gateway.object.spec.gatewayClassName}: no effect here`);
    }
  }
}
