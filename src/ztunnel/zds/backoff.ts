/** Delays between attempts to reach the CNI agent, in milliseconds (spec/ztunnel.md §2.3, §14.4). */
export const MAX_DELAY = 15_000;
const CONNECT_BASE = 10;
const HANDSHAKE_BASE = 500;
/** What the handshake's delay starts from once the agent has served us well. */
const HANDSHAKE_BASE_AFTER_READY = 5;
const JITTER = 0.2;

/** While the socket does not exist or is refused: 20 ms, 40 ms and so on up to 15 s. A connection starts it anew. */
export class ConnectBackoff {
  #delay = CONNECT_BASE;

  next(): number {
    this.#delay = Math.min(2 * this.#delay, MAX_DELAY);
    return this.#delay;
  }

  reset(): void {
    this.#delay = CONNECT_BASE;
  }
}

/** While connections come to nothing: about 500 ms, doubled up to 15 s, each 20 % more or less by chance. */
export class HandshakeBackoff {
  readonly #random: () => number;
  #delay = HANDSHAKE_BASE;

  /** @param random as Math.random */
  constructor(random: () => number) {
    this.#random = random;
  }

  next(): number {
    const delay = this.#delay * (1 - JITTER + 2 * JITTER * this.#random());
    this.#delay = Math.min(2 * this.#delay, MAX_DELAY);
    return Math.min(delay, MAX_DELAY);
  }

  /** The agent's snapshot was complete and every proxy ran: the next trouble is probably short. */
  ready(): void {
    this.#delay = HANDSHAKE_BASE_AFTER_READY;
  }
}
