/** How long work may hold the event loop before others get their turn; ms. */
const SLICE_MS = 2;

/** Runs work to its end, letting the event loop turn at a `yield` whenever a slice of time is used up. */
export async function inSlices<T>(work: Generator<void, T>): Promise<T> {
  let until = performance.now() + SLICE_MS;
  for (;;) {
    const step = work.next();
    if (step.done) return step.value;
    if (performance.now() < until) continue;
    await new Promise<void>((resolve) => void setImmediate(resolve));
    until = performance.now() + SLICE_MS;
  }
}
