/** What a choice of a host depends on besides the cluster. */
import type { SocketAddress } from "../../net/address.ts";
import type { HostState } from "./host.ts";

export interface PickContext {
  /** For RING_HASH and MAGLEV: 64 bits (a bigint) or any number; undefined: the host is drawn at random. */
  readonly hash?: bigint | number | undefined;
  /** Hosts that were tried before: another one is chosen while there is one. */
  readonly excluded?: ReadonlySet<HostState> | undefined;
  /** Draws at finding a host that was not tried (host_selection_retry_max_attempts); 0: any will do. Default 5. */
  readonly otherHostAttempts?: number | undefined;
  /** Priorities that were tried before (retry priority previous_priorities): others are preferred. */
  readonly triedPriorities?: ReadonlySet<number> | undefined;
  /** Where the client wanted to go; for clusters with discovery `original-destination`. */
  readonly originalDestination?: SocketAddress | undefined;
  /** `host` or `host:port` of the request; for clusters with discovery `dynamic-forward-proxy`. */
  readonly authority?: string | undefined;
}
