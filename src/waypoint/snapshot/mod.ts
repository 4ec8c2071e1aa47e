/**
 * The waypoint's configuration as one immutable value: what istiod's xDS and the local objects are compiled to, and all
 * that the data path knows. Plain data that survives JSON.
 */
import type { Chain, ChainMatcher } from "./chain.ts";
import type { Cluster } from "./cluster.ts";

export type * from "./chain.ts";
export type * from "./cluster.ts";
export type * from "./route.ts";
export type * from "./telemetry.ts";

export interface WaypointSnapshot {
  readonly gateway: { readonly namespace: string; readonly name: string };
  readonly matcher: ChainMatcher;
  /** By name. */
  readonly chains: Readonly<Record<string, Chain>>;
  /** By name. */
  readonly clusters: Readonly<Record<string, Cluster>>;
}
