/** What a run of the soak is asked to do, and how its time is spent. */
import { resolve } from "node:path";

export interface Plan {
  readonly minutes: number;
  readonly seed: number;
  /** Work and churn by so many times their usual rate: a leak of one event shows in minutes instead of an hour. */
  readonly pace: number;
  /** Where the figures with all samples go. */
  readonly json: string | undefined;
  /** Where the ztunnels' logs go, access log lines of connections that failed among them, and each change. */
  readonly log: string | undefined;
}

/** Rounds of a run: each is busy first, then quiet. */
export interface Rounds {
  readonly count: number;
  readonly busyMs: number;
  /** From the baseline to the reading of memory: garbage is collected when a process has been quiet for a while. */
  readonly settlingMs: number;
  /** Rounds at the beginning that count for nothing: code is compiled, caches fill. */
  readonly warmUp: number;
}

const OPTIONS = ["--minutes", "--seed", "--pace", "--json", "--log"];
/** Shortest and longest round, quiet time included. */
const MIN_ROUND_MS = 15_000;
const MAX_ROUND_MS = 150_000;
const WANTED_ROUNDS = 10;
/** About how long it takes from the end of the work to the end of a quiet point. */
const QUIET_MS = 20_000;
const LEAST_BUSY_MS = 6_000;
/** Enough for memory to come to rest; a short run is not judged by it. */
const SETTLING_MS = 6_000;
/** Of the time, at the beginning: for some twenty minutes the runtime compiles what runs, and its heaps find their size. */
const WARM_UP_PART = 0.35;

/** @throws Error for what is not known, and for numbers that are none */
export function readPlan(args: readonly string[]): Plan {
  const stray = args.find((arg, at) => (at % 2 === 0 ? !OPTIONS.includes(arg) : false));
  if (stray !== undefined || args.length % 2 !== 0) {
    throw new Error(`soak: cannot read ${args.join(" ")}; there are ${OPTIONS.join(", ")}, each with a value`);
  }
  const value = (name: string) => {
    const at = args.indexOf(name);
    return at < 0 ? undefined : args[at + 1];
  };
  const number = (name: string, otherwise: number) => {
    const text = value(name) ?? `${otherwise}`;
    const read = Number(text);
    if (!(read > 0)) throw new Error(`soak: ${name} wants a number above 0, not ${text}`);
    return read;
  };
  const path = (name: string) => {
    const given = value(name);
    return given === undefined ? undefined : resolve(given);
  };
  return {
    minutes: number("--minutes", 60),
    seed: number("--seed", 1),
    pace: number("--pace", 1),
    json: path("--json"),
    log: path("--log"),
  };
}

export function roundsOf({ minutes }: Pick<Plan, "minutes">): Rounds {
  const total = minutes * 60_000;
  const each = Math.min(MAX_ROUND_MS, Math.max(MIN_ROUND_MS, total / WANTED_ROUNDS));
  // One to compare with the baseline, whatever the time.
  const count = Math.max(2, Math.round(total / each));
  const busyMs = Math.max(LEAST_BUSY_MS, each - QUIET_MS);
  const warmUp = Math.max(1, Math.floor(count * WARM_UP_PART));
  return { count, busyMs, settlingMs: Math.min(SETTLING_MS, busyMs / 4), warmUp };
}
