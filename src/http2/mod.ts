/** HTTP/2 (RFC 9113) and HPACK (RFC 7541) without I/O, for both roles. */
import { Session } from "./session.ts";
import type { Http2Connection as Connection, Http2Handler, Http2Options, Role } from "./types.ts";

/** Makes one connection; options outside the protocol's ranges throw RangeError. */
export const Http2Connection: new <T = unknown>(
  role: Role,
  options: Http2Options,
  handler: Http2Handler<T>,
) => Connection<T> = Session;
export type Http2Connection<T = unknown> = Connection<T>;

export { ErrorCode, errorName } from "./errors.ts";
export { DEFAULT_LIMITS } from "./limits.ts";
export type { Http2Limits, Rate } from "./limits.ts";
export type { PeerSettings } from "./settings.ts";
export type { HeaderList, Http2Handler, Http2Options, Http2Stream, Role, StreamState } from "./types.ts";
