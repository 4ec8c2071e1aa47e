/** What many have waited for came at once: they are told in their order, and no more in a turn than it has time for. */
import { type Turns, turns as processTurns, type Waiting } from "./turns.ts";

export class InTurn implements Waiting {
  readonly #turns: Turns;
  #calls: (() => void)[] = [];
  /** From here on they are still to be made. */
  #next = 0;

  constructor(turns: Turns = processTurns) {
    this.#turns = turns;
  }

  /** Calls at once where nobody is before it and there is time, else later; not at all after close(). */
  call(back: () => void): void {
    if (this.#calls.length === 0 && this.#turns.take()) {
      back();
      return;
    }
    this.#calls.push(back);
    this.#turns.wait(this);
  }

  serve(most: number): boolean {
    for (let served = 0; served < most && this.#next < this.#calls.length; served++) {
      if (served > 0 && this.#turns.over) break;
      this.#calls[this.#next++]?.();
    }
    if (this.#next < this.#calls.length) return true;
    this.#calls = [];
    this.#next = 0;
    return false;
  }

  /** Forgets those who have not been called. */
  close(): void {
    this.#turns.leave(this);
    this.#calls = [];
    this.#next = 0;
  }
}
