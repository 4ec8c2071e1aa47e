import { type CertificateAuthority, CertificateError, type WorkloadCertificate } from "./certificate.ts";
import { type Clock, SYSTEM_CLOCK } from "./clock.ts";
import { retryDelay } from "./retry.ts";

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

/** Fetches that may run at once (spec/ztunnel.md §3.5). */
const MAX_IN_FLIGHT = 8;
/** Refreshes start up to this part of a certificate's life early, so that those of one moment do not stay together. */
const REFRESH_JITTER = 0.02;
/** A CA that hands out certificates past their half-life is asked again no sooner than this; ms. */
const MIN_REFRESH_MS = 1_000;
/** The timer looks at the clock at least this often, so that a jump of it is noticed; ms. */
const MAX_TIMER_MS = 60_000;

const RANK: Record<Priority, number> = { realtime: 0, warmup: 1, background: 2 };

interface Waiter {
  resolve(certificate: WorkloadCertificate): void;
  reject(error: CertificateError): void;
}

interface Entry {
  readonly identity: string;
  state: CertificateState;
  /** The last good one; there only while `available`. */
  certificate: WorkloadCertificate | undefined;
  /** Of the last fetch, if that failed. */
  error: CertificateError | undefined;
  waiters: Waiter[];
  /** When the next fetch may start, and how urgent it is then; no meaning while one runs. */
  due: number;
  priority: Priority;
  fetching: boolean;
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
  readonly #entries = new Map<string, Entry>();
  #inFlight = 0;
  #timer: unknown = undefined;
  #closed = false;

  constructor(ca: CertificateAuthority, clock: Clock = SYSTEM_CLOCK) {
    this.#ca = ca;
    this.#clock = clock;
  }

  /** The certificate if there is a valid one now. Starts nothing. */
  peek(identity: string): WorkloadCertificate | undefined {
    const certificate = this.#entries.get(identity)?.certificate;
    return certificate !== undefined && certificate.notAfter > this.#clock.now() ? certificate : undefined;
  }

  /**
   * The certificate at once if there is a valid one, the error at once if the last fetch failed (it is retried in the
   * background), otherwise as soon as it is fetched. Rejects with CertificateError.
   */
  get(identity: string, priority: Priority = "realtime"): Promise<WorkloadCertificate> {
    if (this.#closed) return Promise.reject(new CertificateError("the certificate cache is closed"));
    const entry = this.#want(identity, priority);
    this.#expire(entry);
    if (entry.certificate !== undefined) return Promise.resolve(entry.certificate);
    if (entry.state === "unavailable" && entry.error !== undefined) return Promise.reject(entry.error);
    return new Promise((resolve, reject) => entry.waiters.push({ resolve, reject }));
  }

  /** Asks for a certificate that is likely to be needed soon; nobody waits for it. */
  prefetch(identity: string): void {
    if (!this.#closed) this.#want(identity, "warmup");
  }

  /** Drops an identity that no workload has any more. Who waits for it is refused; a running fetch's result is discarded. */
  forget(identity: string): void {
    const entry = this.#entries.get(identity);
    if (entry === undefined) return;
    this.#entries.delete(identity);
    settle(entry, new CertificateError("the identity is no longer needed"));
    this.#schedule();
  }

  snapshot(): CacheEntrySnapshot[] {
    return [...this.#entries.values()].map((entry) => {
      this.#expire(entry);
      const { identity, state, certificate, error } = entry;
      return {
        identity,
        state,
        ...(certificate !== undefined && { certificate }),
        ...(error !== undefined && { error: error.message }),
      };
    });
  }

  /** Forgets everything and starts no fetch any more. */
  close(): void {
    this.#closed = true;
    for (const identity of [...this.#entries.keys()]) this.forget(identity);
  }

  /** The entry of an identity, made or moved forward in the queue as `priority` demands. */
  #want(identity: string, priority: Priority): Entry {
    let entry = this.#entries.get(identity);
    if (entry === undefined) {
      entry = {
        identity,
        state: "initializing",
        certificate: undefined,
        error: undefined,
        waiters: [],
        due: this.#clock.now(),
        priority,
        fetching: false,
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

  /** Takes an expired certificate away. Without a failure to report, as after a suspended machine, it is fetched anew. */
  #expire(entry: Entry): void {
    if (entry.certificate === undefined || entry.certificate.notAfter > this.#clock.now()) return;
    entry.certificate = undefined;
    if (entry.error !== undefined) {
      entry.state = "unavailable";
      return;
    }
    entry.state = "initializing";
    entry.priority = "realtime";
    entry.due = this.#clock.now();
    this.#schedule();
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
    if (this.#inFlight === MAX_IN_FLIGHT) return; // the next one that ends comes back here
    let next = Infinity;
    for (const entry of this.#entries.values()) {
      if (!entry.fetching && entry.due < next) next = entry.due;
    }
    if (next === Infinity) return;
    const wait = Math.min(Math.max(next - this.#clock.now(), 0), MAX_TIMER_MS);
    this.#timer = this.#clock.setTimer(wait, () => {
      this.#timer = undefined;
      this.#schedule();
    });
  }

  /** Of the entries that are due, the one of the highest priority, and among equals the one due first. */
  #mostUrgent(): Entry | undefined {
    const now = this.#clock.now();
    let best: Entry | undefined;
    for (const entry of this.#entries.values()) {
      if (entry.fetching || entry.due > now) continue;
      const rank = RANK[entry.priority];
      if (best === undefined || rank < RANK[best.priority] || (rank === RANK[best.priority] && entry.due < best.due)) {
        best = entry;
      }
    }
    return best;
  }

  #fetch(entry: Entry): void {
    entry.fetching = true;
    this.#inFlight++;
    this.#ca.fetch(entry.identity).then(
      (certificate) => this.#fetched(entry, certificate),
      (error: unknown) => this.#failed(entry, error),
    );
  }

  #fetched(entry: Entry, certificate: WorkloadCertificate): void {
    const now = this.#clock.now();
    if (certificate.notAfter <= now) {
      const ended = new Date(certificate.notAfter).toISOString();
      this.#failed(
        entry,
        new CertificateError(`${entry.identity}: the CA issued a certificate that ended at ${ended}`),
      );
      return;
    }
    this.#ended(entry);
    const life = certificate.notAfter - certificate.notBefore;
    const refresh = Math.ceil(certificate.notBefore + life * (0.5 - REFRESH_JITTER * this.#clock.random()));
    entry.state = "available";
    entry.certificate = certificate;
    entry.error = undefined;
    entry.failures = 0;
    entry.due = Math.max(refresh, now + MIN_REFRESH_MS);
    settle(entry, certificate);
    this.#schedule();
  }

  #failed(entry: Entry, cause: unknown): void {
    this.#ended(entry);
    const now = this.#clock.now();
    if (entry.failures === 0) entry.firstFailure = now;
    const delay = retryDelay(entry.failures, now - entry.firstFailure, this.#clock.random());
    entry.failures++;
    entry.error = asCertificateError(entry.identity, cause);
    this.#expire(entry);
    if (entry.certificate !== undefined) {
      entry.due = Math.min(now + delay, entry.certificate.notAfter);
    } else {
      entry.state = "unavailable";
      entry.due = now + delay;
      settle(entry, entry.error);
    }
    this.#schedule();
  }

  /** A fetch is over. Whatever comes next for this entry is a renewal or a retry. */
  #ended(entry: Entry): void {
    this.#inFlight--;
    entry.fetching = false;
    entry.priority = "background";
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
