import { expect, test } from "bun:test";
import {
  CertificateCache,
  CertificateError,
  type Priority,
  usableUntil,
  type WorkloadCertificate,
} from "../../src/identity/mod.ts";
import { FakeClock, settled } from "./fake_clock.ts";

const SECOND = 1_000;
const MINUTE = 60_000;
const IDENTITIES = Array.from({ length: 30 }, (_, i) => `id${i}`);
/** Longest time that the CA takes for an answer; ms. */
const SLOWEST = 5 * SECOND;
/** Who waits is behind all identities at most, eight at once, each with one fetch that was forgotten meanwhile. */
const LONGEST_WAIT = 2 * SLOWEST * IDENTITIES.length;

/** Numbers that look random and are the same for the same seed (mulberry32). */
function chance(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

type Mood = "good" | "mixed" | "down";

/** One cache, its clock and a CA of changing moods, and what must hold of them at every moment. */
class World {
  readonly clock = new FakeClock();
  readonly random: () => number;
  readonly cache: CertificateCache;
  mood: Mood = "mixed";
  #serial = 0;
  #inFlight = 0;
  /** Fetches that run, by identity; more than one only after the identity was forgotten. */
  readonly #running = new Map<string, number>();
  readonly #forgotten = new Map<string, number>();
  readonly #inForce = new Map<string, WorkloadCertificate>();
  readonly #waiting = new Map<number, { readonly identity: string; readonly since: number }>();
  #waits = 0;
  readonly counts = { fetched: 0, failed: 0, expired: 0, changes: 0, answers: 0, refusals: 0 };

  constructor(seed: number) {
    this.random = chance(seed);
    this.clock.random = this.random;
    this.cache = new CertificateCache({ fetch: (identity) => this.#fetch(identity) }, {
      clock: this.clock,
      observer: {
        fetched: () => this.counts.fetched++,
        failed: ({ certificate, usableMs, retryMs }) => {
          this.counts.failed++;
          expect(retryMs).toBeWithin(0, 150 * SECOND + 1);
          if (certificate !== undefined) expect(usableMs).toBe(usableUntil(certificate) - this.clock.time);
        },
        expired: (certificate) => {
          this.counts.expired++;
          expect(usableUntil(certificate)).toBeLessThanOrEqual(this.clock.time);
        },
      },
    });
    this.cache.onChange((identity, certificate, before) => {
      this.counts.changes++;
      expect(certificate.identity).toBe(identity);
      expect(before).toBe(this.#inForce.get(identity));
      this.#inForce.set(identity, certificate);
    });
  }

  pick<T>(from: readonly T[]): T {
    return from[Math.floor(this.random() * from.length)]!;
  }

  get(identity: string, priority: Priority): void {
    const wait = ++this.#waits;
    this.#waiting.set(wait, { identity, since: this.clock.running });
    this.cache.get(identity, priority).then((certificate) => {
      this.counts.answers++;
      this.#waiting.delete(wait);
      this.#usable(identity, certificate);
    }, (error: unknown) => {
      this.counts.refusals++;
      this.#waiting.delete(wait);
      expect(error).toBeInstanceOf(CertificateError);
    });
  }

  forget(identity: string): void {
    this.#forgotten.set(identity, this.#running.get(identity) ?? 0);
    this.#inForce.delete(identity);
    this.cache.forget(identity);
  }

  /** Of everything, whatever happened before. */
  check(): void {
    for (const identity of IDENTITIES) {
      const certificate = this.cache.peek(identity);
      if (certificate !== undefined) this.#usable(identity, certificate);
    }
    for (const { identity, state, certificate } of this.cache.snapshot()) {
      expect(certificate !== undefined).toBe(state === "available");
      if (certificate !== undefined) this.#usable(identity, certificate);
    }
    for (const { since } of this.#waiting.values()) {
      expect(this.clock.running - since).toBeLessThanOrEqual(LONGEST_WAIT);
    }
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  #usable(identity: string, certificate: WorkloadCertificate): void {
    expect(certificate.identity).toBe(identity);
    expect(usableUntil(certificate)).toBeGreaterThan(this.clock.time);
  }

  #fetch(identity: string): Promise<WorkloadCertificate> {
    const running = (this.#running.get(identity) ?? 0) + 1;
    this.#running.set(identity, running);
    expect(running).toBeLessThanOrEqual((this.#forgotten.get(identity) ?? 0) + 1);
    expect(++this.#inFlight).toBeLessThanOrEqual(8);
    const { promise, resolve, reject } = Promise.withResolvers<WorkloadCertificate>();
    this.clock.setTimer(this.random() * SLOWEST, () => {
      this.#inFlight--;
      this.#running.set(identity, this.#running.get(identity)! - 1);
      const forgotten = this.#forgotten.get(identity) ?? 0;
      if (forgotten > 0) this.#forgotten.set(identity, forgotten - 1);
      const answer = this.#answer(identity);
      if (answer instanceof Error) reject(answer);
      else resolve(answer);
    });
    return promise;
  }

  #answer(identity: string): WorkloadCertificate | Error {
    const luck = this.mood === "good" ? 0 : this.mood === "down" ? 1 : this.random();
    if (luck > 0.6) return this.random() < 0.5 ? new CertificateError(`${identity}: no`) : new Error("lost");
    const now = this.clock.time;
    let [notBefore, notAfter] = [now - this.random() * 10 * MINUTE, now + SECOND + this.random() * 60 * MINUTE];
    if (luck > 0.55) notAfter = now - 1 - this.random() * MINUTE;
    else if (luck > 0.5) [notBefore, notAfter] = [now + 6 * MINUTE, now + 60 * MINUTE];
    const link = {
      pem: "",
      serialNumber: "1",
      notBefore,
      notAfter: luck > 0.4 ? now + this.random() * MINUTE : notAfter,
    };
    return {
      identity,
      keyPem: "",
      chainPem: "",
      rootsPem: "",
      notBefore,
      notAfter,
      serialNumber: String(++this.#serial),
      certificates: [link],
      roots: [],
    };
  }
}

const PRIORITIES: readonly Priority[] = ["realtime", "warmup", "background"];

async function step(world: World): Promise<void> {
  const { cache, clock, random } = world;
  const identity = world.pick(IDENTITIES);
  const luck = random();
  if (luck < 0.35) world.get(identity, world.pick(PRIORITIES));
  else if (luck < 0.5) cache.prefetch(identity);
  else if (luck < 0.6) world.forget(identity);
  else if (luck < 0.63) cache.refreshAll();
  else if (luck < 0.66) world.mood = world.pick(["good", "mixed", "down"]);
  else if (luck < 0.68) clock.time += Math.round((random() - 0.5) * 120 * MINUTE);
  else await clock.advance(Math.round(random() ** 4 * 20 * MINUTE));
  await settled();
  world.check();
}

test.each([1, 2, 3, 4, 5, 6, 7, 8])("whatever happens (%i)", async (seed) => {
  const world = new World(seed);
  for (let i = 0; i < 400; i++) await step(world);

  // When the CA is well again everybody has a certificate soon, and renewals go on.
  world.mood = "good";
  await world.clock.advance(150 * SECOND + MINUTE + LONGEST_WAIT);
  expect(world.waiting).toBe(0);
  world.check();
  for (const { state } of world.cache.snapshot()) expect(state).toBe("available");
  for (const identity of IDENTITIES) world.get(identity, "realtime");
  await world.clock.advance(LONGEST_WAIT);
  expect(world.waiting).toBe(0);
  for (const count of Object.values(world.counts)) expect(count).toBeGreaterThan(0);

  // Nothing is left behind: not of the queue, not of the timers.
  for (const identity of IDENTITIES) world.get(identity, "realtime");
  world.cache.close();
  await world.clock.advance(SLOWEST);
  expect(world.waiting).toBe(0);
  expect(world.clock.timers.length).toBe(0);
  expect(world.cache.snapshot()).toEqual([]);
}, 60_000);
