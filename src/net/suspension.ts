/** A relay that stands still while another process decides whether to go on with it. */
import type { Relay } from "./relay.ts";
import { TcpEndpoint } from "./tcp_endpoint.ts";

export interface Suspension {
  /** Sockets of downstream and upstream: ours until release(), to be duplicated. */
  readonly fds: readonly [downstream: number, upstream: number];
  /** What either end had still to send. */
  readonly unsent: readonly [downstream: readonly Uint8Array[], upstream: readonly Uint8Array[]];
  /** Goes on here. */
  resume(): void;
  /** It goes on elsewhere: closes our descriptors, of which the peers see nothing. The relay's owner hears no end. */
  release(): void;
}

/** undefined: an end is no TCP socket (its keys, its streams are ours alone), or it is ending. */
export function suspendRelay({ downstream, upstream }: Relay): Suspension | undefined {
  if (!(downstream instanceof TcpEndpoint) || !(upstream instanceof TcpEndpoint)) return undefined;
  const toDownstream = downstream.suspend();
  if (toDownstream === undefined) return undefined;
  const toUpstream = upstream.suspend();
  if (toUpstream === undefined) {
    downstream.resume();
    return undefined;
  }
  return {
    fds: [downstream.fd, upstream.fd],
    unsent: [toDownstream, toUpstream],
    resume() {
      downstream.resume();
      upstream.resume();
    },
    release() {
      downstream.release();
      upstream.release();
    },
  };
}
