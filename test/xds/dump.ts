import { sortedJson } from "../../src/admin/sorted_json.ts";
import type { MeshState } from "../../src/mesh/mod.ts";
import { dumpMesh } from "../../src/process/mesh_dump.ts";

export type PlainJson = null | boolean | number | string | PlainJson[] | { readonly [key: string]: PlainJson };

/** The mesh as `/config_dump` writes it, read back. */
export function dumpOf(mesh: MeshState): { readonly [key: string]: PlainJson } {
  return JSON.parse([...sortedJson(dumpMesh(mesh))].join(""));
}
