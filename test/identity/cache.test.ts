import { beforeEach, describe, expect, test } from "bun:test";
import { CertificateCache, CertificateError, type Clock, type WorkloadCertificate } from "../../src/identity/mod.ts";

const HOUR = 3600_000;

/** A clock that moves only when told, and then runs the timers on the way. */
class FakeClock implements Clock {
  time = 1_000_000_000_000;
  chance = 0;
  timers: { at: number; callback: () => void }[] = [];
  now = () => this.time;
  random = () => this.chance;
  setTimer(delay: number, callback: () => void): unknown {
    const timer = { at: this.time + delay, callback };
    this.timers.push(timer);
    return timer;
  }
  clearTimer(timer: unknown): void {
    this.timers = this.timers.filter((other) => other !== timer);
  }
  async advance(ms: number): Promise<void> {
    const end = this.time + ms;
    for (;;) {
      const next = this.timers.filter((timer) => timer.at <= end).sort((a, b) => a.at - b.at)[0];
      if (next === undefined) break;
      this.clearTimer(next);
      this.time = Math.max(this.time, next.at);
      next.callback();
      await settled();
    }
    this.time = end;
  }
}

/** A CA whose answers the test gives. */
class ScriptedCa {
  readonly calls: { identity: string; answer: (what: WorkloadCertificate | Error) => void }[] = [];
  fetch(identity: string): Promise<WorkloadCertificate> {
    const { promise, resolve, reject } = Promise.withResolvers<WorkloadCertificate>();
    const answer = (what: WorkloadCertificate | Error) => what instanceof Error ? reject(what) : resolve(what);
    this.calls.push({ identity, answer });
    return promise;
  }
  /** Answers the newest call and lets the cache see it. */
  async answer(what: WorkloadCertificate | Error): Promise<void> {
    this.calls.at(-1)?.answer(what);
    await settled();
  }
}

/** All promise reactions that are due have run. */
const settled = () => new Promise<void>((resolve) => setImmediate(resolve));

let clock: FakeClock;
let ca: ScriptedCa;
let cache: CertificateCache;
let serial = 0;

beforeEach(() => {
  clock = new FakeClock();
  ca = new ScriptedCa();
  cache = new CertificateCache(ca, { clock });
});

function certificate(identity: string, notBefore = clock.time, notAfter = notBefore + 24 * HOUR): WorkloadCertificate {
  const empty = { keyPem: "", chainPem: "", rootsPem: "", certificates: [], roots: [] };
  return { identity, ...empty, notBefore, notAfter, serialNumber: String(++serial) };
}

/** What a promise is refused with; asked for before that happens, so that no rejection is unhandled meanwhile. */
const refusal = (promise: Promise<unknown>) => promise.then(() => "not refused", (error: Error) => error.message);

const stateOf = (identity: string) => cache.snapshot().find((entry) => entry.identity === identity)?.state;

describe("get", () => {
  test("shares one fetch among all who wait", async () => {
    const [a, b] = [cache.get("a"), cache.get("a")];
    expect(ca.calls.length).toBe(1);
    expect(cache.peek("a")).toBeUndefined();
    expect(stateOf("a")).toBe("initializing");
    const first = certificate("a");
    await ca.answer(first);
    expect(await a).toBe(first);
    expect(await b).toBe(first);
    expect(await cache.get("a")).toBe(first);
    expect(cache.peek("a")).toBe(first);
    expect(stateOf("a")).toBe("available");
    expect(ca.calls.length).toBe(1);
  });

  test("refuses all who wait when the fetch fails, and later ones at once with the same error", async () => {
    const waiting = refusal(cache.get("a"));
    await ca.answer(new CertificateError("the CA said no"));
    expect(await waiting).toBe("the CA said no");
    expect(await refusal(cache.get("a"))).toBe("the CA said no");
    expect(ca.calls.length).toBe(1);
    expect(cache.snapshot()).toEqual([{ identity: "a", state: "unavailable", error: "the CA said no" }]);
  });

  test("names the identity in an error that is not the CA's own", async () => {
    const waiting = refusal(cache.get("a"));
    await ca.answer(new Error("socket closed"));
    expect(await waiting).toBe("a: socket closed");
  });

  test("takes no certificate that has ended", async () => {
    const waiting = refusal(cache.get("a"));
    await ca.answer(certificate("a", clock.time - 2 * HOUR, clock.time - HOUR));
    expect(await waiting).toBe("a: the CA issued a certificate that ended at 2001-09-09T00:46:40.000Z");
    expect(cache.peek("a")).toBeUndefined();
  });
});

describe("the queue", () => {
  test("runs eight at once, then by priority, then by age; a higher request bumps a waiting one", async () => {
    for (let i = 0; i < 8; i++) cache.prefetch(`busy${i}`);
    expect(ca.calls.length).toBe(8);
    cache.prefetch("warm1");
    cache.prefetch("warm2");
    clock.time += 5;
    cache.get("real1").catch(() => {});
    cache.prefetch("warm3");
    cache.get("warm2").catch(() => {});
    expect(ca.calls.length).toBe(8);
    for (let i = 0; i < 4; i++) {
      ca.calls[i]?.answer(certificate(`busy${i}`));
      await settled();
    }
    expect(ca.calls.slice(8).map((call) => call.identity)).toEqual(["warm2", "real1", "warm1", "warm3"]);
  });
});

