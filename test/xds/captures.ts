/** Real answers of a control plane for a small mesh: test/xds/captures; objects.ts has what they were made from. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type MeshChange, MeshState, type Service, type WorkloadUpdate } from "../../src/mesh/mod.ts";
import type { Policy } from "../../src/policy/mod.ts";
import {
  ADDRESS_TYPE,
  AUTHORIZATION_TYPE,
  decodeAddress,
  decodeAuthorization,
  decodeDeltaResponse,
  type DeltaResource,
  type DeltaResponse,
} from "../../src/xds/mod.ts";

const FOLDER = join(import.meta.dirname, "captures");

export type Push = `wds/${string}` | `wds-live/${string}`;

/** The first two pushes of every stream: all addresses, all policies. */
export const FIRST = ["delta-001-Address", "delta-002-Authorization"] as const;
/** What came later over wds-live, in order. */
export const LATER = [
  "delta-003-Address",
  "delta-004-Authorization",
  "delta-005-Address",
  "delta-006-Address",
  "delta-007-Authorization",
] as const;

export const ALL: readonly Push[] = [
  ...FIRST.map((name): Push => `wds/${name}`),
  ...[...FIRST, ...LATER].map((name): Push => `wds-live/${name}`),
];

export function bytesOf(push: Push): Uint8Array {
  return new Uint8Array(readFileSync(join(FOLDER, `${push}.pb`)));
}

export function jsonOf(file: string): unknown {
  return JSON.parse(readFileSync(join(FOLDER, `${file}.json`), "utf8"));
}

export function responseOf(push: Push): DeltaResponse {
  const result = decodeDeltaResponse(bytesOf(push));
  if (!result.ok) throw new Error(result.error);
  return result.response;
}

export function resourcesOf(response: DeltaResponse): DeltaResource[] {
  return Array.from({ length: response.resources.length }, (_, i) => {
    const result = response.resources.at(i);
    if (!result.ok) throw new Error(result.error);
    return result.resource;
  });
}

/** Applies a push whole, as a client of the control plane does. Throws on what cannot be decoded. */
export function applyPush(mesh: MeshState, response: DeltaResponse): MeshChange {
  const resources = resourcesOf(response);
  if (response.typeUrl === AUTHORIZATION_TYPE) {
    const policies: Policy[] = [];
    for (const { value } of resources) {
      const result = decodeAuthorization(value);
      if (!result.ok) throw new Error(result.error);
      policies.push(result.policy);
    }
    return mesh.apply({ policies, removedPolicies: response.removed });
  }
  if (response.typeUrl !== ADDRESS_TYPE) throw new Error(`not of ztunnel's types: ${response.typeUrl}`);
  const workloads: WorkloadUpdate[] = [];
  const services: Service[] = [];
  for (const { value } of resources) {
    const result = decodeAddress(value);
    if (!result.ok) throw new Error(result.error);
    if (result.address.kind === "workload") workloads.push(result.address.update);
    else services.push(result.address.service);
  }
  return mesh.apply({ workloads, services, removed: response.removed });
}

/** The mesh of the first pushes, as the ztunnel of node-a sees it. */
export function loadMesh(folder: "wds" | "wds-live" = "wds"): MeshState {
  const mesh = new MeshState("node-a");
  for (const name of FIRST) applyPush(mesh, responseOf(`${folder}/${name}`));
  return mesh;
}
