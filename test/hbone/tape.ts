// The ends of tunnels in tests.
import type { StreamEndpoint } from "../../src/hbone/mod.ts";
import { Endpoint } from "../../src/net/endpoint.ts";
import { Relay } from "../../src/net/relay.ts";
import type { OnConnect } from "./plain_transport.ts";

/** The other end of a tunnel in a test: keeps what arrives, sends what it is told. */
export class Tape extends Endpoint {
  readonly chunks: Uint8Array[] = [];
  finished = false;
  closed = false;
  /** Unconsumed bytes: a tape that does not release holds the sender back. */
  held = 0;
  hold = false;
  inFlight = 0;
  readonly done = Promise.withResolvers<void>();

  override deliver(chunk: Uint8Array): void {
    this.chunks.push(chunk);
    if (this.hold) this.held += chunk.length;
    else this.peer?.consumed(chunk.length);
  }
  override consumed(bytes: number): void {
    this.inFlight -= bytes;
  }
  override finish(): void {
    this.finished = true;
    this.done.resolve();
  }
  override close(_abrupt: boolean): void {
    if (this.closed) return;
    this.closed = true;
    this.done.resolve();
    this.relay?.endpointClosed(this, undefined, false);
  }
  override abort(): void {
    this.close(true);
  }
  override joined(): void {}

  say(text: string): void {
    this.push(new TextEncoder().encode(text));
  }
  push(bytes: Uint8Array): void {
    this.inFlight += bytes.length;
    this.bytesRead += bytes.length;
    this.peer?.deliver(bytes);
  }
  release(): void {
    this.hold = false;
    const { held } = this;
    this.held = 0;
    this.peer?.consumed(held);
  }
  get text(): string {
    return this.chunks.map((chunk) => new TextDecoder().decode(chunk)).join("");
  }
  get bytes(): number {
    return this.chunks.reduce((sum, { length }) => sum + length, 0);
  }
}

/** Joins a tape with a stream, as the side that connected. */
export function tapeOn(endpoint: StreamEndpoint): Tape {
  const tape = new Tape();
  new Relay(tape, endpoint, { relayFinished() {} }, { value: 0 }, { value: 0 });
  return tape;
}

/** Waits for something that must happen soon. */
export async function until(what: string, when: () => boolean): Promise<void> {
  const deadline = performance.now() + 15_000;
  while (!when()) {
    if (performance.now() > deadline) throw new Error(`never happened: ${what}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Accepts a CONNECT and sends back what comes. */
export const echo: OnConnect = (stream, endpoint) => {
  stream.respond([[":status", "200"]], false);
  // Echo: the endpoint is its own peer's source.
  const mirror = new Tape();
  mirror.deliver = (chunk) => {
    mirror.peer?.deliver(chunk);
    mirror.peer?.consumed(chunk.length);
  };
  mirror.finish = () => mirror.peer?.finish();
  new Relay(endpoint, mirror, { relayFinished() {} }, { value: 0 }, { value: 0 });
};

/** Runs with timers of a second and more that take a hundredth of that. */
export async function hurried<T>(run: () => Promise<T>): Promise<T> {
  const { setTimeout: real } = globalThis;
  const fast = (callback: () => void, ms = 0) => real(callback, ms >= 1_000 ? ms / 100 : ms);
  globalThis.setTimeout = fast as unknown as typeof setTimeout;
  try {
    return await run();
  } finally {
    globalThis.setTimeout = real;
  }
}
