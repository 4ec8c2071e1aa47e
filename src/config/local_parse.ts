/** Local state from texts to records, with everything that is wrong in it. Loads zod and yaml. */
import { readFileSync } from "node:fs";
import { serviceKey } from "../mesh/service.ts";
import { policyKey } from "../policy/policy.ts";
import { compileWaypoint } from "../waypoint/local/mod.ts";
import { uidOf } from "./local_convert.ts";
import type { DocumentError, DocumentResult, LoadOptions, LocalFile } from "./local_document.ts";
import { isObject, ObjectReader } from "./local_objects.ts";
import { Place } from "./local_place.ts";
import { convertPolicies, placeProblems, withPolicies } from "./local_policies.ts";
import { localSchema, type WorkloadYaml } from "./local_schema.ts";
import { parseYaml, type YamlText } from "./local_yaml.ts";
import { findConflicts, findDoubts, mergeMesh, type MeshDocument } from "./mesh_document.ts";
import { forWaypointsOnly } from "./object_part.ts";
import { checkReach } from "./policy_reach.ts";
import { checkWaypointReferences } from "./waypoint_references.ts";

/** Istio's default. */
const ROOT_NAMESPACE = "istio-system";

/** Reads one text of local state, see parseLocalState. */
export function parseLocalDocument(text: string, path: string, options: LoadOptions = {}): DocumentResult {
  return parseLocalState([{ path, text }], options);
}

/**
 * Reads the files of local state: what is wrong anywhere in them refuses all of them. For a ztunnel (`options.waypoint`
 * undefined) objects that only waypoints need are left out instead, with a warning.
 */
export function parseLocalState(files: readonly LocalFile[], options: LoadOptions = {}): DocumentResult {
  const errors: DocumentError[] = [];
  const reader = new ObjectReader(options.waypoint !== undefined);
  const documents: MeshDocument[] = [];
  for (const { path, text } of files) {
    const parsed = parseYaml(text, path);
    if (!parsed.ok) errors.push(...parsed.errors);
    // A file that is being written in place is empty for a moment: that must not mean an empty mesh.
    else if (parsed.documents.length === 0) {
      const message = 'the document is empty; an empty mesh is written as "workloads: []"';
      errors.push({ path, message });
    } else {
      for (const yaml of parsed.documents) {
        if (isObject(yaml.value)) reader.read(path, yaml);
        else readMesh(path, yaml, documents, errors);
      }
    }
  }
  errors.push(...reader.errors);
  if (errors.length > 0) return { ok: false, errors };
  return combine(documents, reader, options);
}

function readMesh(path: string, yaml: YamlText, documents: MeshDocument[], errors: DocumentError[]): void {
  const place = new Place(path, yaml);
  const result = localSchema.safeParse(yaml.value);
  if (result.success) documents.push({ yaml: result.data, place });
  else errors.push(...result.error.issues.flatMap((issue) => place.issue(issue, localSchema)));
}

/** What the valid parts are together. */
function combine(documents: readonly MeshDocument[], reader: ObjectReader, options: LoadOptions): DocumentResult {
  const { objects } = reader;
  const rootNamespace = options.waypoint?.rootNamespace ?? ROOT_NAMESPACE;
  const converted = convertPolicies(objects, rootNamespace);
  const problems = placeProblems(
    converted.flatMap((result) => result.problems),
    (subject) => reader.placeOf(subject),
  );
  const conflicts = findConflicts(documents, new Set(converted.flatMap((result) => result.policies.map(policyKey))));
  const labels = labelsOf(documents);
  const plain = mergeMesh(documents);
  const reach = checkReach(objects, plain, labels, rootNamespace);
  const references = checkWaypointReferences(documents, plain, objects.Gateway);
  const isWaypoint = options.waypoint !== undefined;
  // What policies without targets reach is never an error.
  const errors = [...conflicts, ...problems.errors, ...(isWaypoint ? reach.errors : []), ...references.errors];
  if (errors.length > 0) return { ok: false, errors };

  const document = withPolicies(plain, converted, labels);
  const doubts = [...findDoubts(documents, plain), ...references.warnings];
  const leftOut = isWaypoint ? [] : [...reader.warnings, ...reach.errors.map(forWaypointsOnly)];
  const warnings = [...leftOut, ...doubts, ...problems.warnings, ...reach.warnings];
  if (options.waypoint === undefined) return { ok: true, document, waypoint: undefined, warnings };

  const appProtocols = new Map(
    documents.flatMap(({ yaml }) =>
      (yaml.services ?? []).map((service) => [serviceKey(service), service.appProtocols ?? {}] as const)
    ),
  );
  const compiled = compileWaypoint({ mesh: document, labels, appProtocols, objects, readText }, options.waypoint);
  if (!compiled.ok) return { ok: false, errors: compiled.errors };
  return { ok: true, document, waypoint: compiled.snapshot, warnings: [...warnings, ...compiled.warnings] };
}

function readText(path: string): string {
  return readFileSync(path, "utf8");
}

/** Labels of the workloads by uid: those that are written, over those that the canonical names stand for. */
function labelsOf(documents: readonly MeshDocument[]): Map<string, Readonly<Record<string, string>>> {
  return new Map(
    documents.flatMap(({ yaml }) =>
      (yaml.workloads ?? []).map((workload) => [uidOf(workload), { ...impliedLabels(workload), ...workload.labels }])
    ),
  );
}

function impliedLabels({ canonicalName, canonicalRevision }: WorkloadYaml): Record<string, string> {
  return {
    ...(canonicalName && { app: canonicalName, "service.istio.io/canonical-name": canonicalName }),
    ...(canonicalRevision && { version: canonicalRevision, "service.istio.io/canonical-revision": canonicalRevision }),
  };
}
