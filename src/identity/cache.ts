import {
  type CertificateAuthority,
  CertificateError,
  usableUntil,
  whyUnusable,
  type WorkloadCertificate,
} from "./certificate.ts";
import { type Clock, SYSTEM_CLOCK } from "./clock.ts";
import { LONGEST_RETRY_MS, retryDelay } from "./retry.ts";

/** Why a certificate is wanted; what is urgent is fetched first. */
export type Priority = "realtime" | "warmup" | "background";

export type CertificateState = "initializing" | "available" | "unavailable";

/** One identity of the cache, for config_dump. */
export interface CacheEntrySnapshot {
  readonly identity: string;
  readonly state: CertificateState;
  readonly certificate?: WorkloadCertificate;
  readonly error?: string;
}

/** A fetch that failed. */
export interface CertificateFailure {
  readonly identity: string;
  readonly error: CertificateError;
  /** How many failed since the last success, this one included. */
  readonly failures: number;
  /** Until the next attempt; ms. */
  readonly retryMs: number;
  /** The last good one; it serves as long as `usableMs` is above 0. */
  readonly certificate: WorkloadCertificate | undefined;
  /** How long it still can be used, or, below 0, since when it cannot; ms. 0 without one. */
  readonly usableMs: number;
}

/** Hears what becomes of fetches and certificates, for logs and metrics. Called in the middle of things: must not throw. */
export interface CertificateObserver {
  /** A fetch gave a certificate; it took `tookMs`. */
  fetched?(certificate: WorkloadCertificate, tookMs: number): void;
  failed?(failure: CertificateFailure): void;
  /** The certificate has ended and there is no other: from now on the identity has none. Told once for each. */
  expired?(certificate: WorkloadCertificate, error: CertificateError | undefined): void;
}

/** `before` is the one that was in force before, whether or not it has ended meanwhile. */
export type ChangeListener = (
  identity: string,
  certificate: WorkloadCertificate,
  before: WorkloadCertificate | undefined,
) => void;

export interface CertificateCacheOptions {
  readonly clock?: Clock;
  readonly observer?: CertificateObserver;
}

/** Fetches that may run at once (spec/ztunnel.md §3.5). */
const MAX_IN_FLIGHT = 8;
/** Prefetches that may wait (spec/ztunnel.md §3.5); what is beyond is fetched when a connection asks. */
const MAX_PREFETCHES = 256;
/** Refreshes start up to this part of a certificate's life early, so that those of one moment do not stay together. */
const REFRESH_JITTER = 0.02;
/** A CA that hands out certificates that hardly live is asked again no sooner than this; ms. */
const MIN_REFRESH_MS = 1_000;
/** The timer looks at the clock at least this often, so that a jump of it is noticed; ms. */
const MAX_TIMER_MS = 60_000;
/** A time for `due` that has come whatever the clock says. */
const AT_ONCE = -Infinity;

const RANK: Record<Priority, number> = { realtime: 0, warmup: 1, background: 2 };

interface Waiter {
  resolve(certificate: WorkloadCertificate): void;
  reject(error: CertificateError): void;
}

interface Entry {
  readonly identity: string;
  /** `available` while `certificate` can be used, as of the last look at the clock. */
  state: CertificateState;
  /** The last good one. */
  certificate: WorkloadCertificate | undefined;
  /** When it ends; ms since the epoch. */
  end: number;
  /** Of the last fetch, if that failed. */
  error: CertificateError | undefined;
  waiters: Waiter[];
  /** When the next fetch may start, and how urgent it is then; no meaning while one runs. */
  due: number;
  priority: Priority;
  fetching: boolean;
  /** The running fetch may be answered from before a change of the roots: another one follows it. */
  again: boolean;
  failures: number;
  firstFailure: number;
}

/**
 * Keeps one current certificate for each identity (spec/ztunnel.md §3.5): one fetch at a time per identity and eight in
 * all, renewal at half of a certificate's life, the last good one kept while it is valid and the CA fails. Changes no
 * connection: whoever makes one takes the newest.
 */
export class CertificateCache {
  readonly #ca: CertificateAuthority;
  readonly #clock: Clock;
  readonly #observer: CertificateObserver;
  readonly #entries = new Map<string, Entry>();
  readonly #listeners = new Set<ChangeListener>();
  #inFlight = 0;
  #timer: unknown = undefined;
  #closed = false;

  constructor(ca: CertificateAuthority, { clock = SYSTEM_CLOCK, observer = {} }: CertificateCacheOptions = {}) {
    this.#ca = ca;
    this.#clock = clock;
    this.#observer = observer;
  }

  /** The certificate if there is a valid one now. Starts nothing. */
  peek(identity: string): WorkloadCertificate | undefined {
    const entry = this.#entries.get(identity);
    return entry !== undefined && entry.state === "available" && entry.end > this.#clock.now()
      ? entry.certificate
      : undefined;
  }

