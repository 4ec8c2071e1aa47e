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

  /**
   * Cuts what the policies of now no longer allow; returns how many. Nothing is asked while the workload's set of
   * policies is the one of the last time, so that other changes of the mesh cost nothing.
   *
   * @param workload the record of now
   */
  recheck(mesh: MeshState, workload: Workload): number {
    const policies = mesh.policiesFor(workload);
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
