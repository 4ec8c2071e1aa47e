/** Local mesh state as read from a file (ztunnel's LOCAL_XDS_PATH), validated. Survives a structured clone. */
import type { Endpoint, Service } from "../mesh/service.ts";
import type { Workload } from "../mesh/workload.ts";
import type { Policy } from "../policy/policy.ts";

/** A workload's membership in a service, from the workload's own `services` map. */
export interface LocalMembership {
  /** `namespace/hostname` */
  readonly service: string;
  readonly endpoint: Endpoint;
}

export interface LocalDocument {
  readonly workloads: readonly Workload[];
  readonly memberships: readonly LocalMembership[];
  /** Their `endpoints` are those written in the service itself; memberships come on top. */
  readonly services: readonly Service[];
  readonly policies: readonly Policy[];
}

/** What is wrong with a document, and where. Lines and columns count from 1. */
export interface DocumentError {
  /** File, or `LOCAL_XDS` for text given in the environment. */
  readonly path: string;
  readonly line: number;
  readonly column: number;
  readonly message: string;
}

/** What is suspicious but not wrong, e.g. a reference to a policy that is not in the document. */
export type DocumentWarning = DocumentError;

export type DocumentResult =
  | { readonly ok: true; readonly document: LocalDocument; readonly warnings: readonly DocumentWarning[] }
  | { readonly ok: false; readonly errors: readonly DocumentError[] };
