import { type ConnectFailure, connectFailure } from "../hbone/mod.ts";
import type { MeshState, Workload } from "../mesh/mod.ts";
import { surfaceBug } from "../net/surface.ts";
import { startTicking, stopTicking, type Ticking } from "../net/ticker.ts";
import type { PolicySet } from "../policy/mod.ts";
import type { Connection, ConnectionFailure } from "./connection.ts";

/** The connections of one workload: for the configuration dump, for policy changes, for draining. */
export class ConnectionTracker implements Ticking {
  readonly #connections = new Set<Connection>();
  readonly #idleTimeout: number | undefined;
  readonly #report: (bug: Error) => void;
  #emptied: (() => void) | undefined;
  /** Hears of each connection that begins to relay. */
  relayed: ((connection: Connection) => void) | undefined = undefined;
  /** The workload's record as it was last known. */
  #record: Workload | undefined = undefined;
  /** The policies that all connections were last asked about. */
  #checked: PolicySet | undefined = undefined;

  /**
   * @param idleTimeout ms after which a silent connection is cut; undefined: never
   * @param report hears of bugs in the connections
   */
  constructor(idleTimeout: number | undefined, report: (bug: Error) => void = surfaceBug) {
    this.#idleTimeout = idleTimeout;
    this.#report = report;
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
   * policies is the one of the last time, so that other changes of the mesh cost nothing. One that cannot be asked, a bug,
   * is cut, and the others are asked all the same.
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
      try {
        const failure = this.#ask(connection, policies);
        if (failure === undefined) continue;
        cut++;
        connection.cut(failure);
      } catch (bug) {
        this.#report(bug as Error);
      }
    }
    return cut;
  }

  #ask(connection: Connection, policies: PolicySet): ConnectionFailure | undefined {
    try {
      return connection.recheck(policies);
    } catch (bug) {
      this.#report(bug as Error);
      return connectFailure(`internal error: ${(bug as Error).message}`);
    }
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
