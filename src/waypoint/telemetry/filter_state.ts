/** Filter state that the listener connect_terminate sets (spec/waypoint.md §1.5). */
import { formatAddress } from "../../net/address.ts";
import type { StreamInfo } from "../stream_info.ts";

/** undefined or empty: it is not set. */
export const FILTER_STATE: ReadonlyMap<string, (info: StreamInfo) => string | undefined> = new Map<
  string,
  (info: StreamInfo) => string | undefined
>([
  ["io.istio.peer_principal", (info) => info.downstream.peerPrincipal],
  ["io.istio.local_principal", (info) => info.downstream.localPrincipal],
  ["io.istio.connect_authority", (info) => info.downstream.authority],
  ["envoy.filters.listener.original_dst.local_ip", (info) => info.downstream.authority],
  ["envoy.filters.listener.original_dst.remote_ip", (info) => formatAddress(info.downstream.remote)],
]);

/** Objects of other filters that a waypoint of the original has and this one does not show. */
export const HIDDEN_STATE: ReadonlySet<string> = new Set([
  "downstream_peer",
  "upstream_peer",
  "wasm.downstream_peer",
  "wasm.downstream_peer_id",
  "wasm.upstream_peer",
  "wasm.upstream_peer_id",
]);
