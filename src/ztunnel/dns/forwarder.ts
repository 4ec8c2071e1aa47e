/** Questions that the mesh has no answer to, for one pod: from its cache, or from name servers. */
import {
  AnswerCache,
  type CachedAnswer,
  decodeMessage,
  Exchange,
  lowerName,
  type Message,
  type Query,
  rcodeName,
  type UpstreamResult,
  type UpstreamSettings,
  type UpstreamTransport,
} from "../../dns/mod.ts";
import { InTurn } from "./in_turn.ts";

/** Questions of one pod that name servers are asked at a time; each takes a socket. */
const MAX_EXCHANGES = 256;
/** Those who wait for the same answer. */
const MAX_WAITING = 1024;
/** A client has given up after five seconds; before that it is better served with what was right a while ago (RFC 8767 §5). */
const STALE_AFTER_MS = 1_800;
/** How long name servers that did not answer are believed to be still silent, where there is a stale answer. */
const FAILURE_RECHECK_MS = 5_000;

/** `cached`: what age and freshness do to TTLs; undefined: straight from the name server. */
export type Forwarded =
  | { readonly ok: true; readonly message: Message; readonly cached: CachedAnswer | undefined }
  /** `message`: the refusal of a name server, to be passed on; undefined: none answered. */
  | { readonly ok: false; readonly reason: string; readonly message: Message | undefined };

type Done = (result: Forwarded) => void;

interface Running {
  readonly exchange: Exchange;
  readonly waiting: Set<Done>;
  /** Runs while there is a stale answer to give. */
  readonly staleTimer: Timer | undefined;
  /** It has taken so long that a stale answer is given meanwhile. */
  overdue: boolean;
}

export class Forwarder {
  readonly #settings: UpstreamSettings;
  readonly #transport: UpstreamTransport;
  readonly #cache: AnswerCache;
  readonly #now: () => number;
  readonly #running = new Map<string, Running>();
  /** Until when a question is not asked again, because nobody answered it. */
  readonly #failedUntil = new Map<string, number>();
  /** Those whose answer has come. */
  readonly #told = new InTurn();
  #closed = false;

  /** @param now milliseconds, never going back */
  constructor(settings: UpstreamSettings, transport: UpstreamTransport, now: () => number = () => performance.now()) {
    this.#settings = settings;
    this.#transport = transport;
    this.#now = now;
    this.#cache = new AnswerCache(now);
  }

  /** Questions that wait for name servers. */
  get running(): number {
    return this.#running.size;
  }

  /** Calls `done` once, at once where the answer is there; not at all after close(). */
  ask(query: Query, done: Done): void {
    if (this.#closed) return;
    const key = keyOf(query);
    const cached = this.#cache.get(key);
    if (cached !== undefined && (cached.fresh || this.#now() < (this.#failedUntil.get(key) ?? 0))) {
      done(fromCache(cached));
      return;
    }
    let running = this.#running.get(key);
    if (running === undefined) {
      if (this.#running.size >= MAX_EXCHANGES) {
        done(cached === undefined ? TOO_MANY : fromCache(cached));
        return;
      }
      running = this.#start(key, query, cached);
    } else if (running.overdue && cached !== undefined) {
      done(fromCache(cached));
      return;
    } else if (running.waiting.size >= MAX_WAITING) {
      done(TOO_MANY);
      return;
    }
    running.waiting.add(done);
  }

  close(): void {
    this.#closed = true;
    for (const { exchange, staleTimer } of this.#running.values()) {
      exchange.cancel();
      clearTimeout(staleTimer);
    }
    this.#running.clear();
    this.#told.close();
    this.#failedUntil.clear();
    this.#cache.clear();
  }

  #start(key: string, query: Query, stale: CachedAnswer | undefined): Running {
    const { question, recursionDesired, checkingDisabled, edns } = query;
    const asked = { question, recursionDesired, checkingDisabled, dnssecOk: edns?.dnssecOk === true };
    const running: Running = {
      exchange: new Exchange(asked, this.#settings, this.#transport, (result) => this.#answered(key, result)),
      waiting: new Set(),
      staleTimer: stale === undefined ? undefined : setTimeout(() => {
        // The question stays under way: its answer refreshes the cache.
        running.overdue = true;
        this.#tell(running, fromCache(stale));
      }, STALE_AFTER_MS),
      overdue: false,
    };
    this.#running.set(key, running);
    return running;
  }

  #answered(key: string, result: UpstreamResult): void {
    const running = this.#running.get(key);
    if (running === undefined) return;
    clearTimeout(running.staleTimer);
    this.#running.delete(key);
    let forwarded: Forwarded;
    if (result.ok) {
      this.#failedUntil.delete(key);
      this.#cache.put(key, result.bytes, result.message);
      forwarded = { ok: true, message: result.message, cached: undefined };
    } else {
      const stale = this.#cache.get(key);
      if (stale !== undefined) this.#remember(key);
      forwarded = stale === undefined ? result : fromCache(stale);
    }
    this.#tell(running, forwarded);
  }

  /** To write an answer of 60 KB takes a millisecond, and a thousand may have waited for it. */
  #tell({ waiting }: Running, forwarded: Forwarded): void {
    for (const done of drain(waiting)) this.#told.call(() => done(forwarded));
  }

  #remember(key: string): void {
    const now = this.#now();
    this.#failedUntil.delete(key);
    this.#failedUntil.set(key, now + FAILURE_RECHECK_MS);
    for (const [oldest, until] of this.#failedUntil) {
      if (until > now && this.#failedUntil.size <= MAX_EXCHANGES) break;
      this.#failedUntil.delete(oldest);
    }
  }
}

const TOO_MANY: Forwarded = { ok: false, reason: "too many questions at a time", message: undefined };

function drain(waiting: Set<Done>): Done[] {
  const all = [...waiting];
  waiting.clear();
  return all;
}

/** Two questions with the same key have the same answer. */
function keyOf({ question, recursionDesired, checkingDisabled, edns }: Query): string {
  const flags = (recursionDesired ? 1 : 0) | (checkingDisabled ? 2 : 0) | (edns?.dnssecOk === true ? 4 : 0);
  return `${lowerName(question.name)} ${question.type} ${question.class} ${flags}`;
}

function fromCache(cached: CachedAnswer): Forwarded {
  const decoded = decodeMessage(cached.message);
  if (!decoded.ok) throw new Error(`the cache keeps what cannot be read: ${decoded.error}`);
  return { ok: true, message: decoded.message, cached };
}

/** What the access line says of a failure. */
export function failureText(result: Forwarded & { readonly ok: false }): string {
  return result.message === undefined ? result.reason : rcodeName(result.message.rcode);
}
