import type { MeshState } from "../mesh/mod.ts";
import type { MeshSource } from "./mesh_source.ts";

/** Names that are kept asked for: about 16 MB here, and as much again at the control plane. */
const MAX_NAMES = 65_536;

/** Where records come from: the stream of Addresses. */
export interface DemandSource {
  /** Settles when the answer is in force, be it that there is none. */
  ask(name: string): Promise<void>;
  /** The name is of no interest any more. */
  drop(name: string): void;
}

/**
 * Records that come when somebody asks for them (XDS_ON_DEMAND, spec/ztunnel.md §3.2). A name that was asked for stays
 * subscribed, so that what becomes of it is told; beyond MAX_NAMES the one asked for first is let go.
 */
export class Demand {
  readonly #mesh: MeshSource;
  readonly #source: DemandSource;
  /** Names that have been answered, in the order of asking. */
  readonly #answered = new Set<string>();
  /** Who waits for a name that was asked for. */
  readonly #waiting = new Map<string, (() => void)[]>();

  constructor(mesh: MeshSource, source: DemandSource) {
    this.#mesh = mesh;
    this.#source = source;
  }

  /** Names that are asked for now. */
  get size(): number {
    return this.#answered.size + this.#waiting.size;
  }

  /** What a read of the mesh gives, and which of the names it looked up nobody has asked for yet. */
  read<T>(read: (mesh: MeshState) => T): { readonly value: T; readonly missing: readonly string[] } {
    const { value, missing } = this.#mesh.current.reading(() => read(this.#mesh.current));
    return { value, missing: missing.filter((name) => !this.#answered.has(name)) };
  }

  /** Calls back when all of the names have been answered; at least one is given. */
  fetch(names: readonly string[], done: () => void): void {
    let open = names.length;
    const answered = () => {
      if (--open === 0) done();
    };
    for (const name of names) {
      const waiting = this.#waiting.get(name);
      if (waiting !== undefined) waiting.push(answered);
      else this.#ask(name, answered);
    }
  }

  #ask(name: string, answered: () => void): void {
    const waiting = [answered];
    this.#waiting.set(name, waiting);
    this.#source.ask(name).then(() => {
      this.#waiting.delete(name);
      this.#answered.add(name);
      this.#trim();
      for (const callback of waiting) callback();
    });
  }

  #trim(): void {
    if (this.#answered.size <= MAX_NAMES) return;
    for (const name of this.#answered) {
      this.#answered.delete(name);
      this.#source.drop(name);
      return;
    }
  }
}
