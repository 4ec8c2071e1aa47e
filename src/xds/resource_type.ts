/** What the client of the control plane is asked to fetch, and to whom it gives that. */

/** One resource of a push. */
export interface AdsResource {
  readonly name: string;
  /** As the control plane counts; opaque. */
  readonly version: string;
  /** The resource itself: a view of the push, not to be kept. */
  readonly value: Uint8Array;
}

/** A piece of a push. Its resources come first in the push, its removals at the end of it: make before break. */
export interface AdsPart {
  readonly resources: readonly AdsResource[];
  /** Resources of which no more than the name could be read; absent where there are none. Refused already: told again they say only whether they are `open`. */
  readonly unreadable?: readonly RefusedResource[];
  /** Names that are gone. None of them is a resource of the same push. */
  readonly removed: readonly string[];
  /** The push that begins with this part is the first of its type on a stream: what changed since the stream before. */
  readonly first: boolean;
  /** The push is complete with this part. */
  readonly last: boolean;
}

/** A resource that cannot be taken into service. The one of its name from earlier on, if any, stays. */
export interface RefusedResource {
  readonly name: string;
  /** The field and what is wrong with it. */
  readonly error: string;
  /** Of a type that stands in for what it refuses: nothing stands for this one. */
  readonly open?: true;
}

/**
 * How a type is asked for.
 * - `wildcard`: everything there is.
 * - `on-demand`: nothing at first, then names one by one (`AdsClient.demand`), as XDS_ON_DEMAND=true says.
 * - `names`: the names of `AdsClient.subscribe`; asked for while there are any. So Envoy's EDS.
 */
export type SubscriptionKind = "wildcard" | "on-demand" | "names";

/** One type of the registry. */
export interface ResourceType {
  /** e.g. `type.googleapis.com/istio.workload.Address` */
  readonly typeUrl: string;
  readonly subscription: SubscriptionKind;
  /** Whether the first accepted push of this type is part of being synced. */
  readonly expected: boolean;
  /**
   * Something safe is in force for each resource that is refused: a policy's last good version, or one that denies all that
   * it selects. So the first push that came whole counts as accepted although it is answered by a NACK, where otherwise one
   * refused resource of many would keep the node from ever being ready; spec/ztunnel.md §3.2 has it so for all types.
   */
  readonly standsIn?: boolean;
  /**
   * Takes a part of a push into service. Refused resources are told one by one, the others are in force. Runs in one turn:
   * the client chooses how much it gives. Should it throw, a bug, its part is given again piece by piece, and what throws
   * again is refused; so whatever of a part was in force already must be allowed to come once more.
   */
  apply(part: AdsPart): readonly RefusedResource[];
}
