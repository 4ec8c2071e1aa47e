import type { Clock } from "../../src/identity/mod.ts";

/** A clock that moves only when told, and then runs the timers on the way. */
export class FakeClock implements Clock {
  /** The time of day; ms since the epoch. */
  time = 1_000_000_000_000;
  /** What timers go by: unlike the time of day it never jumps. */
  running = 0;
  chance = 0;
  timers: { at: number; callback: () => void }[] = [];
  now = () => this.time;
  random = () => this.chance;
  setTimer(delay: number, callback: () => void): unknown {
    const timer = { at: this.running + delay, callback };
    this.timers.push(timer);
    return timer;
  }
  clearTimer(timer: unknown): void {
    this.timers = this.timers.filter((other) => other !== timer);
  }
  async advance(ms: number): Promise<void> {
    const end = this.running + ms;
    for (;;) {
      const next = this.timers.filter((timer) => timer.at <= end).sort((a, b) => a.at - b.at)[0];
      if (next === undefined) break;
      this.clearTimer(next);
      this.#pass(Math.max(next.at - this.running, 0));
      next.callback();
      await settled();
    }
    this.#pass(end - this.running);
  }

  #pass(ms: number): void {
    this.running += ms;
    this.time += ms;
  }
}

/** All promise reactions that are due have run. */
export const settled = () => new Promise<void>((resolve) => setImmediate(resolve));
