import { Endpoint } from "./endpoint.ts";

/**
 * Stands in a relay for an upstream that is still being made, and holds what arrives meanwhile. Nothing of that is
 * consumed, so flow control bounds it. `become` gives place to the real one.
 */
export class PendingEndpoint extends Endpoint {
  #held: Uint8Array[] = [];
  #finished = false;
  #closed = false;
  readonly #abandoned: () => void;

  /** @param abandoned called when the other side is gone before the upstream was there */
  constructor(abandoned: () => void) {
    super();
    this.#abandoned = abandoned;
  }

  /** Puts the real endpoint in this one's place. */
  become(endpoint: Endpoint): void {
    const { relay } = this;
    if (this.#closed || relay === undefined) {
      endpoint.abort();
      return;
    }
    relay.replaceUpstream(endpoint);
    const held = this.#held;
    this.#held = [];
    for (const chunk of held) endpoint.deliver(chunk);
    if (this.#finished) endpoint.finish();
  }

  override deliver(chunk: Uint8Array): void {
    if (this.#closed) this.peer?.consumed(chunk.length);
    else this.#held.push(chunk);
  }

  override consumed(): void {
    // It never reads anything.
  }

  override finish(): void {
    this.#finished = true;
  }

  override close(): void {
    this.abort();
  }

  override abort(): void {
    if (this.#closed) return;
    this.#closed = true;
    let held = 0;
    for (const chunk of this.#held) held += chunk.length;
    this.#held = [];
    if (held > 0) this.peer?.consumed(held);
    this.#abandoned();
    this.relay?.endpointClosed(this, undefined, true);
  }

  override joined(): void {
    // Nothing to hand over.
  }
}
