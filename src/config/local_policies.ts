/** AuthorizationPolicy and PeerAuthentication objects as the L4 policies of the mesh, beside those of mesh documents. */
import type { Workload } from "../mesh/workload.ts";
import {
  type AuthorizationPolicy,
  authorizationToPolicies,
  type ConvertedPolicies,
  type PeerAuthentication,
  peerAuthenticationToPolicies,
  type PolicyProblem,
} from "../policy/mod.ts";
import type { DocumentError, LocalDocument } from "./local_document.ts";
import type { LocalObjects } from "./objects/mod.ts";
import { asPolicyObject } from "./objects/policy_object.ts";

/** What the objects come to for ztunnel. */
export function convertPolicies(objects: LocalObjects, rootNamespace: string): readonly ConvertedPolicies[] {
  return [
    authorizationToPolicies(
      objects.AuthorizationPolicy.map((object): AuthorizationPolicy => asPolicyObject(object)),
      { rootNamespace },
    ),
    peerAuthenticationToPolicies(
      objects.PeerAuthentication.map((object): PeerAuthentication => asPolicyObject(object)),
      { rootNamespace },
    ),
  ];
}

/** A mesh with the policies in it and named by the workloads that they select. */
export function withPolicies(
  mesh: LocalDocument,
  converted: readonly ConvertedPolicies[],
  labels: ReadonlyMap<string, Readonly<Record<string, string>>>,
): LocalDocument {
  const policies = converted.flatMap((result) => result.policies);
  if (policies.length === 0) return mesh;
  const workloads = mesh.workloads.map((workload): Workload => {
    const target = { namespace: workload.namespace, labels: labels.get(workload.uid) ?? {} };
    const selected = converted.flatMap((result) => result.policiesOf(target));
    if (selected.length === 0) return workload;
    return { ...workload, authorizationPolicies: [...workload.authorizationPolicies, ...selected] };
  });
  return { ...mesh, workloads, policies: [...mesh.policies, ...policies] };
}

/** Problems of objects at their places, the grave ones and the others; each once. */
export function placeProblems(
  problems: readonly PolicyProblem[],
  placeOf: (subject: string) => { error(path: PolicyProblem["path"], message: string): DocumentError } | undefined,
): { readonly errors: DocumentError[]; readonly warnings: DocumentError[] } {
  const errors: DocumentError[] = [];
  const warnings: DocumentError[] = [];
  const seen = new Set<string>();
  for (const { kind, object, path, message } of problems) {
    const key = JSON.stringify([object, path, message]);
    if (seen.has(key)) continue;
    seen.add(key);
    const place = placeOf(object);
    if (place === undefined) throw new Error(`a problem of an object that is not there: ${object}`);
    (kind === "warning" ? warnings : errors).push(place.error(path, message));
  }
  return { errors, warnings };
}
