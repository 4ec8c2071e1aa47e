/** What L7 authorization may look at: the facts of one request, or of one TCP connection at a waypoint. */
import type { RequestHead } from "../http/message.ts";
import type { SocketAddress } from "../net/address.ts";

export interface RequestFacts {
  /** SPIFFE URI of the tunnel's peer, with `spiffe://`; undefined: no identity, no principal matches. */
  readonly peerPrincipal: string | undefined;
  /** Address of the connection's client, canonical. */
  readonly directRemoteIp: string;
  /** Address of the client by X-Forwarded-For where it counts, otherwise directRemoteIp. Canonical. */
  readonly remoteIp: string;
  /** Original destination. */
  readonly destination: SocketAddress;
  /** SNI of the connection. */
  readonly serverName: string | undefined;
  /** undefined: a TCP connection. */
  readonly head: RequestHead | undefined;
  /** The normalised path without its query; empty for TCP. Slashes need not be merged: see CompiledRbac.check. */
  readonly path: string;
  /** Dynamic metadata by filter, as in StreamInfo. */
  readonly metadata: ReadonlyMap<string, Readonly<Record<string, unknown>>> | undefined;
}