  /**
   * The certificate at once if there is a valid one, the error at once if the last fetch failed (it is retried in the
   * background), otherwise as soon as it is fetched. Rejects with CertificateError.
   */
  get(identity: string, priority: Priority = "realtime"): Promise<WorkloadCertificate> {
    if (this.#closed) return Promise.reject(new CertificateError("the certificate cache is closed"));
    const entry = this.#want(identity, priority);
    if (this.#expire(entry)) this.#schedule();
    const { state, certificate, error } = entry;
    if (state === "available" && certificate !== undefined) return Promise.resolve(certificate);
    if (state === "unavailable" && error !== undefined) return Promise.reject(error);
    return new Promise((resolve, reject) => entry.waiters.push({ resolve, reject }));
  }

  /** Asks for a certificate that is likely to be needed soon; nobody waits for it, and too many of them are dropped. */
  prefetch(identity: string): void {
    if (this.#closed || (!this.#entries.has(identity) && this.#prefetchesFull())) return;
    this.#want(identity, "warmup");
  }

  /** Drops an identity that no workload has any more. Who waits for it is refused; a running fetch's result is discarded. */
  forget(identity: string): void {
    const entry = this.#entries.get(identity);
    if (entry === undefined) return;
    this.#entries.delete(identity);
    settle(entry, new CertificateError("the identity is no longer needed"));
    this.#schedule();
  }

  /**
   * Fetches every identity anew, because the CA or its roots are others now. In the background: what there is serves
   * meanwhile. Those that failed are tried at once and start over with their back-off.
   */
  refreshAll(): void {
    for (const entry of this.#entries.values()) {
      entry.failures = 0;
      if (entry.fetching) entry.again = true;
      else entry.due = AT_ONCE;
    }
    this.#schedule();
  }

  /** Tries at once whatever failed last, because the CA may be reached again. The back-off goes on as it was. */
  retryFailed(): void {
    for (const entry of this.#entries.values()) {
      if (entry.failures > 0 && !entry.fetching) entry.due = AT_ONCE;
    }
    this.#schedule();
  }

  /** Calls `listener` whenever an identity gets another certificate, its first one included. Returns how to stop that. */
  onChange(listener: ChangeListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  snapshot(): CacheEntrySnapshot[] {
    this.#expireAll();
    return [...this.#entries.values()].map(({ identity, state, certificate, error }) => ({
      identity,
      state,
      ...(state === "available" && certificate !== undefined && { certificate }),
      ...(error !== undefined && { error: error.message }),
    }));
  }

  /** Forgets everything and starts no fetch any more. */
  close(): void {
    this.#closed = true;
    for (const identity of [...this.#entries.keys()]) this.forget(identity);
    this.#listeners.clear();
  }

  /** The entry of an identity, made or moved forward in the queue as `priority` demands. */
  #want(identity: string, priority: Priority): Entry {
    let entry = this.#entries.get(identity);
    if (entry === undefined) {
      entry = {
        identity,
        state: "initializing",
        certificate: undefined,
        end: 0,
        error: undefined,
        waiters: [],
        due: this.#clock.now(),
        priority,
        fetching: false,
        again: false,
        failures: 0,
        firstFailure: 0,
      };
      this.#entries.set(identity, entry);
      this.#schedule();
    } else if (entry.state === "initializing" && RANK[priority] < RANK[entry.priority]) {
      entry.priority = priority;
    }
    return entry;
  }

  #prefetchesFull(): boolean {
    if (this.#entries.size < MAX_PREFETCHES) return false;
    let waiting = 0;
    for (const entry of this.#entries.values()) {
      if (entry.state === "initializing" && entry.priority === "warmup" && !entry.fetching) waiting++;
    }
    return waiting >= MAX_PREFETCHES;
  }

  /**
   * Takes a certificate that has ended out of service, and says whether it did. Without a failure to report, as after a
   * suspended machine, it is fetched anew, and who asks waits for that.
   */
  #expire(entry: Entry): boolean {
    const { state, certificate, error, end } = entry;
    if (state !== "available" || certificate === undefined || end > this.#clock.now()) return false;
    entry.state = error === undefined ? "initializing" : "unavailable";
    if (error === undefined) {
      entry.priority = "realtime";
      entry.due = this.#clock.now();
    }
    this.#observer.expired?.(certificate, error);
    return true;
  }

  #expireAll(): void {
    let any = false;
    for (const entry of this.#entries.values()) any = this.#expire(entry) || any;
    if (any) this.#schedule();
  }

  /** Starts what is due as far as there is room, and sets the one timer for what is not. */
  #schedule(): void {
    if (this.#timer !== undefined) this.#clock.clearTimer(this.#timer);
    this.#timer = undefined;
    if (this.#closed) return;
    while (this.#inFlight < MAX_IN_FLIGHT) {
      const entry = this.#mostUrgent();
      if (entry === undefined) break;
      this.#fetch(entry);
    }
    const next = this.#nextEvent();
    if (next === Infinity) return;
    const wait = Math.min(Math.max(next - this.#clock.now(), 0), MAX_TIMER_MS);
    this.#timer = this.#clock.setTimer(wait, () => {
      this.#timer = undefined;
      this.#expireAll();
      this.#schedule();
    });
  }

  /** When the next fetch is due or the next certificate ends. */
  #nextEvent(): number {
    const now = this.#clock.now();
    const full = this.#inFlight === MAX_IN_FLIGHT; // then the next one that ends starts what is due
    let next = Infinity;
    for (const entry of this.#entries.values()) {
      // A clock that was put back does not put off a retry.
      if (entry.failures > 0) entry.due = Math.min(entry.due, now + LONGEST_RETRY_MS);
      if (!full && !entry.fetching && entry.due < next) next = entry.due;
      if (entry.state === "available" && entry.end < next) next = entry.end;
    }
    return next;
  }

  /** Of the entries that are due, the one of the highest priority, and among equals the one due first. */
  #mostUrgent(): Entry | undefined {
    const now = this.#clock.now();
    let best: Entry | undefined;
    for (const entry of this.#entries.values()) {
      // What somebody may wait for is due, also when the clock was put back since.
      if (entry.fetching || (entry.due > now && entry.state !== "initializing")) continue;
      const rank = RANK[entry.priority];
      if (best === undefined || rank < RANK[best.priority] || (rank === RANK[best.priority] && entry.due < best.due)) {
        best = entry;
      }
    }
    return best;
  }

  #fetch(entry: Entry): void {
    const started = this.#clock.now();
    entry.fetching = true;
    entry.again = false;
    this.#inFlight++;
    this.#ca.fetch(entry.identity).then(
      (certificate) => this.#fetched(entry, certificate, started),
      (error: unknown) => this.#failed(entry, error),
    );
  }

