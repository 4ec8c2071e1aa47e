import { beforeEach, describe, expect, test } from "bun:test";
import {
  CertificateCache,
  CertificateError,
  type CertificateFailure,
  type WorkloadCertificate,
} from "../../src/identity/mod.ts";
import { FakeClock, settled } from "./fake_clock.ts";

const HOUR = 3600_000;

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

let clock: FakeClock;
let ca: ScriptedCa;
let cache: CertificateCache;
let serial = 0;
/** What the observer heard of failures and of certificates that ended. */
let failures: CertificateFailure[];
let expired: [serial: string, error: string | undefined][];

beforeEach(() => {
  clock = new FakeClock();
  ca = new ScriptedCa();
  failures = [];
  expired = [];
  cache = new CertificateCache(ca, {
    clock,
    observer: {
      failed: (failure) => failures.push(failure),
      expired: ({ serialNumber }, error) => expired.push([serialNumber, error?.message]),
    },
  });
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

describe("the queue of prefetches", () => {
  test("holds 256; more are dropped and fetched when somebody asks", async () => {
    for (let i = 0; i < 300; i++) cache.prefetch(`warm${i}`);
    expect(cache.snapshot().length).toBe(8 + 256);
    const waiting = cache.get("warm299");
    for (let i = 0; i < 9; i++) {
      const call = ca.calls[i];
      call?.answer(certificate(call.identity));
      await settled();
    }
    expect((await waiting).identity).toBe("warm299");
    cache.prefetch("warm298");
    expect(cache.snapshot().length).toBe(8 + 256 + 2);
  });
});

describe("retryFailed", () => {
  test("tries at once what failed, and nothing else; the back-off goes on as it was", async () => {
    clock.chance = 0.5;
    cache.prefetch("good");
    await ca.answer(certificate("good"));
    cache.get("a").catch(() => {});
    for (let i = 0; i < 4; i++) {
      await ca.answer(new CertificateError("down"));
      if (i < 3) await clock.advance(150_000);
    }
    const calls = ca.calls.length;
    cache.retryFailed();
    cache.retryFailed();
    expect(ca.calls.slice(calls).map(({ identity }) => identity)).toEqual(["a"]);
    await ca.answer(new CertificateError("still down"));
    expect(failures.at(-1)).toMatchObject({ failures: 5, retryMs: 16_000 });
    cache.retryFailed();
    await ca.answer(certificate("a"));
    expect(stateOf("a")).toBe("available");
    cache.retryFailed();
    expect(ca.calls.length).toBe(calls + 2);
  });
});

describe("refreshAll", () => {
  test("fetches every identity anew, eight at once, while the old ones serve", async () => {
    const first = new Map<string, WorkloadCertificate>();
    for (let i = 0; i < 10; i++) {
      cache.prefetch(`id${i}`);
      const made = certificate(`id${i}`);
      first.set(`id${i}`, made);
      await ca.answer(made);
    }
    cache.refreshAll();
    expect(ca.calls.slice(10).map(({ identity }) => identity)).toEqual([0, 1, 2, 3, 4, 5, 6, 7].map((i) => `id${i}`));
    for (const [identity, made] of first) expect(cache.peek(identity)).toBe(made);
    for (let i = 10; i < 20; i++) {
      ca.calls[i]?.answer(certificate(`id${i - 10}`));
      await settled();
    }
    expect(ca.calls.length).toBe(20);
    for (const [identity, made] of first) expect(cache.peek(identity)).not.toBe(made);
    await clock.advance(11 * HOUR);
    expect(ca.calls.length).toBe(20);
  });

  test("makes what is being fetched already be fetched once more", async () => {
    cache.prefetch("a");
    cache.refreshAll();
    cache.refreshAll();
    expect(ca.calls.length).toBe(1);
    await ca.answer(certificate("a"));
    expect(ca.calls.length).toBe(2);
    await ca.answer(certificate("a"));
    expect(ca.calls.length).toBe(2);
  });

  test("also when that fetch fails, which it may have done for the change", async () => {
    cache.prefetch("a");
    cache.refreshAll();
    await ca.answer(new CertificateError("signed by an unknown authority"));
    expect(ca.calls.length).toBe(2);
    expect(failures.at(-1)?.retryMs).toBe(0);
    await ca.answer(new CertificateError("down"));
    expect(ca.calls.length).toBe(2);
    await clock.advance(2_000);
    expect(ca.calls.length).toBe(3);
  });

  test("that is refused leaves the old ones in force and tries again", async () => {
    cache.prefetch("a");
    const first = certificate("a");
    await ca.answer(first);
    cache.refreshAll();
    await ca.answer(new CertificateError("down"));
    expect(await cache.get("a")).toBe(first);
    expect(stateOf("a")).toBe("available");
    await clock.advance(1_000);
    expect(ca.calls.length).toBe(3);
  });

  test("tries at once what failed, with a back-off from the start", async () => {
    clock.chance = 0.5;
    cache.get("a").catch(() => {});
    for (let i = 0; i < 6; i++) {
      await ca.answer(new CertificateError("down"));
      await clock.advance(150_000);
    }
    await ca.answer(new CertificateError("down"));
    const calls = ca.calls.length;
    cache.refreshAll();
    expect(ca.calls.length).toBe(calls + 1);
    await ca.answer(new CertificateError("down"));
    await clock.advance(1_000);
    expect(ca.calls.length).toBe(calls + 2);
  });
});

describe("onChange", () => {
  test("tells of the first certificate and of every other, with the one before", async () => {
    const changes: [string, string, string | undefined][] = [];
    const stop = cache.onChange((identity, now, before) =>
      changes.push([identity, now.serialNumber, before?.serialNumber])
    );
    cache.prefetch("a");
    const [first, second, third, fourth] = [
      certificate("a"),
      certificate("a", clock.time + 12 * HOUR),
      certificate("a", clock.time + 100 * HOUR),
      certificate("a", clock.time + 112 * HOUR),
    ];
    await ca.answer(first);
    await clock.advance(12 * HOUR);
    await ca.answer(second);
    clock.time += 88 * HOUR; // it ended long ago
    expect(cache.peek("a")).toBeUndefined();
    cache.get("a").catch(() => {});
    await ca.answer(third);
    stop();
    await clock.advance(12 * HOUR);
    await ca.answer(fourth);
    expect(cache.peek("a")).toBe(fourth);
    expect(changes).toEqual([
      ["a", first.serialNumber, undefined],
      ["a", second.serialNumber, first.serialNumber],
      ["a", third.serialNumber, second.serialNumber],
    ]);
  });

  test("does not tell of what was forgotten or refused", async () => {
    let changes = 0;
    cache.onChange(() => changes++);
    cache.prefetch("a");
    cache.forget("a");
    cache.prefetch("a");
    ca.calls[0]?.answer(certificate("a"));
    await settled();
    cache.prefetch("b");
    await ca.answer(certificate("b", clock.time - 2 * HOUR, clock.time - HOUR));
    expect(changes).toBe(0);
  });
});

describe("a certificate that ends without another", () => {
  test("is told of when it ends, though nobody asks, with what the CA fails with", async () => {
    clock.chance = 0.5;
    cache.prefetch("a");
    const first = certificate("a", clock.time, clock.time + HOUR);
    await ca.answer(first);
    await clock.advance(HOUR / 2);
    await ca.answer(new CertificateError("the CA is down"));
    expect(failures.at(-1)).toMatchObject({ failures: 1, retryMs: 1_000, certificate: first });
    expect(failures.at(-1)?.usableMs).toBeGreaterThan(HOUR / 2 - 60_000);
    while (clock.time < first.notAfter) {
      const calls = ca.calls.length;
      await clock.advance(1_000);
      if (ca.calls.length > calls && clock.time < first.notAfter) {
        await ca.answer(new CertificateError("the CA is down"));
      }
    }
    expect(expired).toEqual([[first.serialNumber, "the CA is down"]]);
    // It was asked once more at the very end.
    await ca.answer(new CertificateError("the CA is still down"));
    await clock.advance(150_000);
    await ca.answer(new CertificateError("the CA is still down"));
    expect(failures.at(-1)?.certificate).toBe(first);
    expect(failures.at(-1)?.usableMs).toBe(-150_000);
    expect(failures.at(-1)?.retryMs).toBe(150_000);
    expect(expired.length).toBe(1);
    expect(cache.snapshot()).toEqual([{ identity: "a", state: "unavailable", error: "the CA is still down" }]);
  });

  test("is told of while the CA does not answer at all; who asks then waits for the answer", async () => {
    cache.prefetch("a");
    const first = certificate("a", clock.time, clock.time + HOUR);
    await ca.answer(first);
    await clock.advance(HOUR - 1);
    expect(ca.calls.length).toBe(2);
    expect(expired).toEqual([]);
    await clock.advance(1);
    expect(expired).toEqual([[first.serialNumber, undefined]]);
    expect(cache.peek("a")).toBeUndefined();
    const waiting = cache.get("a");
    const second = certificate("a");
    await ca.answer(second);
    expect(await waiting).toBe(second);
    expect(ca.calls.length).toBe(2);
  });

  test("is tried for at its end, sooner than the back-off says", async () => {
    clock.chance = 0.5;
    cache.prefetch("a");
    await ca.answer(certificate("a", clock.time - 100, clock.time + 10_000));
    const end = clock.time + 10_000;
    while (ca.calls.length < 2) await clock.advance(100);
    await ca.answer(new CertificateError("down")); // 1 s
    await clock.advance(1_000);
    await ca.answer(new CertificateError("down")); // 2 s
    await clock.advance(2_000);
    await ca.answer(new CertificateError("down")); // 4 s would be beyond the end
    const calls = ca.calls.length;
    await clock.advance(end - clock.time - 1);
    expect(ca.calls.length).toBe(calls);
    await clock.advance(1);
    expect(ca.calls.length).toBe(calls + 1);
  });
});

describe("what cannot be used", () => {
  const link = (notAfter: number) => ({ pem: "", serialNumber: "1", notBefore: 0, notAfter });
  const now = new FakeClock().time;
  const table: [what: string, change: Partial<WorkloadCertificate>, error: string | undefined][] = [
    ["ends now", { notAfter: now }, "a: the CA issued a certificate that ended at 2001-09-09T01:46:40.000Z"],
    [
      "an intermediate that ended",
      { certificates: [link(now + HOUR), link(now - 1_000)], roots: [link(now + HOUR)] },
      "a: the CA sent an intermediate certificate that ended at 2001-09-09T01:46:39.000Z",
    ],
    [
      "only roots that ended",
      { roots: [link(now - 2_000), link(now - 1_000)] },
      "a: the CA sent only roots that ended at 2001-09-09T01:46:39.000Z",
    ],
    ["one root that ended, of two", { roots: [link(now - 1_000), link(now + HOUR)] }, undefined],
    ["begins in four minutes", { notBefore: now + 4 * 60_000 }, undefined],
    [
      "begins tomorrow",
      { notBefore: now + 24 * HOUR },
      "a: the CA issued a certificate that begins at 2001-09-10T01:46:40.000Z, and it is 2001-09-09T01:46:40.000Z here: one clock is wrong",
    ],
  ];
  test.each(table)("%s", async (_, change, error) => {
    const waiting = cache.get("a").then(() => undefined, (error: Error) => error.message);
    await ca.answer({ ...certificate("a"), notAfter: now + 48 * HOUR, ...change });
    expect(await waiting).toBe(error);
    expect(cache.peek("a") === undefined).toBe(error !== undefined);
  });

  test("does not replace what can", async () => {
    cache.prefetch("a");
    const first = certificate("a");
    await ca.answer(first);
    await clock.advance(12 * HOUR);
    await ca.answer(certificate("a", clock.time - 48 * HOUR));
    expect(await cache.get("a")).toBe(first);
    expect(failures.at(-1)?.error.message).toStartWith("a: the CA issued a certificate that ended at");
  });

  test("a chain ends, and is renewed, with the first of its certificates", async () => {
    cache.prefetch("a");
    await ca.answer({ ...certificate("a"), certificates: [link(clock.time + 24 * HOUR), link(clock.time + HOUR)] });
    await clock.advance(HOUR / 2);
    expect(ca.calls.length).toBe(2);
    await clock.advance(HOUR / 2);
    expect(cache.peek("a")).toBeUndefined();
    expect(expired.length).toBe(1);
  });
});

describe("a clock that is put back", () => {
  test("lets nobody wait for it to catch up", async () => {
    for (let i = 0; i < 8; i++) cache.prefetch(`busy${i}`);
    const waiting = cache.get("a");
    clock.time -= 24 * HOUR;
    ca.calls[0]?.answer(certificate("busy0"));
    await settled();
    expect(ca.calls.at(-1)?.identity).toBe("a");
    const made = certificate("a");
    await ca.answer(made);
    expect(await waiting).toBe(made);
  });

  test("does not put off a retry, nor a refresh of all", async () => {
    cache.get("a").catch(() => {});
    await ca.answer(new CertificateError("down"));
    clock.time -= 24 * HOUR;
    await clock.advance(60_000 + 150_000);
    expect(ca.calls.length).toBe(2);
    await ca.answer(certificate("a"));
    cache.refreshAll();
    clock.time -= HOUR;
    expect(ca.calls.length).toBe(3);
  });
});

test("who was forgotten holds a place until its answer comes, and then lets the next one in", async () => {
  for (let i = 0; i < 8; i++) cache.prefetch(`busy${i}`);
  for (let i = 0; i < 8; i++) cache.forget(`busy${i}`);
  const waiting = cache.get("a");
  expect(ca.calls.length).toBe(8);
  ca.calls[3]?.answer(new CertificateError("down"));
  await settled();
  expect(ca.calls.length).toBe(9);
  const made = certificate("a");
  await ca.answer(made);
  expect(await waiting).toBe(made);
  expect(failures).toEqual([]);
});
