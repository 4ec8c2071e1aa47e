import { expect, test } from "bun:test";
import {
  decodeMessage,
  encodeMessage,
  type Message,
  type Query,
  RCODE,
  type Sending,
  TYPE,
  type UpstreamTransport,
} from "../../../src/dns/mod.ts";
import { type Forwarded, Forwarder } from "../../../src/ztunnel/dns/forwarder.ts";
import { address, query } from "../../dns/records.ts";
import { answerTo, within } from "./fixture.ts";

type Mood = "answers" | "silent" | "refuses" | "servfail";

/** A name server and the network to it, in one mood at a time. */
class Upstream implements UpstreamTransport {
  mood: Mood = "answers";
  asked = 0;
  open = 0;
  ip = "192.0.2.1";
  ttl = 60;

  udp(
    _server: unknown,
    bytes: Uint8Array,
    received: (bytes: Uint8Array) => void,
    failed: (reason: string) => void,
  ): Sending {
    const decoded = decodeMessage(bytes);
    if (!decoded.ok) throw new Error(decoded.error);
    const { message } = decoded;
    this.asked++;
    this.open++;
    const name = message.questions[0]?.name ?? "";
    queueMicrotask(() => {
      if (this.mood === "refuses") failed("Connection refused (os error 111)");
      if (this.mood === "servfail") received(encodeMessage(answerTo(message, { rcode: RCODE.SERVFAIL })));
      if (this.mood === "answers") {
        received(encodeMessage(answerTo(message, { answers: [address(name, this.ip, this.ttl)] })));
      }
    });
    return { close: () => void this.open-- };
  }

  tcp(): Sending {
    throw new Error("nothing is truncated here");
  }
}

function forwarderOf() {
  const clock = { ms: 0 };
  const upstream = new Upstream();
  const settings = { nameservers: ["192.0.2.53"], timeoutMs: 4000, attempts: 1 };
  const forwarder = new Forwarder(settings, upstream, () => clock.ms);
  const ask = (name = "x.test.") =>
    within("an answer", new Promise<Forwarded>((done) => forwarder.ask(questionFor(name), done)));
  return { forwarder, upstream, clock, ask };
}

function questionFor(name: string): Query {
  return { ...query(name), question: { name, type: TYPE.A, class: 1 } };
}

/** Address, TTL after ageing and freshness; or the failure. */
function summary(result: Forwarded): unknown {
  if (!result.ok) return result.reason;
  const [record] = (result.message as Message).answers;
  return [[...(record?.data[0] as Uint8Array)].join("."), result.cached?.fresh];
}

test("fresh from the cache, then asked again", async () => {
  const { ask, upstream, clock } = forwarderOf();
  expect(summary(await ask())).toEqual(["192.0.2.1", undefined]);
  clock.ms = 59_000;
  expect(summary(await ask("X.TEST."))).toEqual(["192.0.2.1", true]);
  expect(upstream.asked).toBe(1);
  clock.ms = 60_000;
  upstream.ip = "192.0.2.2";
  expect(summary(await ask())).toEqual(["192.0.2.2", undefined]);
  expect([upstream.asked, upstream.open]).toEqual([2, 0]);
});

test.each<Mood>(["refuses", "servfail"])("a stale answer when the name server %s, up to a day", async (mood) => {
  const { ask, upstream, clock } = forwarderOf();
  await ask();
  upstream.mood = mood;
  clock.ms = 61_000;
  expect(summary(await ask())).toEqual(["192.0.2.1", false]);
  expect(upstream.asked).toBe(2);
  // Believed to be silent for a while, then tried again.
  clock.ms += 4_999;
  expect(summary(await ask())).toEqual(["192.0.2.1", false]);
  expect(upstream.asked).toBe(2);
  clock.ms += 1;
  upstream.mood = "answers";
  upstream.ip = "192.0.2.2";
  expect(summary(await ask())).toEqual(["192.0.2.2", undefined]);
  upstream.mood = mood;
  clock.ms += 60_000 + 86_400_000;
  expect(await ask()).toMatchObject({ ok: false });
});

test("a stale answer after 1.8 s of silence; whoever asks meanwhile gets it at once; the question goes on", async () => {
  const { ask, upstream, clock } = forwarderOf();
  await ask();
  upstream.mood = "silent";
  clock.ms = 61_000;
  const began = performance.now();
  expect(summary(await ask())).toEqual(["192.0.2.1", false]);
  const waited = performance.now() - began;
  expect(waited).toBeGreaterThan(1700);
  expect(waited).toBeLessThan(3500);
  expect(summary(await ask())).toEqual(["192.0.2.1", false]);
  expect(performance.now() - began - waited).toBeLessThan(500);
  expect([upstream.asked, upstream.open]).toEqual([2, 1]);
});

test("nothing stale: the failure", async () => {
  const { ask, upstream } = forwarderOf();
  upstream.mood = "refuses";
  expect(summary(await ask())).toBe("Connection refused (os error 111)");
  upstream.mood = "servfail";
  expect(await ask()).toMatchObject({ ok: false, reason: "SERVFAIL", message: { rcode: RCODE.SERVFAIL } });
});

test("at most 256 questions under way, and 1024 who wait for one; nobody else waits", async () => {
  const { forwarder, upstream, ask } = forwarderOf();
  upstream.mood = "silent";
  for (let i = 0; i < 256; i++) forwarder.ask(questionFor(`n${i}.test.`), () => undefined);
  expect(summary(await ask("one.too.many."))).toBe("too many questions at a time");
  let refused = 0;
  for (let i = 0; i < 1100; i++) forwarder.ask(questionFor("n0.test."), () => refused++);
  expect(refused).toBe(1100 - 1023);
  await Promise.resolve();
  expect(upstream.open).toBe(256);
  forwarder.close();
  expect([upstream.open, forwarder.running, refused]).toEqual([0, 0, 77]);
});

test("a thousand who waited for one answer are not all told at once", async () => {
  const { forwarder, upstream } = forwarderOf();
  const told: number[] = [];
  const all = Promise.withResolvers<void>();
  for (let i = 0; i < 1000; i++) {
    forwarder.ask(questionFor("x.test."), () => {
      const until = performance.now() + 0.05; // to write an answer costs time
      while (performance.now() < until);
      told.push(i);
      if (i === 999) all.resolve();
    });
  }
  await new Promise<void>((resolve) => setImmediate(resolve));
  expect(upstream.asked).toBe(1);
  expect(told.length).toBeLessThan(500);
  await within("all answers", all.promise);
  expect(told).toEqual(Array.from({ length: 1000 }, (_, i) => i));
});

test("closed: nobody is told anything", async () => {
  const { forwarder } = forwarderOf();
  let told = 0;
  forwarder.ask(questionFor("x."), () => told++);
  forwarder.close();
  forwarder.ask(questionFor("y."), () => told++);
  for (let i = 0; i < 10; i++) await Promise.resolve();
  expect(told).toBe(0);
});
