import type { Relay } from "./relay.ts";

/** A counter that the hot path bumps: a metric's sample, or a plain tally. */
export interface ByteCounter {
  value: number;
}

/** How long what a vanished peer had sent may wait for a reader that does not read, ms. */
export const CLOSE_GRACE_MS = 10_000;

/**
 * One end of a relayed connection: a TCP socket, or a stream inside an HBONE tunnel.
 *
 * Two endpoints are joined by a `Relay`. Bytes read from one are `deliver`ed to the other, which answers with
 * `consumed` on the first as soon as the bytes have left for its network. Credit therefore flows backwards
 * through both, and neither side reads faster than the other one writes. All of it is callbacks.
 */
export abstract class Endpoint {
  /** The other end, once joined. Until then bytes that arrive are held by the endpoint, within its budget. */
  peer: Endpoint | undefined = undefined;
  /** The relay that joined this endpoint. */
  relay: Relay | undefined = undefined;
  /** Bytes read from this endpoint's network and handed to the peer. */
  bytesRead = 0;
  /** A second counter for the same bytes, shared with others (a metric sample). */
  readCounter: ByteCounter | undefined = undefined;

  /** Takes bytes that go out on this endpoint's network. The chunk belongs to this endpoint from here on. */
  abstract deliver(chunk: Uint8Array): void;
  /** `bytes` of what this endpoint read have left through the peer. */
  abstract consumed(bytes: number): void;
  /** The peer has no more bytes: ends the sending direction once everything delivered has left (half-close). */
  abstract finish(): void;
  /**
   * The peer is gone: sends what was delivered, then ends both directions. After an `abrupt` end of the peer (a reset)
   * that takes at most CLOSE_GRACE_MS; after an orderly one as long as the reader needs.
   */
  abstract close(abrupt: boolean): void;
  /** Ends both directions now; what was not sent is dropped. */
  abstract abort(): void;
  /** Called once by the relay when `peer` is set: hands over what arrived before. */
  abstract joined(): void;
}