  #fetched(entry: Entry, certificate: WorkloadCertificate, started: number): void {
    const now = this.#clock.now();
    const problem = whyUnusable(certificate, now);
    if (problem !== undefined) {
      this.#failed(entry, new CertificateError(`${entry.identity}: ${problem}`));
      return;
    }
    if (!this.#ended(entry)) return;
    const before = entry.certificate;
    entry.state = "available";
    entry.certificate = certificate;
    entry.end = usableUntil(certificate);
    entry.error = undefined;
    entry.failures = 0;
    entry.due = entry.again ? AT_ONCE : this.#refreshTime(certificate.notBefore, entry.end);
    settle(entry, certificate);
    this.#schedule();
    this.#observer.fetched?.(certificate, Math.max(now - started, 0));
    for (const listener of this.#listeners) listener(entry.identity, certificate, before);
  }

  /** Half of the life; half of what is left of it where that is over: by a clock that is ahead, or a short life. */
  #refreshTime(notBefore: number, end: number): number {
    const now = this.#clock.now();
    const part = 0.5 - REFRESH_JITTER * this.#clock.random();
    const half = Math.ceil(notBefore + (end - notBefore) * part);
    return Math.max(half > now ? half : Math.ceil(now + (end - now) * part), now + MIN_REFRESH_MS);
  }

  #failed(entry: Entry, cause: unknown): void {
    if (!this.#ended(entry)) return;
    const now = this.#clock.now();
    if (entry.failures === 0) entry.firstFailure = now;
    const delay = retryDelay(entry.failures, now - entry.firstFailure, this.#clock.random());
    entry.failures++;
    const error = entry.error = asCertificateError(entry.identity, cause);
    this.#expire(entry);
    if (entry.state === "available") {
      entry.due = Math.min(now + delay, entry.end);
    } else {
      entry.state = "unavailable";
      entry.due = now + delay;
      settle(entry, error);
    }
    const retryMs = entry.again ? 0 : entry.due - now;
    if (entry.again) entry.due = AT_ONCE;
    this.#schedule();
    const { identity, certificate, failures, end } = entry;
    const usableMs = certificate === undefined ? 0 : end - now;
    this.#observer.failed?.({ identity, error, failures, retryMs, certificate, usableMs });
  }

  /** A fetch is over. What comes next for its entry is a renewal or a retry; nothing if it was forgotten meanwhile. */
  #ended(entry: Entry): boolean {
    this.#inFlight--;
    entry.fetching = false;
    entry.priority = "background";
    const wanted = this.#entries.get(entry.identity) === entry;
    if (!wanted) this.#schedule();
    return wanted;
  }
}

/** Answers all who wait. */
function settle(entry: Entry, answer: WorkloadCertificate | CertificateError): void {
  const waiters = entry.waiters;
  entry.waiters = [];
  for (const waiter of waiters) {
    if (answer instanceof CertificateError) waiter.reject(answer);
    else waiter.resolve(answer);
  }
}

function asCertificateError(identity: string, cause: unknown): CertificateError {
  if (cause instanceof CertificateError) return cause;
  return new CertificateError(`${identity}: ${cause instanceof Error ? cause.message : cause}`, { cause });
}
