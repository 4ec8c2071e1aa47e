import type { MeshState } from "../mesh/mod.ts";
import { surfaceBug } from "../net/surface.ts";
import type { MeshSource } from "./mesh_source.ts";

/** Asks the stream of Addresses for one name; settles when the answer is in force, be it that there is none. */
export type Ask = (name: string) => Promise<void>;

/** Names that one decision has asked for and got answered: it does not wait for them again. */
export type Asked = Set<string>;

/**
 * Records that come when somebody asks for them (XDS_ON_DEMAND, spec/ztunnel.md §3.2). What is there is kept up to date by
 * the control plane; of what is not it tells nothing, so each decision that misses a name asks anew.
 */
export class Demand {
  readonly #mesh: MeshSource;
  readonly #request: Ask;
  /** Who waits for a name that was asked for. */
  readonly #waiting = new Map<string, (() => void)[]>();

  constructor(mesh: MeshSource, request: Ask) {
    this.#mesh = mesh;
    this.#request = request;
  }

  /** What a read of the mesh gives, and which names it looked up that are not there and not among `asked`. */
  read<T>(read: (mesh: MeshState) => T, asked: Asked): { readonly value: T; readonly missing: readonly string[] } {
    const { value, missing } = this.#mesh.current.reading(() => read(this.#mesh.current));
    return { value, missing: missing.filter((name) => !asked.has(name)) };
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
    this.#request(name).then(() => {
      this.#waiting.delete(name);
      for (const callback of waiting) {
        // A bug in one connection must not leave the others waiting for ever.
        try {
          callback();
        } catch (bug) {
          surfaceBug(bug as Error);
        }
      }
    });
  }
}
