import type { MeshChange, MeshState, MeshUpdate, Workload, WorkloadInfo } from "../mesh/mod.ts";
import { surfaceBug } from "../net/surface.ts";

/** How long a connection waits for the record of its own pod, ms (spec/ztunnel.md §4.2). */
const LOCAL_WORKLOAD_WAIT_MS = 5_000;

interface Waiter {
  readonly info: WorkloadInfo;
  readonly found: (workload: Workload | undefined) => void;
  readonly timer: Timer;
}

/** Whether an address belongs to another workload than before the change, or to none. */
export type Moved = (ip: string) => boolean;

/** Hears of every change of the mesh, once it is in force; no `moved`: every address is whose it was. */
export type MeshListener = (mesh: MeshState, moved: Moved | undefined) => void;

/** The current mesh, and those who wait for it to know them. */
export class MeshSource {
  #current: MeshState;
  readonly #waiters = new Set<Waiter>();
  readonly #listeners = new Set<MeshListener>();

  constructor(initial: MeshState) {
    this.#current = initial;
  }

  get current(): MeshState {
    return this.#current;
  }

  /** Another mesh altogether, as a local file is read anew. */
  replace(next: MeshState, network: string): void {
    const before = this.#current;
    this.#current = next;
    const owner = (mesh: MeshState, ip: string) => mesh.workloadByAddress(network, ip)?.uid;
    this.#changed((ip) => owner(before, ip) !== owner(next, ip));
  }

  /** A push of the control plane. */
  apply(update: MeshUpdate): MeshChange {
    const change = this.#current.apply(update);
    const left = new Set<string>();
    for (const { before, after } of change.workloads) {
      for (const ip of before?.addresses ?? []) if (!after?.addresses.includes(ip)) left.add(ip);
    }
    this.#changed(left.size === 0 ? undefined : (ip) => left.has(ip));
    return change;
  }

  #changed(moved: Moved | undefined): void {
    const mesh = this.#current;
    for (const waiter of this.#waiters) {
      const workload = mesh.localWorkload(waiter.info);
      if (workload === undefined) continue;
      this.#waiters.delete(waiter);
      clearTimeout(waiter.timer);
      apart(() => waiter.found(workload));
    }
    for (const listener of this.#listeners) apart(() => listener(mesh, moved));
  }

  /** Calls back at every change; returns how to stop. */
  subscribe(listener: MeshListener): () => void {
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

/**
 * A bug of one who hears must not keep the change from the others, whose policies it may be, nor look as if what the control
 * plane sent were at fault.
 */
function apart(hear: () => void): void {
  try {
    hear();
  } catch (bug) {
    surfaceBug(bug as Error);
  }
}
