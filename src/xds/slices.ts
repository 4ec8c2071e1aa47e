import type { AdsClock } from "./clock.ts";
import { Rests } from "./rests.ts";

/** Work that is done bit by bit. */
export interface SlicedTask {
  /** Does a bit of it, well under a millisecond where that is possible. True: that was the last. */
  step(): boolean;
  /** Whether more waits for its end than the tasks behind it; no: left out. */
  awaited?(): boolean;
  /** A step threw: a bug. The task is not asked again. */
  broken(error: unknown): void;
}

/** Part of a slice that may be used up when another step still begins: a step may take as long as a slice. */
const BEGIN_WITHIN = 0.5;

/**
 * Does tasks one after the other in slices of some ms, between which the event loop serves what else there is, for the
 * longer the more there is of that (rests.ts). Work that fits into a slice is done at once, within `run`.
 */
export class Slices {
  readonly #clock: AdsClock;
  readonly #sliceMs: number;
  readonly #tasks: SlicedTask[] = [];
  readonly #rests = new Rests();
  #running = false;
  /** The next turn is asked for. */
  #scheduled = false;
  /** Time that work has taken in this turn, ms. */
  #spent = 0;
  /** When it last ended in this turn, ms. */
  #ended = 0;

  constructor(clock: AdsClock, sliceMs: number) {
    this.#clock = clock;
    this.#sliceMs = sliceMs;
  }

  run(task: SlicedTask): void {
    this.#tasks.push(task);
    if (!this.#running) this.#work();
  }

  /** Forgets all tasks. */
  clear(): void {
    this.#tasks.length = 0;
  }

  #work(): void {
    this.#running = true;
    while (this.#spent < this.#sliceMs * BEGIN_WITHIN) {
      const task = this.#tasks[0];
      if (task === undefined) break;
      const began = this.#clock.elapsed();
      const done = this.#step(task);
      this.#spent += Math.max(0, this.#clock.elapsed() - began);
      if (done && this.#tasks[0] === task) this.#tasks.shift();
    }
    this.#running = false;
    this.#ended = this.#clock.elapsed();
    this.#schedule();
  }

  #step(task: SlicedTask): boolean {
    try {
      return task.step();
    } catch (error) {
      task.broken(error);
      return true;
    }
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#clock.nextTurn(() => this.#rest(this.#clock.elapsed() - this.#ended));
  }

  /** @param others what the turn took after our slice, ms */
  #rest(others: number): void {
    const [task] = this.#tasks;
    if (task === undefined) {
      this.#rests.forget();
      this.#goOn();
      return;
    }
    this.#rests.after(this.#spent, others, this.#tasks.length > 1 || task.awaited?.() === true);
    const { due } = this.#rests;
    if (due === 0) {
      this.#goOn();
      return;
    }
    const began = this.#clock.elapsed();
    this.#clock.setTimer(due, () => {
      this.#rests.had(this.#clock.elapsed() - began);
      this.#goOn();
    });
  }

  #goOn(): void {
    this.#scheduled = false;
    this.#spent = 0;
    if (this.#tasks.length > 0) this.#work();
  }
}
