/** Local mesh state as read from a file (ztunnel's LOCAL_XDS_PATH), validated. Survives JSON, see reviveResult. */
import { type Endpoint, newService, type Service } from "../mesh/service.ts";
import { newWorkload, type Workload } from "../mesh/workload.ts";
import type { Policy } from "../policy/policy.ts";
import type { WaypointOptions } from "../waypoint/local/options.ts";
import type { WaypointSnapshot } from "../waypoint/snapshot/mod.ts";

/** A workload's membership in a service, written in either of them. */
export interface LocalMembership {
  /** `namespace/hostname` */
  readonly service: string;
  readonly workloadUid: string;
  readonly endpoint: Endpoint;
}

export interface LocalDocument {
  readonly workloads: readonly Workload[];
  readonly memberships: readonly LocalMembership[];
  /** Without endpoints: all of them are in `memberships`. */
  readonly services: readonly Service[];
  readonly policies: readonly Policy[];
}

/** What is wrong with a document, and where. */
export interface DocumentError {
  /** File, `LOCAL_XDS` for text given in the environment, or a flag; empty: the local state as a whole. */
  readonly path: string;
  /** Counted from 1; absent: no line of it in particular. */
  readonly line?: number | undefined;
  readonly column?: number | undefined;
  readonly message: string;
}

/** `mesh.yaml:3:7`, or as much of it as there is. */
export function formatPlace({ path, line, column }: Omit<DocumentError, "message">): string {
  return line === undefined || column === undefined ? path : `${path}:${line}:${column}`;
}

/** `mesh.yaml:3:7: services[0].ports: required` */
export function formatDocumentError(error: DocumentError): string {
  const place = formatPlace(error);
  return place === "" ? error.message : `${place}: ${error.message}`;
}

/** What is suspicious but not wrong, e.g. a reference to a policy that is not in the document. */
export type DocumentWarning = DocumentError;

export type DocumentResult =
  | {
    readonly ok: true;
    readonly document: LocalDocument;
    /** Present exactly where it was asked for, see LoadOptions. */
    readonly waypoint: WaypointSnapshot | undefined;
    readonly warnings: readonly DocumentWarning[];
  }
  | { readonly ok: false; readonly errors: readonly DocumentError[] };

/** One file of local state, as read. */
export interface LocalFile {
  /** How errors name it. */
  readonly path: string;
  readonly text: string;
}

/** What to make of local state beside the mesh. */
export interface LoadOptions {
  /** Waypoint mode: compile the objects for this Gateway. */
  readonly waypoint?: WaypointOptions | undefined;
}

/** A result that went through JSON, with its records in their usual shape again. */
export function reviveResult(json: DocumentResult): DocumentResult {
  if (!json.ok) return json;
  const { workloads, memberships, services, policies } = json.document;
  return {
    ok: true,
    document: {
      workloads: workloads.map(newWorkload),
      memberships,
      services: services.map((service) => newService({ ...service, endpoints: undefined })),
      policies,
    },
    waypoint: json.waypoint,
    warnings: json.warnings,
  };
}
