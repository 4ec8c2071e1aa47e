import type { SocketAddress } from "../../net/address.ts";
import type { TcpEndpoint } from "../../net/tcp_endpoint.ts";
import { type Dial, type DialError, type DialOptions, type DialOwner, dialTcp } from "../../net/tcp.ts";

/** Between two attempts; RFC 8305 §5 recommends 250 ms, Envoy waits 300. */
const ATTEMPT_DELAY_MS = 300;

/** Dials the addresses of one endpoint, the next when one fails or takes long; the first that connects is taken. */
export class HappyEyeballs implements Dial {
  readonly #addresses: readonly SocketAddress[];
  readonly #options: DialOptions;
  readonly #owner: DialOwner;
  readonly #dials = new Set<Attempt>();
  #next = 0;
  #timer: Timer | undefined = undefined;
  #over = false;

  constructor(addresses: readonly SocketAddress[], options: DialOptions, owner: DialOwner) {
    this.#addresses = addresses;
    this.#options = options;
    this.#owner = owner;
    this.#start();
  }

  cancel(): void {
    this.#over = true;
    clearTimeout(this.#timer);
    for (const attempt of this.#dials) attempt.dial?.cancel();
    this.#dials.clear();
  }

  connected(endpoint: TcpEndpoint, attempt: Attempt): void {
    if (this.#over) {
      endpoint.abort();
      return;
    }
    this.#dials.delete(attempt);
    this.cancel();
    this.#owner.dialed(endpoint);
  }

  failed(error: DialError, attempt: Attempt): void {
    if (this.#over) return;
    this.#dials.delete(attempt);
    if (this.#next < this.#addresses.length) this.#start();
    else if (this.#dials.size === 0) {
      this.#over = true;
      this.#owner.dialFailed(error);
    }
  }

  #start(): void {
    clearTimeout(this.#timer);
    const address = this.#addresses[this.#next++] as SocketAddress;
    const attempt = new Attempt(this);
    this.#dials.add(attempt);
    if (this.#next < this.#addresses.length) this.#timer = setTimeout(() => this.#start(), ATTEMPT_DELAY_MS);
    attempt.dial = dialTcp(address, undefined, this.#options, attempt);
    if (this.#over) attempt.dial.cancel();
  }
}

class Attempt implements DialOwner {
  dial: Dial | undefined = undefined;
  readonly #race: HappyEyeballs;

  constructor(race: HappyEyeballs) {
    this.#race = race;
  }

  dialed(endpoint: TcpEndpoint): void {
    this.#race.connected(endpoint, this);
  }

  dialFailed(error: DialError): void {
    this.#race.failed(error, this);
  }
}
