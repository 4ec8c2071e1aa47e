import {
  GrpcChannel,
  type GrpcChannelOptions,
  type GrpcClock,
  type GrpcError,
  type GrpcStreamHandler,
} from "../../src/grpc/mod.ts";
import { DEFAULT_TLS_POLICY } from "../../src/tls/mod.ts";
import { textOf } from "./bytes.ts";

const EVENT_DEADLINE_MS = 15_000;

/** A channel to a port of this machine. */
export function channelTo(port: number, roots: string, options: Partial<GrpcChannelOptions> = {}): GrpcChannel {
  return new GrpcChannel({
    target: { host: "127.0.0.1", port },
    roots: () => roots,
    serverNames: ["istiod.test"],
    tlsPolicy: DEFAULT_TLS_POLICY,
    metadata: () => [],
    ...options,
  });
}

/** What a stream told: texts of messages (long ones as their length), "open", "end …". */
export class Recorder implements GrpcStreamHandler {
  readonly events: string[] = [];
  error: GrpcError | undefined = undefined;
  /** Called at each message. */
  react: (text: string) => void = () => {};
  #waiting: { readonly condition: () => boolean; readonly resolve: () => void }[] = [];

  onOpen(): void {
    this.#note("open");
  }

  onMessage(message: Uint8Array): void {
    const text = message.length > 100 ? `${message.length} bytes` : textOf(message);
    this.#note(text);
    this.react(text);
  }

  onEnd(error: GrpcError | undefined): void {
    this.error = error;
    this.#note(error === undefined ? "end" : `end ${error.kind} ${error.code}: ${error.message}`);
  }

  get over(): boolean {
    return this.events.some((event) => event.startsWith("end"));
  }

  until(condition: () => boolean): Promise<void> {
    if (condition()) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const late = () => reject(new Error(`never: ${condition}; was told ${JSON.stringify(this.events)}`));
      const timer = setTimeout(late, EVENT_DEADLINE_MS);
      const done = () => {
        clearTimeout(timer);
        resolve();
      };
      this.#waiting.push({ condition, resolve: done });
    });
  }

  ended(): Promise<void> {
    return this.until(() => this.over);
  }

  #note(event: string): void {
    this.events.push(event);
    const ready = this.#waiting.filter(({ condition }) => condition());
    this.#waiting = this.#waiting.filter((waiter) => !ready.includes(waiter));
    for (const { resolve } of ready) resolve();
  }
}

/** The error that a call rejects with, as text: `kind code: message`. */
export function failure(call: Promise<Uint8Array>): Promise<string> {
  return call.then(
    (answer) => `answered ${textOf(answer)}`,
    (error: GrpcError) => `${error.kind} ${error.code}: ${error.message}`,
  );
}

/** Time that goes on when it is told to. */
export class ManualClock implements GrpcClock {
  #now = 1000;
  #timers = new Map<number, { readonly due: number; readonly callback: () => void }>();
  #next = 1;

  now(): number {
    return this.#now;
  }

  setTimer(delay: number, callback: () => void): unknown {
    this.#timers.set(this.#next, { due: this.#now + delay, callback });
    return this.#next++;
  }

  clearTimer(timer: unknown): void {
    this.#timers.delete(timer as number);
  }

  /** ms until each timer that is set, in order. */
  get pending(): number[] {
    return [...this.#timers.values()].map(({ due }) => due - this.#now).sort((a, b) => a - b);
  }

  advance(ms: number): void {
    const end = this.#now + ms;
    for (;;) {
      const [first] = [...this.#timers].filter(([, { due }]) => due <= end).sort((a, b) => a[1].due - b[1].due);
      if (first === undefined) break;
      const [id, { due, callback }] = first;
      this.#timers.delete(id);
      this.#now = due;
      callback();
    }
    this.#now = end;
  }
}
