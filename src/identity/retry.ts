/** Backoff of failed fetches (spec/ztunnel.md §3.5); ms. */
const FIRST_MS = 1_000;
export const LONGEST_RETRY_MS = 150_000;
/** Part by which a delay may differ either way. */
const SPREAD = 0.2;
/** After this long without a success there is nothing to hurry for. */
const GIVE_UP_GROWING_MS = 15 * 60_000;

/**
 * How long to wait after a failure; ms. `failures` is how many came before this one since the last success, `failingMs`
 * how long ago the first of them was, `random` in [0, 1) spreads the processes that lost the same CA.
 */
export function retryDelay(failures: number, failingMs: number, random: number): number {
  if (failingMs >= GIVE_UP_GROWING_MS) return LONGEST_RETRY_MS;
  const base = Math.min(FIRST_MS * 2 ** failures, LONGEST_RETRY_MS);
  return Math.min(Math.round(base * (1 - SPREAD + 2 * SPREAD * random)), LONGEST_RETRY_MS);
}
