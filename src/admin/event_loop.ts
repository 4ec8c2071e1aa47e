/**
 * How long the event loop was held, looked at for some seconds because somebody asked: a watch all the time would wake an
 * idle process a thousand times a second, and one that wakes it seldom would miss what it is for.
 */
import { closeSync, openSync, readSync } from "node:fs";

/** Between two looks, ms: what is shorter delays nobody by much. */
const LOOK_MS = 1;
/** Upper ends of the histogram, ms; the last one has none. */
const BUCKETS = [1, 2, 4, 8, 12, 25, 50, 100, 250, 1_000] as const;
const NANOS_PER_MS = 1e6;

/** What was seen. All times are ms, with fractions. */
export interface EventLoopReport {
  readonly seconds: number;
  readonly looks: number;
  /** The longest that something due had to wait, whoever held it up. */
  readonly longestMs: number;
  /** The same without the time in which the thread wanted to run, and the system gave the processor to others. */
  readonly longestOwnMs: number;
  /** The longest that the thread computed between two looks; a stop for the garbage collector's other threads is not in it. */
  readonly longestComputedMs: number;
  /** How many looks came so late, own time only, by upper end: `1`, `2`, … `more`. */
  readonly histogram: Readonly<Record<string, number>>;
}

/** What the scheduler says of this thread, ms since its beginning. */
interface ThreadTimes {
  readonly computed: number;
  readonly waited: number;
}

/** /proc/thread-self/schedstat: time on the processor and time waiting for one (Linux, Documentation/scheduler). */
class ThreadClock {
  readonly #fd = openSync("/proc/thread-self/schedstat", "r");
  readonly #bytes = new Uint8Array(64);
  readonly #text = new TextDecoder();

  read(): ThreadTimes {
    const size = readSync(this.#fd, this.#bytes, 0, this.#bytes.length, 0);
    const [computed, waited] = this.#text.decode(this.#bytes.subarray(0, size)).split(" ");
    return { computed: Number(computed) / NANOS_PER_MS, waited: Number(waited) / NANOS_PER_MS };
  }

  close(): void {
    closeSync(this.#fd);
  }
}

/** Looks at the event loop for so many seconds. Rejects where the system tells nothing of its threads. */
export async function watchEventLoop(seconds: number): Promise<EventLoopReport> {
  const clock = new ThreadClock();
  const histogram = new Array<number>(BUCKETS.length + 1).fill(0);
  let [looks, longestMs, longestOwnMs, longestComputedMs] = [0, 0, 0, 0];
  let [last, before] = [performance.now(), clock.read()];
  const began = last;
  const look = () => {
    const [now, times] = [performance.now(), clock.read()];
    const late = Math.max(0, now - last - LOOK_MS);
    const own = Math.max(0, late - (times.waited - before.waited));
    looks++;
    longestMs = Math.max(longestMs, late);
    longestOwnMs = Math.max(longestOwnMs, own);
    longestComputedMs = Math.max(longestComputedMs, times.computed - before.computed);
    const bucket = BUCKETS.findIndex((end) => own <= end);
    histogram[bucket < 0 ? BUCKETS.length : bucket]!++;
    [last, before] = [now, times];
  };
  const timer = setInterval(look, LOOK_MS);
  await new Promise((resume) => setTimeout(resume, seconds * 1_000));
  clearInterval(timer);
  clock.close();
  return {
    seconds: (performance.now() - began) / 1_000,
    looks,
    longestMs,
    longestOwnMs,
    longestComputedMs,
    histogram: Object.fromEntries(histogram.map((count, i) => [BUCKETS[i] ?? "more", count])),
  };
}
