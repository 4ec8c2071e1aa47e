import type { AdsClock } from "../../../src/xds/mod.ts";

interface ManualTimer {
  readonly due: number;
  readonly callback: () => void;
}

/** Time that stands still until it is moved, and turns that come when they are asked for. */
export class ManualClock implements AdsClock {
  time = 1_000_000;
  /** What `random` says. */
  chance = 0;
  /** What a look at `elapsed` costs, ms: work seems to take time by it. */
  tick = 0;
  #elapsed = 0;
  readonly #timers = new Set<ManualTimer>();
  #turns: (() => void)[] = [];

  now(): number {
    return this.time;
  }
  elapsed(): number {
    return this.#elapsed += this.tick;
  }
  /** Work that takes so long, ms. */
  work(ms: number): void {
    this.#elapsed += ms;
  }
  setTimer(delay: number, callback: () => void): unknown {
    const timer = { due: this.time + delay, callback };
    this.#timers.add(timer);
    return timer;
  }
  clearTimer(timer: unknown): void {
    this.#timers.delete(timer as ManualTimer);
  }
  nextTurn(callback: () => void): void {
    this.#turns.push(callback);
  }
  random(): number {
    return this.chance;
  }

  /** ms until each timer, soonest first. */
  get waits(): number[] {
    return [...this.#timers].map(({ due }) => due - this.time).sort((a, b) => a - b);
  }

  /** Lets time pass, and fires what becomes due. */
  pass(ms: number): void {
    this.time += ms;
    for (const timer of [...this.#timers].sort((a, b) => a.due - b.due)) {
      if (timer.due > this.time) continue;
      this.#timers.delete(timer);
      timer.callback();
    }
  }

  /** One turn of the event loop. False: nobody waited for it. */
  turn(): boolean {
    const turns = this.#turns;
    this.#turns = [];
    for (const callback of turns) callback();
    return turns.length > 0;
  }

  /** Turns until nobody waits for one; returns how many. */
  settle(): number {
    for (let turns = 0;; turns++) if (!this.turn()) return turns;
  }
}
