/** Answers of name servers, kept for as long as they say, and longer for when nobody answers (RFC 2181, 2308, 8767). */
import { type Message, RCODE, type ResourceRecord, TYPE } from "./types.ts";

/** Bounds of one pod's cache. Answers are kept as the bytes they came in: half a kilobyte where objects take five. */
export interface CacheLimits {
  readonly entries: number;
  readonly bytes: number;
}

const DEFAULT_LIMITS: CacheLimits = { entries: 1024, bytes: 512 * 1024 };
/** Longest time that an answer counts as fresh, whatever it says (RFC 8767 §4 asks for a bound in days). */
const MAX_TTL = 86_400; // seconds
/** That there is nothing may change any moment, by somebody's own hand: kept just long enough to take the load. */
const MAX_NEGATIVE_TTL = 30; // seconds
/** How long past its time an answer may still serve when no name server answers (RFC 8767 §5: one to three days). */
export const MAX_STALE = 86_400; // seconds
/** TTL in answers past their time (RFC 8767 §4). */
export const STALE_TTL = 30; // seconds
/** What an entry costs beside its bytes. */
const ENTRY_OVERHEAD = 200; // bytes

interface Entry {
  readonly message: Uint8Array;
  /** Milliseconds of the cache's clock. */
  readonly storedAt: number;
  readonly freshUntil: number;
  readonly staleUntil: number;
  readonly cost: number;
}

export interface CachedAnswer {
  /** As the name server sent it. */
  readonly message: Uint8Array;
  readonly fresh: boolean;
  /** Since the answer came, whole seconds: what is to be taken from its TTLs. */
  readonly age: number;
}

/** Seconds for which a message answers its question; 0: not to be kept. */
export function answerTtl(message: Message): number {
  if (message.truncated) return 0;
  if (message.rcode === RCODE.NOERROR && message.answers.length > 0) {
    let least = MAX_TTL;
    for (const { ttl } of message.answers) least = Math.min(least, signedTtl(ttl));
    return least;
  }
  if (message.rcode !== RCODE.NOERROR && message.rcode !== RCODE.NXDOMAIN) return 0;
  // Without SOA nobody says how long there will be nothing (RFC 2308 §5).
  const soa = message.authorities.find(({ type }) => type === TYPE.SOA);
  return soa === undefined ? 0 : Math.min(signedTtl(soa.ttl), soaMinimum(soa), MAX_NEGATIVE_TTL);
}

/** RFC 2181 §8: with its highest bit set a TTL is 0. */
function signedTtl(ttl: number): number {
  return ttl >= 0x8000_0000 ? 0 : ttl;
}

/** The last of the five numbers of SOA (RFC 2308 §4). */
function soaMinimum(soa: ResourceRecord): number {
  const numbers = soa.data[2];
  if (numbers === undefined || typeof numbers === "string" || numbers.length < 20) return 0;
  return signedTtl(new DataView(numbers.buffer, numbers.byteOffset).getUint32(16));
}

/** Records `age` seconds later, or past their time. */
export function agedRecords(records: readonly ResourceRecord[], { fresh, age }: CachedAnswer): ResourceRecord[] {
  return records.map((record) => ({
    ...record,
    ttl: fresh ? Math.max(0, Math.min(signedTtl(record.ttl), MAX_TTL) - age) : STALE_TTL,
  }));
}

/** Answers by question, the longest unused one given up first. */
export class AnswerCache {
  readonly #limits: CacheLimits;
  readonly #now: () => number;
  /** In order of use. */
  readonly #entries = new Map<string, Entry>();
  #bytes = 0;

  /** @param now milliseconds, never going back */
  constructor(now: () => number, limits: CacheLimits = DEFAULT_LIMITS) {
    this.#now = now;
    this.#limits = limits;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Bytes that the entries take, roughly. */
  get bytes(): number {
    return this.#bytes;
  }

  /** What is known of a question, fresh or past its time. */
  get(key: string): CachedAnswer | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    const now = this.#now();
    if (now >= entry.staleUntil) {
      this.#drop(key, entry);
      return undefined;
    }
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    const age = Math.floor((now - entry.storedAt) / 1000);
    return { message: entry.message, fresh: now < entry.freshUntil, age };
  }

  /** Keeps an answer, if it is of the kind that is kept; an older one goes in any case. */
  put(key: string, bytes: Uint8Array, message: Message): void {
    const old = this.#entries.get(key);
    if (old !== undefined) this.#drop(key, old);
    const ttl = answerTtl(message);
    const cost = bytes.length + 2 * key.length + ENTRY_OVERHEAD;
    if (ttl === 0 || cost > this.#limits.bytes / 4) return;
    const storedAt = this.#now();
    const freshUntil = storedAt + ttl * 1000;
    // That there was nothing is no comfort when nobody answers.
    const positive = message.rcode === RCODE.NOERROR && message.answers.length > 0;
    const staleUntil = positive ? freshUntil + MAX_STALE * 1000 : freshUntil;
    this.#entries.set(key, { message: bytes, storedAt, freshUntil, staleUntil, cost });
    this.#bytes += cost;
    for (const [oldest, entry] of this.#entries) {
      if (this.#entries.size <= this.#limits.entries && this.#bytes <= this.#limits.bytes) break;
      this.#drop(oldest, entry);
    }
  }

  clear(): void {
    this.#entries.clear();
    this.#bytes = 0;
  }

  #drop(key: string, entry: Entry): void {
    this.#entries.delete(key);
    this.#bytes -= entry.cost;
  }
}
