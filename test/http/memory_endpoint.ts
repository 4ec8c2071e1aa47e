// A byte stream in memory as one end of a relay: what is delivered is kept, or goes to another one of its kind.
import { Endpoint } from "../../src/net/endpoint.ts";
import { Relay } from "../../src/net/relay.ts";

export class MemoryEndpoint extends Endpoint {
  /** Everything that was delivered. */
  readonly pieces: Uint8Array[] = [];
  /** Delivered bytes leave at once; otherwise by `release`. */
  automatic = true;
  /** Delivered and not released. */
  held = 0;
  /** Given to the peer and not consumed. */
  unread = 0;
  ended = false;
  closed = false;
  abrupt = false;
  finished = false;
  /** Bytes at which the stream is cut on its way to the other end. */
  split: ((length: number) => number) | undefined = undefined;
  #other: MemoryEndpoint | undefined = undefined;
  #queue: (Uint8Array | "end")[] = [];
  #pumping = false;

  /** Joins a connection with this end. */
  join(connection: Endpoint): this {
    new Relay(this, connection, { relayFinished: () => this.finished = true }, { value: 0 }, { value: 0 });
    return this;
  }

  connectTo(other: MemoryEndpoint): void {
    this.#other = other;
    other.#other = this;
  }

  get text(): string {
    return this.pieces.map(latin1).join("");
  }

  /** What was delivered since the last call. */
  take(): string {
    const { text } = this;
    this.pieces.length = 0;
    return text;
  }

  /** Bytes from the far side. */
  arrive(bytes: Uint8Array | string): void {
    const chunk = typeof bytes === "string" ? octets(bytes) : bytes;
    if (this.split === undefined) {
      this.#give(chunk);
      return;
    }
    for (let at = 0; at < chunk.length;) {
      const size = Math.max(1, Math.min(chunk.length - at, this.split(chunk.length - at)));
      this.#give(chunk.slice(at, at + size));
      at += size;
    }
  }

  arriveEnd(): void {
    this.peer?.finish();
  }

  /** The far side is gone. */
  vanish(): void {
    if (this.closed) return;
    this.closed = true;
    this.peer?.finish();
    this.relay?.endpointClosed(this, undefined, true);
  }

  release(bytes: number = this.held): void {
    const size = Math.min(bytes, this.held);
    this.held -= size;
    this.peer?.consumed(size);
  }

  override deliver(chunk: Uint8Array): void {
    this.pieces.push(chunk);
    if (this.closed) {
      this.peer?.consumed(chunk.length);
      return;
    }
    if (this.#other !== undefined) this.#send(chunk);
    if (this.automatic) this.peer?.consumed(chunk.length);
    else this.held += chunk.length;
  }

  override consumed(bytes: number): void {
    this.unread -= bytes;
  }

  override finish(): void {
    this.ended = true;
    if (this.#other !== undefined) this.#send("end");
  }

  override close(abrupt: boolean): void {
    if (this.closed) return;
    this.closed = true;
    this.abrupt = abrupt;
    this.relay?.endpointClosed(this, undefined, abrupt);
    const other = this.#other;
    if (other !== undefined) queueMicrotask(() => queueMicrotask(() => other.vanish()));
  }

  override abort(): void {
    this.close(true);
  }

  override joined(): void {}

  #give(chunk: Uint8Array): void {
    this.unread += chunk.length;
    this.peer?.deliver(chunk);
  }

  #send(item: Uint8Array | "end"): void {
    this.#queue.push(item);
    if (this.#pumping) return;
    this.#pumping = true;
    queueMicrotask(() => {
      this.#pumping = false;
      const items = this.#queue;
      this.#queue = [];
      for (const one of items) {
        if (one === "end") this.#other!.arriveEnd();
        else this.#other!.arrive(one);
      }
    });
  }
}

/** Two connections over one stream in memory. */
export function link(client: Endpoint, server: Endpoint): { client: MemoryEndpoint; server: MemoryEndpoint } {
  const ends = { client: new MemoryEndpoint(), server: new MemoryEndpoint() };
  ends.client.connectTo(ends.server);
  ends.server.join(server);
  ends.client.join(client);
  return ends;
}

/** Everything that was planned has happened. */
export async function settled(): Promise<void> {
  for (let i = 0; i < 3; i++) await new Promise((resolve) => setImmediate(resolve));
}

export function octets(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

export function latin1(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}
