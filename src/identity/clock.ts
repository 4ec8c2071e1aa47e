/** Time and chance as the certificate cache sees them; tests put their own in place. */
export interface Clock {
  /** ms since the epoch */
  now(): number;
  /** Calls once after `delay` ms; keeps no process alive. */
  setTimer(delay: number, callback: () => void): unknown;
  clearTimer(timer: unknown): void;
  /** 0 ≤ x < 1 */
  random(): number;
}

export const SYSTEM_CLOCK: Clock = {
  now: Date.now,
  setTimer: (delay, callback) => setTimeout(callback, delay).unref(),
  clearTimer: (timer) => clearTimeout(timer as Timer),
  random: Math.random,
};
