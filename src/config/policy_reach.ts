/** What AuthorizationPolicy, PeerAuthentication and Telemetry objects are attached to. A slip of the pen must not open a service. */
import { type Service, serviceKey } from "../mesh/service.ts";
import { selects } from "../policy/mod.ts";
import type { DocumentError, LocalDocument } from "./local_document.ts";
import type { LocalObject, LocalObjects, TargetRef, ValuePath } from "./objects/mod.ts";

interface Reach {
  readonly errors: DocumentError[];
  readonly warnings: DocumentError[];
}

type Protecting = LocalObject<"AuthorizationPolicy"> | LocalObject<"PeerAuthentication">;

/** ` (namespace "default" was assumed: metadata.namespace is missing)`, where it was. */
export function assumption({ namespace, namespaceAssumed }: LocalObject): string {
  return namespaceAssumed ? ` (namespace "${namespace}" was assumed: metadata.namespace is missing)` : "";
}

/**
 * Policies that protect nothing: whose target is not there are errors, whose selector or namespace has no workload are
 * doubts, since workloads come and go.
 *
 * @param labels of the workloads, by uid
 */
export function checkReach(
  objects: LocalObjects,
  mesh: LocalDocument,
  labels: ReadonlyMap<string, Readonly<Record<string, string>>>,
  rootNamespace: string,
): Reach {
  const reach: Reach = { errors: [], warnings: [] };
  const services = new Map(mesh.services.map((service) => [`${service.namespace}/${service.name}`, service]));
  const gateways = new Set(objects.Gateway.map(({ namespace, name }) => `${namespace}/${name}`));
  for (const policy of objects.AuthorizationPolicy) {
    for (const [path, target] of placedTargets(policy.spec)) {
      checkTarget(policy, path, target, services, gateways, reach);
    }
    checkMethods(policy, reach);
  }
  const workloads = mesh.workloads.map(({ uid, namespace }) => ({ namespace, labels: labels.get(uid) ?? {} }));
  for (const policy of [...objects.AuthorizationPolicy, ...objects.PeerAuthentication]) {
    checkSelector(policy, workloads, rootNamespace, reach);
  }
  return reach;
}

/** The targets of an object with their paths. */
function placedTargets(
  spec: { readonly targetRef?: TargetRef | undefined; readonly targetRefs?: readonly TargetRef[] | undefined },
): [path: ValuePath, target: TargetRef][] {
  if (spec.targetRefs !== undefined) return spec.targetRefs.map((target, i) => [["spec", "targetRefs", i], target]);
  return spec.targetRef === undefined ? [] : [[["spec", "targetRef"], spec.targetRef]];
}

function checkTarget(
  policy: LocalObject,
  path: ValuePath,
  { kind, name }: TargetRef,
  services: ReadonlyMap<string, Service>,
  gateways: ReadonlySet<string>,
  { errors, warnings }: Reach,
): void {
  const key = `${policy.namespace}/${name}`;
  const service = services.get(key);
  const at = [...path, "name"];
  if (kind === "Service" && service === undefined) {
    const message = `no service ${key} in the mesh documents: the policy would protect nothing${assumption(policy)}`;
    errors.push(policy.origin.error(at, message));
  } else if (kind === "Gateway" && !gateways.has(key)) {
    const message = `no Gateway ${key} in the local state: the policy would protect nothing${assumption(policy)}`;
    errors.push(policy.origin.error(at, message));
  } else if (kind === "Service" && service!.waypoint === undefined && service!.weightedWaypoints.length === 0) {
    warnings.push(policy.origin.error(at, `service ${serviceKey(service!)} has no waypoint: it protects nothing`));
  }
}

function checkSelector(
  policy: Protecting,
  workloads: readonly { readonly namespace: string; readonly labels: Readonly<Record<string, string>> }[],
  rootNamespace: string,
  { warnings }: Reach,
): void {
  const { spec, namespace } = policy;
  if ("targetRef" in spec && spec.targetRef !== undefined || "targetRefs" in spec && spec.targetRefs !== undefined) {
    return;
  }
  const isSelected = (workload: { namespace: string; labels: Readonly<Record<string, string>> }) =>
    (namespace === rootNamespace || workload.namespace === namespace) && selects(spec.selector, workload.labels);
  if (namespace === rootNamespace && spec.selector === undefined || workloads.some(isSelected)) return;
  const [path, what] = Object.keys(spec.selector?.matchLabels ?? {}).length > 0
    ? [["spec", "selector"], "matches no workload"]
    : [["metadata"], `no workload is in namespace ${namespace}`];
  warnings.push(policy.origin.error(path, `${what}: it protects nothing${assumption(policy)}`));
}

function checkMethods(policy: LocalObject<"AuthorizationPolicy">, { warnings }: Reach): void {
  for (const [i, { to }] of (policy.spec.rules ?? []).entries()) {
    for (const [j, { operation }] of (to ?? []).entries()) {
      for (const field of ["methods", "notMethods"] as const) {
        for (const [k, method] of (operation?.[field] ?? []).entries()) {
          const upper = method.toUpperCase();
          if (method === upper) continue;
          const path = ["spec", "rules", i, "to", j, "operation", field, k];
          warnings.push(policy.origin.error(path, `HTTP methods are case-sensitive: did you mean ${upper}?`));
        }
      }
    }
  }
}
