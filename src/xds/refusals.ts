/** What is wrong with a push, as the control plane is told (error_detail of a NACK, spec/ztunnel.md §3.2). */

import { shortName } from "./shortened.ts";

/** Characters of the whole text; istiod logs it and shows it in its status. */
const LONGEST_TEXT = 4_096;
/** Characters of what is wrong with one resource. */
const LONGEST_ENTRY = 512;

/**
 * Collects refused resources: `name: reason` joined by `; `, those that could not be taken into service before those that
 * could not be read, and of very many only the first and their number.
 */
export class Refusals {
  readonly #refused: string[] = [];
  readonly #unreadable: string[] = [];
  #length = 0;
  #count = 0;

  get count(): number {
    return this.#count;
  }

  refused(name: string, error: string): void {
    this.#keep(this.#refused, `${shortName(name)}: ${error}`);
  }

  /** @param error names the resource as far as it was read */
  unreadable(error: string): void {
    this.#keep(this.#unreadable, error);
  }

  #keep(list: string[], entry: string): void {
    this.#count++;
    if (this.#length >= LONGEST_TEXT) return;
    const kept = entry.length > LONGEST_ENTRY ? `${entry.slice(0, LONGEST_ENTRY - 1)}…` : entry;
    this.#length += kept.length + 2;
    list.push(kept);
  }

  /** Undefined: nothing was refused. */
  get text(): string | undefined {
    const kept = [...this.#refused, ...this.#unreadable];
    if (kept.length === 0) return undefined;
    const left = this.#count - kept.length;
    return left === 0 ? kept.join("; ") : `${kept.join("; ")}; and ${left} more`;
  }
}
