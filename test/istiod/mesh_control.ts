/** The mesh that an istiod of a test tells of, and changes of it. */
import type { PushSent, ResourceText } from "./protocol.ts";

/** One change: what is put replaces what has the same type and name. One push of each type concerned, addresses first. */
export interface MeshChange {
  readonly put?: readonly ResourceText[];
  /** Names of addresses (uid, or namespace/hostname). */
  readonly removedAddresses?: readonly string[];
  /** Names of policies (namespace/name). */
  readonly removedPolicies?: readonly string[];
}

export type { PushSent };
