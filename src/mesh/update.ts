/** What changes in the mesh at once, and what came of it. */
import type { Policy } from "../policy/mod.ts";
import type { Service } from "./service.ts";
import type { PortMap, Workload } from "./workload.ts";

/** A workload's place in one service. */
export interface ServiceMembership {
  /** `namespace/hostname` */
  readonly service: string;
  /** The workload's own ports for those of the service; the service's are used where it names none. */
  readonly ports: PortMap;
}

/**
 * A workload as it is from now on; it takes the place of an earlier one of the same uid, memberships included. The record
 * is the mesh's own from then on: texts in it that are equal to those of the earlier one may become the same.
 */
export interface WorkloadUpdate {
  readonly workload: Workload;
  readonly memberships: readonly ServiceMembership[];
}

/**
 * One batch of changes: a push, applied whole between two turns of the event loop; removals before what is inserted. Its
 * cost is in proportion to the batch, whatever the size of the mesh.
 */
export interface MeshUpdate {
  readonly workloads?: readonly WorkloadUpdate[];
  /** Insert or replace by `namespace/hostname`. Endpoints are the state's business: those of the record are not read. */
  readonly services?: readonly Service[];
  /** Names of what is gone: the uid of a workload, else `namespace/hostname` of a service (spec/ztunnel.md §3.3). */
  readonly removed?: readonly string[];
  readonly policies?: readonly Policy[];
  /** Keys `namespace/name` */
  readonly removedPolicies?: readonly string[];
}

/** One workload that came (`after` only), changed (both) or went (`before` only). */
export interface WorkloadChange {
  readonly before?: Workload;
  readonly after?: Workload;
}

/** A policy that does not compile. An earlier one of its key stays. */
export interface RejectedPolicy {
  /** `namespace/name` */
  readonly policy: string;
  readonly error: string;
}

export interface MeshChange {
  /** Names in `removed` that nothing had: worth a warning. */
  readonly unknownRemovals: readonly string[];
  /** Policies came, changed or went: they must be asked about running connections again (spec/ztunnel.md §8.4). */
  readonly policiesChanged: boolean;
  readonly rejectedPolicies: readonly RejectedPolicy[];
  readonly workloads: readonly WorkloadChange[];
}
