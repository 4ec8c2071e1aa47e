/** Istio's types put into a mesh, as plainly as can be. */
import type { MeshState, MeshUpdate, Service, WorkloadUpdate } from "../../../src/mesh/mod.ts";
import type { Policy } from "../../../src/policy/mod.ts";
import {
  ADDRESS_TYPE,
  type AdsPart,
  AUTHORIZATION_TYPE,
  decodeAddress,
  decodeAuthorization,
  type RefusedResource,
  type ResourceType,
} from "../../../src/xds/mod.ts";

/** @param took is told how large each part was */
export function meshTypes(mesh: MeshState, took: (part: AdsPart) => void = () => {}): ResourceType[] {
  const address = (part: AdsPart): readonly RefusedResource[] => {
    took(part);
    const [workloads, services]: [WorkloadUpdate[], Service[]] = [[], []];
    const refused: RefusedResource[] = [];
    for (const { name, value } of part.resources) {
      const result = decodeAddress(value);
      if (!result.ok) refused.push({ name, error: result.error });
      else if (result.address.kind === "workload") workloads.push(result.address.update);
      else services.push(result.address.service);
    }
    mesh.apply({ workloads, services, removed: part.removed });
    return refused;
  };
  const authorization = (part: AdsPart): readonly RefusedResource[] => {
    const policies: Policy[] = [];
    const refused: RefusedResource[] = [];
    for (const { name, value } of part.resources) {
      const result = decodeAuthorization(value);
      if (result.ok) policies.push(result.policy);
      else refused.push({ name, error: result.error });
    }
    const update: MeshUpdate = { policies, removedPolicies: part.removed };
    const { rejectedPolicies } = mesh.apply(update);
    return [...refused, ...rejectedPolicies.map(({ policy, error }) => ({ name: policy, error }))];
  };
  const common = { subscription: "wildcard", expected: true } as const;
  return [
    { ...common, typeUrl: ADDRESS_TYPE, apply: address },
    { ...common, typeUrl: AUTHORIZATION_TYPE, apply: authorization },
  ];
}
