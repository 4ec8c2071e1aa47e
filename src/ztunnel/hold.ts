/**
 * Connections that cannot be decided about yet: their pod's record or certificate, the address of a name, or a record that
 * is fetched on demand has not come.
 */
import type { HeldMetrics, HeldReason } from "../telemetry/mod.ts";

/** Connections of one workload that may wait at once; each keeps at most 64 KiB of what its client sends. */
const MAX_HELD = 1_024;

const AWAITED: Readonly<Record<HeldReason, string>> = {
  certificate: "the certificate of this pod",
  workload: "the workload of this pod",
  name: "addresses of names",
  resource: "records of the control plane",
};

/** Error of a connection that found the hold full. */
export function holdFull(reason: HeldReason): string {
  return `${MAX_HELD} connections wait for ${AWAITED[reason]} already`;
}

/** What is held: a connection, or a handshake on one. */
export interface Holdable {
  /** The workload went: ends it. */
  abort(): void;
  /** It is at its end already, and whoever wants its place may have it; undefined: that is not known. */
  readonly closed?: boolean;
  /** Its client has said all: it has left, mostly, and only few half-close and wait. */
  readonly halfClosed?: boolean;
}

/** What is held for one workload: counted, bounded, and aborted when the workload goes. */
export class Hold {
  readonly #held = new Map<Holdable, HeldReason>();
  readonly #metrics: HeldMetrics;
  #closed = false;
  #emptied: (() => void) | undefined = undefined;

  constructor(metrics: HeldMetrics) {
    this.#metrics = metrics;
  }

  get size(): number {
    return this.#held.size;
  }

  /** `full`: too many wait already; `gone`: so is the workload, and with it the connection, which is aborted. */
  take(connection: Holdable, reason: HeldReason): "held" | "full" | "gone" {
    if (this.#closed) {
      connection.abort();
      return "gone";
    }
    if (this.#held.size >= MAX_HELD) this.#makeRoom();
    if (this.#held.size >= MAX_HELD) {
      this.#metrics.refused[reason].value++;
      return "full";
    }
    this.#held.set(connection, reason);
    this.#metrics.waiting[reason].value++;
    this.#metrics.total[reason].value++;
    return "held";
  }

  /**
   * Frees the places of those that left: what they wait for may be long in coming. Where that is not enough, the first one
   * that has said all gives way, as if it had found the hold full itself.
   */
  #makeRoom(): void {
    let silent: Holdable | undefined;
    for (const [connection, reason] of this.#held) {
      if (connection.closed === true) this.#drop(connection, reason);
      else if (connection.halfClosed === true) silent ??= connection;
    }
    const reason = silent && this.#held.get(silent);
    if (silent === undefined || reason === undefined || this.#held.size < MAX_HELD) return;
    this.#drop(silent, reason);
    this.#metrics.refused[reason].value++;
    silent.abort();
  }

  #drop(connection: Holdable, reason: HeldReason): void {
    this.#held.delete(connection);
    this.#metrics.waiting[reason].value--;
  }

  /** Lets it go on; false: the workload went meanwhile, and the connection with it, or it has left itself. */
  release(connection: Holdable): boolean {
    const reason = this.#held.get(connection);
    if (reason === undefined) return false;
    this.#held.delete(connection);
    this.#metrics.waiting[reason].value--;
    if (this.#held.size === 0) this.#emptied?.();
    return true;
  }

  /** Resolves when nothing is held, and what was has gone on. */
  whenEmpty(): Promise<void> {
    if (this.#held.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#emptied = resolve;
    });
  }

  /** To be called when the workload is gone. */
  close(): void {
    this.#closed = true;
    for (const [connection, reason] of this.#held) {
      this.#metrics.waiting[reason].value--;
      connection.abort();
    }
    this.#held.clear();
    this.#emptied?.();
  }
}
