import { type ConnectFailure, connectFailure } from "../hbone/mod.ts";
import type { MeshState } from "../mesh/mod.ts";
import { startTicking, stopTicking, type Ticking } from "../net/ticker.ts";
import type { Connection } from "./connection.ts";

const POLICY_CHANGE = "connection closed due to policy change";

/** The connections of one workload: for the configuration dump, for policy changes, for draining. */
export class ConnectionTracker implements Ticking {
  readonly #connections = new Set<Connection>();
  readonly #idleTimeout: number | undefined;
  #emptied: (() => void) | undefined;

  /** @param idleTimeout ms after which a silent connection is cut; undefined: never */
  constructor(idleTimeout: number | undefined) {
    this.#idleTimeout = idleTimeout;
    if (idleTimeout !== undefined) startTicking(this);
  }

  /** To be called when the workload is gone. */
  close(): void {
    stopTicking(this);
  }

  tick(now: number): void {
    for (const connection of this.#connections) connection.cutIfIdle(now, this.#idleTimeout ?? Infinity);
  }

  add(connection: Connection): void {
    this.#connections.add(connection);
  }

  remove(connection: Connection): void {
    this.#connections.delete(connection);
    if (this.#connections.size === 0) this.#emptied?.();
  }

  get size(): number {
    return this.#connections.size;
  }

  list(direction: "inbound" | "outbound"): Connection[] {
    return [...this.#connections].filter((connection) => connection.direction === direction);
  }

  /** Cuts what the policies of a new snapshot no longer allow; returns how many. */
  recheck(mesh: MeshState): number {
    let cut = 0;
    for (const connection of this.#connections) {
      if (connection.allowedBy(mesh)) continue;
      connection.cut(connectFailure(POLICY_CHANGE, "DENY"));
      cut++;
    }
    return cut;
  }

  cutAll(failure: ConnectFailure): void {
    for (const connection of [...this.#connections]) connection.cut(failure);
  }

  /** Resolves when no connection is left. */
  whenEmpty(): Promise<void> {
    if (this.#connections.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#emptied = resolve;
    });
  }
}
