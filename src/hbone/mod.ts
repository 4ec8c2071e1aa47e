/** HBONE: HTTP/2 CONNECT over mTLS with SPIFFE identities (spec/ztunnel.md §6, §7). */
export { type Baggage, formatBaggage, parseBaggage } from "./baggage.ts";
export { type DialTunnel, tunnelDialer, type TunnelOptions } from "./dial.ts";
export { type ConnectFailure, connectFailure } from "./failure.ts";
export { formatForwarded, forwardedHost } from "./forwarded.ts";
export { type InnerTarget, type InnerTunnelOwner, openInnerTunnel } from "./inner_tunnel.ts";
export { Pool, type PoolOptions, type PoolTarget } from "./pool.ts";
export { type AcceptedPeer, HboneServer, type HboneServerOptions } from "./server.ts";
export { type ConnectOwner, StreamEndpoint } from "./stream_endpoint.ts";
export { formatTraceParent, newTraceParent, parseTraceParent, type TraceParent } from "./traceparent.ts";
export type { StreamUser } from "./stream_user.ts";
export { type HboneSettings, HboneTransport } from "./transport.ts";
