import type { ByteCounter, Endpoint } from "./endpoint.ts";

/** Why a relay ended before both directions finished in order. `text` is what the access log prints. */
export interface RelayError {
  readonly text: string;
  /** How metrics call it, where they tell it from other failures. */
  readonly flag?: "CERT_REVOKED";
}

/** Who hears of the end of a relay: once, when both endpoints are closed. */
export interface RelayOwner {
  relayFinished(relay: Relay): void;
}

/**
 * Joins two endpoints until both are closed (spec/ztunnel.md §5.2): full duplex, end of file on one side becomes
 * a half-close of the other, a vanished side closes the other after what it had sent has been delivered.
 *
 * downstream is the side that connected to us, upstream the side that we connected to.
 */
export class Relay {
  /** The first error that ended the relay; `undefined` when both directions finished in order. */
  error: RelayError | undefined = undefined;
  readonly downstream: Endpoint;
  upstream: Endpoint;
  readonly #owner: RelayOwner;
  #open = 2;

  constructor(
    downstream: Endpoint,
    upstream: Endpoint,
    owner: RelayOwner,
    received: ByteCounter,
    sent: ByteCounter,
  ) {
    this.downstream = downstream;
    this.upstream = upstream;
    this.#owner = owner;
    downstream.readCounter = received;
    upstream.readCounter = sent;
    downstream.relay = this;
    upstream.relay = this;
    downstream.peer = upstream;
    upstream.peer = downstream;
    downstream.joined();
    upstream.joined();
  }

  /** Bytes from downstream to upstream. */
  get received(): number {
    return this.downstream.bytesRead;
  }

  /** Bytes from upstream to downstream. */
  get sent(): number {
    return this.upstream.bytesRead;
  }

  /**
   * Puts an endpoint in the place of upstream, which stood in for it and must not be used any more. The caller then
   * delivers what the other one held.
   */
  replaceUpstream(endpoint: Endpoint): void {
    const { upstream, downstream } = this;
    this.upstream = endpoint;
    endpoint.readCounter = upstream.readCounter;
    endpoint.relay = this;
    endpoint.peer = downstream;
    downstream.peer = endpoint;
    upstream.peer = undefined;
    upstream.relay = undefined;
    endpoint.joined();
  }

  /** Called by an endpoint, once, when both its directions are over. */
  endpointClosed(endpoint: Endpoint, error: RelayError | undefined, abrupt: boolean): void {
    if (error !== undefined && this.error === undefined) this.error = error;
    this.#open--;
    if (this.#open === 1) {
      (endpoint === this.downstream ? this.upstream : this.downstream).close(abrupt);
    } else if (this.#open === 0) {
      this.#owner.relayFinished(this);
    }
  }

  /** Cuts both sides at once; `error` is what the access log will say. */
  cut(error: RelayError): void {
    if (this.error === undefined) this.error = error;
    this.upstream.abort();
    this.downstream.abort();
  }
}
