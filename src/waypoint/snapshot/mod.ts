/**
 * The waypoint's configuration as one immutable value: what istiod's xDS and the local objects are compiled to, and all
 * that the data path knows. Plain data that survives JSON.
 */
import type { Chain, ChainMatcher, ConnectOptions } from "./chain.ts";
import type { Cluster } from "./cluster.ts";

export type * from "./chain.ts";
export type * from "./cluster.ts";
export type * from "./route.ts";
export type * from "./telemetry.ts";

export interface WaypointSnapshot {
  readonly gateway: { readonly namespace: string; readonly name: string };
  /** How many objects have a part in it, for those who read logs; absent where it was not made from local objects. */
  readonly contents?: { readonly services: number; readonly routes: number; readonly policies: number };
  /** undefined: every CONNECT of a peer with an identity of the trust domain is looked at, and none is logged. */
  readonly connect?: ConnectOptions | undefined;
  readonly matcher: ChainMatcher;
  /** By name. */
  readonly chains: Readonly<Record<string, Chain>>;
  /** By name. */
  readonly clusters: Readonly<Record<string, Cluster>>;
}
