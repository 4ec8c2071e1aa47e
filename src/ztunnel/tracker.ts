import type { ConnectFailure } from "../hbone/mod.ts";
import type { MeshState, Workload } from "../mesh/mod.ts";
import { startTicking, stopTicking, type Ticking } from "../net/ticker.ts";
import type { PolicySet } from "../policy/mod.ts";
import type { Connection } from "./connection.ts";

/** The connections of one workload: for the configuration dump, for policy changes, for draining. */
export class ConnectionTracker implements Ticking {
  readonly #connections = new Set<Connection>();
  readonly #idleTimeout: number | undefined;
  #emptied: (() => void) | undefined;
  /** Hears of each connection that begins to relay. */
  relayed: ((connection: Connection) => void) | undefined = undefined;
  /** The workload's record as it was last known. */
  #record: Workload | undefined = undefined;
  /** The policies that all connections were last asked about. */
  #checked: PolicySet | undefined = undefined;

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

  all(): Connection[] {
    return [...this.#connections];
  }

  /** Those that were let in first, at most `most`. */
  oldest(most: number): Connection[] {
    const found: Connection[] = [];
    for (const connection of this.#connections) {
      if (found.length >= most) break;
      found.push(connection);
    }
    return found;
  }

  /** The record with which a connection is let in: its policies are asked again even when the record is gone. */
  recordKnown(record: Workload): void {
    this.#record = record;
  }

  /**
   * Cuts what the policies of now no longer allow; returns how many. Nothing is asked while the workload's set of
   * policies is the one of the last time, so that other changes of the mesh cost nothing.
   *
   * @param current the record of now; undefined: it is gone, and the last one counts (spec/ztunnel.md §8.4)
   */
  recheck(mesh: MeshState, current: Workload | undefined): number {
    const record = this.#record = current ?? this.#record;
    if (record === undefined) return 0; // nothing was ever let in
    const policies = mesh.policiesFor(record);
    if (policies === this.#checked) return 0;
    this.#checked = policies;
    let cut = 0;
    for (const connection of this.#connections) {
      const failure = connection.recheck(policies);
      if (failure === undefined) continue;
      connection.cut(failure);
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
