/** Time, chance and turns of the event loop as the client of the control plane sees them; tests put their own in place. */
export interface AdsClock {
  /** ms since the epoch */
  now(): number;
  /** ms from any beginning, with fractions; never goes back. What slices are measured with. */
  elapsed(): number;
  /** Calls once after `delay` ms; keeps no process alive. */
  setTimer(delay: number, callback: () => void): unknown;
  clearTimer(timer: unknown): void;
  /** Calls once in the next turn of the event loop, when whatever I/O is ready has been served. */
  nextTurn(callback: () => void): void;
  /** 0 ≤ x < 1 */
  random(): number;
}

export const SYSTEM_CLOCK: AdsClock = {
  now: Date.now,
  elapsed: () => performance.now(),
  setTimer: (delay, callback) => setTimeout(callback, delay).unref(),
  clearTimer: (timer) => clearTimeout(timer as Timer),
  nextTurn: (callback) => void setImmediate(callback),
  random: Math.random,
};
