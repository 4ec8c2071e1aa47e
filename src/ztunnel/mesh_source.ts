import type { MeshState, Workload, WorkloadInfo } from "../mesh/mod.ts";

/** How long a connection waits for the record of its own pod, ms (spec/ztunnel.md §4.2). */
const LOCAL_WORKLOAD_WAIT_MS = 5_000;

interface Waiter {
  readonly info: WorkloadInfo;
  readonly found: (workload: Workload | undefined) => void;
  readonly timer: Timer;
}

/** The current mesh snapshot, and those who wait for it to know them. */
export class MeshSource {
  #current: MeshState;
  readonly #waiters = new Set<Waiter>();
  readonly #listeners = new Set<(mesh: MeshState) => void>();

  constructor(initial: MeshState) {
    this.#current = initial;
  }

  get current(): MeshState {
    return this.#current;
  }

  replace(next: MeshState): void {
    this.#current = next;
    for (const waiter of this.#waiters) {
      const workload = next.localWorkload(waiter.info);
      if (workload === undefined) continue;
      this.#waiters.delete(waiter);
      clearTimeout(waiter.timer);
      waiter.found(workload);
    }
    for (const listener of this.#listeners) listener(next);
  }

  /** Calls back at every new snapshot; returns how to stop. */
  subscribe(listener: (mesh: MeshState) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** The record of a pod of this node: at once where it is known, else when it comes, or `undefined` after 5 s. */
  localWorkload(info: WorkloadInfo, found: (workload: Workload | undefined) => void): void {
    const known = this.#current.localWorkload(info);
    if (known !== undefined) {
      found(known);
      return;
    }
    const waiter: Waiter = {
      info,
      found,
      timer: setTimeout(() => {
        this.#waiters.delete(waiter);
        found(undefined);
      }, LOCAL_WORKLOAD_WAIT_MS),
    };
    this.#waiters.add(waiter);
  }
}