describe("refresh", () => {
  test("is at half of the life, keeps the old certificate until the new one is there", async () => {
    cache.prefetch("a");
    const first = certificate("a");
    await ca.answer(first);
    await clock.advance(12 * HOUR - 1);
    expect(ca.calls.length).toBe(1);
    await clock.advance(1);
    expect(ca.calls.length).toBe(2);
    expect(cache.peek("a")).toBe(first);
    expect(await cache.get("a")).toBe(first);
    const second = certificate("a");
    await ca.answer(second);
    expect(cache.peek("a")).toBe(second);
  });

  test("is a little earlier by chance", async () => {
    clock.chance = 0.999;
    cache.prefetch("a");
    await ca.answer(certificate("a"));
    await clock.advance(0.48 * 24 * HOUR - 60_000);
    expect(ca.calls.length).toBe(1);
    await clock.advance(0.01 * 24 * HOUR);
    expect(ca.calls.length).toBe(2);
  });

  test("does not spin when certificates arrive past their half", async () => {
    cache.prefetch("a");
    await ca.answer(certificate("a", clock.time - 20 * HOUR));
    await clock.advance(2 * HOUR - 1);
    expect(ca.calls.length).toBe(1);
    await clock.advance(1);
    expect(ca.calls.length).toBe(2);
  });

  test("that fails keeps the last good one until it ends, never longer", async () => {
    cache.prefetch("a");
    const first = certificate("a");
    await ca.answer(first);
    await clock.advance(12 * HOUR);
    let answered = 1;
    while (clock.time < first.notAfter) {
      if (ca.calls.length > answered) {
        await ca.answer(new CertificateError("down"));
        answered = ca.calls.length;
      }
      expect(cache.peek("a")).toBe(first);
      await clock.advance(Math.min(60_000, first.notAfter - clock.time));
    }
    expect(answered).toBeGreaterThan(200); // 12 h, a retry at least each 180 s
    expect(cache.peek("a")).toBeUndefined();
    expect(await refusal(cache.get("a"))).toBe("down");
    expect(stateOf("a")).toBe("unavailable");
    if (ca.calls.length === answered) await clock.advance(150_000);
    const second = certificate("a");
    await ca.answer(second);
    expect(cache.peek("a")).toBe(second);
    expect(await cache.get("a")).toBe(second);
    expect(stateOf("a")).toBe("available");
  });

  test("fetches anew what ended while the machine slept", async () => {
    cache.prefetch("a");
    await ca.answer(certificate("a"));
    clock.time += 25 * HOUR; // no timer ran
    expect(cache.peek("a")).toBeUndefined();
    const waiting = cache.get("a");
    expect(ca.calls.length).toBe(2);
    const second = certificate("a");
    await ca.answer(second);
    expect(await waiting).toBe(second);
  });
});

describe("failures", () => {
  test("are retried after 1 s, 2 s, 4 s …, and a success starts over", async () => {
    clock.chance = 0.5;
    cache.get("a").catch(() => {});
    for (const [i, wait] of [1_000, 2_000, 4_000].entries()) {
      await ca.answer(new CertificateError("down"));
      await clock.advance(wait - 1);
      expect(ca.calls.length).toBe(i + 1);
      await clock.advance(1);
      expect(ca.calls.length).toBe(i + 2);
    }
    await ca.answer(certificate("a"));
    expect(stateOf("a")).toBe("available");
    await clock.advance(12 * HOUR);
    const calls = ca.calls.length;
    await ca.answer(new CertificateError("down"));
    await clock.advance(1_000);
    expect(ca.calls.length).toBe(calls + 1);
  });
});

describe("forget and close", () => {
  test("refuse who waits and discard what arrives later", async () => {
    const waiting = refusal(cache.get("a"));
    const old = ca.calls[0];
    cache.forget("a");
    expect(await waiting).toBe("the identity is no longer needed");
    const again = cache.get("a");
    expect(ca.calls.length).toBe(2);
    old?.answer(certificate("a"));
    await settled();
    expect(cache.peek("a")).toBeUndefined();
    const second = certificate("a");
    await ca.answer(second);
    expect(await again).toBe(second);
  });

  test("leave no timer", async () => {
    cache.prefetch("a");
    await ca.answer(certificate("a"));
    expect(clock.timers.length).toBe(1);
    cache.forget("a");
    expect(clock.timers.length).toBe(0);
    const waiting = refusal(cache.get("b"));
    cache.close();
    expect(await waiting).toBe("the identity is no longer needed");
    await ca.answer(certificate("b"));
    expect(cache.snapshot()).toEqual([]);
    expect(clock.timers.length).toBe(0);
    expect(await refusal(cache.get("b"))).toBe("the certificate cache is closed");
  });
});
