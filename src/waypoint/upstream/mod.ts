/** Byte streams to endpoints (tunnel, TCP, TLS) and the pools of HTTP connections over them. */
export type * from "./target.ts";
export type * from "./types.ts";
export { Connector, type ConnectorOptions } from "./connector.ts";
export { UpstreamPools } from "./pools.ts";
