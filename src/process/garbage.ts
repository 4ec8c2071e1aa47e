/**
 * When the garbage of large changes is collected. The runtime waits for more to come, which a process that has become quiet
 * does not bring: after 70 000 workloads have changed, a third of the memory would be what they were before.
 */

/** After the last change of several, ms. */
const QUIET_MS = 3_000;

let timer: Timer | undefined;

/** Much is garbage now: it is collected when no more has come for some seconds, mostly on threads of its own. */
export function collectSoon(): void {
  if (timer !== undefined) clearTimeout(timer);
  timer = setTimeout(() => {
    timer = undefined;
    Bun.gc(false);
  }, QUIET_MS).unref();
}
