/** Endpoints whose connects failed lately: passed over for a while, as long as there is another one. */
import type { Workload } from "../mesh/mod.ts";
import { formatAddress, type SocketAddress } from "../net/address.ts";

/** How long an endpoint is passed over after its first failure, ms; doubled with each one that follows. */
const FIRST_EJECTION_MS = 1_000;
const LONGEST_EJECTION_MS = 30_000;
/** A failure this long after the last ejection has ended is a first one again, ms. */
const FORGIVEN_AFTER_MS = 60_000;
/** Entries kept at most; the oldest goes first. */
const MAX_ENTRIES = 4_096;

interface Entry {
  readonly failures: number;
  /** When it last failed. */
  readonly at: number;
  readonly until: number;
  readonly error: string;
}

/** A connect that failed, and none has succeeded since. */
export interface RecentFailure {
  /** Of the workload that was dialled: an endpoint, waypoint or gateway. */
  readonly uid: string;
  /** As the access log has it. */
  readonly error: string;
  /** ms */
  readonly age: number;
}

/**
 * What the connects of this process have learnt, by the pod that connects, by endpoint and by the address that the
 * application asked for: the port that is dead for one service may be alive for another, and what a network policy keeps
 * from one pod, or a pod from itself, is there for its neighbours.
 */
export class Ejections {
  readonly #entries = new Map<string, Entry>();
  readonly #now: () => number;

  /** @param now milliseconds of a clock that never goes back */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** Endpoints known to have failed, whether passed over now or on probation. */
  get size(): number {
    return this.#entries.size;
  }

  /** @param error as the access log has it */
  failed(source: Workload, workload: Workload, destination: SocketAddress, error: string): void {
    const key = keyOf(source, workload, destination);
    const now = this.#now();
    const before = this.#entries.get(key);
    const failures = before === undefined || now - before.until >= FORGIVEN_AFTER_MS ? 1 : before.failures + 1;
    this.#entries.delete(key); // so that insertion order is order of age
    const pause = Math.min(FIRST_EJECTION_MS * 2 ** (failures - 1), LONGEST_EJECTION_MS);
    this.#entries.set(key, { failures, at: now, until: now + pause, error });
    if (this.#entries.size <= MAX_ENTRIES) return;
    for (const oldest of this.#entries.keys()) {
      this.#entries.delete(oldest);
      return;
    }
  }

  /** A connect that went well clears the record. */
  succeeded(source: Workload, workload: Workload, destination: SocketAddress): void {
    if (this.#entries.size > 0) this.#entries.delete(keyOf(source, workload, destination));
  }

  /** Whom a pod is to pass over for this destination; undefined while nobody has failed, which is nearly always. */
  avoid(source: Workload, destination: SocketAddress): ((workload: Workload) => boolean) | undefined {
    if (this.#entries.size === 0) return undefined;
    return (workload) => {
      const entry = this.#entries.get(keyOf(source, workload, destination));
      return entry !== undefined && entry.until > this.#now();
    };
  }

  /** Who failed for this pod and destination and would not be forgiven yet, the latest first. For people: looks at everything. */
  failures(source: Workload, destination: SocketAddress): RecentFailure[] {
    const now = this.#now();
    const prefix = keyPrefix(source);
    const suffix = keySuffix(destination);
    const failures: RecentFailure[] = [];
    for (const [key, { at, until, error }] of this.#entries) {
      if (!key.startsWith(prefix) || !key.endsWith(suffix) || now - until >= FORGIVEN_AFTER_MS) continue;
      failures.push({ uid: key.slice(prefix.length, -suffix.length), error, age: now - at });
    }
    return failures.reverse();
  }
}

function keyOf(source: Workload, workload: Workload, destination: SocketAddress): string {
  return `${keyPrefix(source)}${workload.uid}${keySuffix(destination)}`;
}

function keyPrefix(source: Workload): string {
  return `${source.uid}|`;
}

function keySuffix(destination: SocketAddress): string {
  return `|${formatAddress(destination)}`;
}
