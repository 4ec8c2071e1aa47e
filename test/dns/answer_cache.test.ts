import { describe, expect, test } from "bun:test";
import { agedRecords, AnswerCache, encodeMessage, type Message, RCODE, TYPE } from "../../src/dns/mod.ts";
import { address, query, record, soa } from "./records.ts";

const DAY = 86_400;

function answer(name: string, given: Partial<Message>): Message {
  return query(name, TYPE.A, { response: true, ...given });
}

class Clock {
  seconds = 1000;
  readonly now = () => this.seconds * 1000;
}

function cacheOf(limits?: { entries: number; bytes: number }) {
  const clock = new Clock();
  const cache = new AnswerCache(clock.now, limits);
  const put = (key: string, message: Message) => cache.put(key, encodeMessage(message), message);
  return { cache, clock, put };
}

describe("how long an answer is fresh, and how long it serves", () => {
  const cases: readonly [name: string, given: Partial<Message>, fresh: number, stale: number][] = [
    ["the least of its TTLs", { answers: [address("a.", "1.1.1.1", 300), address("a.", "1.1.1.2", 20)] }, 20, 20 + DAY],
    ["a CNAME counts too", { answers: [record("a.", TYPE.CNAME, ["b."], 5), address("b.", "1.1.1.1")] }, 5, 5 + DAY],
    ["at most a day", { answers: [address("a.", "1.1.1.1", 10 * DAY)] }, DAY, 2 * DAY],
    ["TTL 0: not kept", { answers: [address("a.", "1.1.1.1", 0)] }, 0, 0],
    ["a negative TTL is 0", { answers: [address("a.", "1.1.1.1", 0x8000_0001)] }, 0, 0],
    ["NXDOMAIN: what SOA says, never stale", { rcode: RCODE.NXDOMAIN, authorities: [soa("a.", 60, 9)] }, 9, 9],
    ["… its own TTL", { rcode: RCODE.NXDOMAIN, authorities: [soa("a.", 4, 9)] }, 4, 4],
    ["… briefly", { rcode: RCODE.NXDOMAIN, authorities: [soa("a.", 3600, 3600)] }, 30, 30],
    ["NXDOMAIN without SOA: not kept", { rcode: RCODE.NXDOMAIN }, 0, 0],
    ["no data", { authorities: [soa("a.", 60, 10)] }, 10, 10],
    ["SERVFAIL: not kept", { rcode: RCODE.SERVFAIL, authorities: [soa("a.", 60, 60)] }, 0, 0],
    ["truncated: not kept", { truncated: true, answers: [address("a.", "1.1.1.1")] }, 0, 0],
  ];
  test.each(cases)("%s", (_, given, fresh, stale) => {
    const { cache, clock, put } = cacheOf();
    put("key", answer("a.", given));
    const at = (seconds: number) => {
      clock.seconds = 1000 + seconds;
      return cache.get("key");
    };
    if (fresh === 0) {
      expect(at(0)).toBeUndefined();
      return;
    }
    expect(at(fresh - 1)).toMatchObject({ fresh: true, age: fresh - 1 });
    if (stale > fresh) {
      expect(at(fresh)).toMatchObject({ fresh: false });
      expect(at(stale - 1)).toMatchObject({ fresh: false });
    }
    expect(at(stale)).toBeUndefined();
    expect([cache.size, cache.bytes]).toEqual([0, 0]);
  });
});

test("TTLs count down, and are 30 s past their time", () => {
  const records = [address("a.", "1.1.1.1", 300), address("a.", "1.1.1.2", 20)];
  const cached = { message: new Uint8Array(0), age: 12 };
  expect(agedRecords(records, { ...cached, fresh: true }).map(({ ttl }) => ttl)).toEqual([288, 8]);
  expect(agedRecords(records, { ...cached, fresh: false }).map(({ ttl }) => ttl)).toEqual([30, 30]);
});

test("a new answer takes the place of the old one, also one that is not kept", () => {
  const { cache, put } = cacheOf();
  put("key", answer("a.", { answers: [address("a.", "1.1.1.1")] }));
  const { bytes } = cache;
  put("key", answer("a.", { answers: [address("a.", "1.1.1.2")] }));
  expect([cache.size, cache.bytes]).toEqual([1, bytes]);
  put("key", answer("a.", { answers: [address("a.", "1.1.1.2", 0)] }));
  expect([cache.size, cache.bytes]).toEqual([0, 0]);
});

test("what was not used longest goes first, by number and by size", () => {
  const one = answer("a.", { answers: [address("a.", "1.1.1.1")] });
  const { cache, put } = cacheOf({ entries: 3, bytes: 1_000_000 });
  for (const key of ["a", "b", "c"]) put(key, one);
  cache.get("a");
  put("d", one);
  expect(["a", "b", "c", "d"].map((key) => cache.get(key) !== undefined)).toEqual([true, false, true, true]);

  const small = cacheOf({ entries: 1000, bytes: 4000 });
  for (let i = 0; i < 100; i++) small.put(`${i}`, one);
  expect(small.cache.bytes).toBeLessThanOrEqual(4000);
  expect(small.cache.size).toBeGreaterThan(5);
  expect(small.cache.get("99")).toBeDefined();
  // One answer alone does not take everybody else's place.
  const { size } = small.cache;
  small.put("large", answer("a.", { answers: Array.from({ length: 100 }, () => address("a.", "1.1.1.1")) }));
  expect([small.cache.size, small.cache.get("large")]).toEqual([size, undefined]);
});
