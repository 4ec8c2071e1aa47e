import { describe, expect, test } from "bun:test";
import {
  decodeMessage,
  encodeMessage,
  Exchange,
  type Message,
  RCODE,
  type Sending,
  TYPE,
  type UpstreamObserver,
  type UpstreamResult,
  type UpstreamSettings,
  type UpstreamTransport,
} from "../../src/dns/mod.ts";
import type { SocketAddress } from "../../src/net/address.ts";
import { address, EDNS, query } from "./records.ts";

interface Sent {
  readonly protocol: "udp" | "tcp";
  readonly server: SocketAddress;
  readonly message: Message;
  readonly received: (bytes: Uint8Array) => void;
  readonly failed: (reason: string) => void;
  closed: boolean;
}

/** Sockets of which the test is the other side. */
class FakeTransport implements UpstreamTransport {
  readonly #sent: Sent[] = [];
  readonly #waiting: ((sent: Sent) => void)[] = [];
  readonly all: Sent[] = [];

  udp(server: SocketAddress, bytes: Uint8Array, received: Sent["received"], failed: Sent["failed"]): Sending {
    return this.#send("udp", server, bytes, received, failed);
  }

  tcp(server: SocketAddress, bytes: Uint8Array, received: Sent["received"], failed: Sent["failed"]): Sending {
    return this.#send("tcp", server, bytes, received, failed);
  }

  next(): Promise<Sent> {
    const sent = this.#sent.shift();
    return sent === undefined ? new Promise((resolve) => this.#waiting.push(resolve)) : Promise.resolve(sent);
  }

  #send(
    protocol: Sent["protocol"],
    server: SocketAddress,
    bytes: Uint8Array,
    received: Sent["received"],
    failed: Sent["failed"],
  ): Sending {
    const decoded = decodeMessage(bytes);
    if (!decoded.ok) throw new Error(decoded.error);
    const sent: Sent = { protocol, server, message: decoded.message, received, failed, closed: false };
    this.all.push(sent);
    const waiting = this.#waiting.shift();
    if (waiting === undefined) this.#sent.push(sent);
    else waiting(sent);
    return { close: () => void (sent.closed = true) };
  }
}

function ask(settings: Partial<UpstreamSettings> = {}) {
  const transport = new FakeTransport();
  const { promise, resolve } = Promise.withResolvers<UpstreamResult>();
  const question = {
    question: { name: "Example.com.", type: TYPE.A, class: 1 },
    recursionDesired: true,
    checkingDisabled: false,
    dnssecOk: false,
  };
  const given = { nameservers: ["192.0.2.1"], timeoutMs: 5000, attempts: 2, ...settings };
  const exchange = new Exchange(question, given, transport, resolve);
  return { transport, result: promise, exchange };
}

function reply(sent: Sent, given: Partial<Message> = {}): Uint8Array {
  const { id, questions } = sent.message;
  const answers = [address("Example.com.", "192.0.2.9")];
  return encodeMessage(query("", TYPE.A, { id, questions, response: true, answers, edns: EDNS, ...given }));
}

test("a question, with EDNS, and its answer", async () => {
  const { transport, result } = ask();
  const sent = await transport.next();
  expect(sent).toMatchObject({
    protocol: "udp",
    server: { ip: "192.0.2.1", port: 53 },
    message: {
      response: false,
      recursionDesired: true,
      questions: [{ name: "Example.com.", type: 1, class: 1 }],
      edns: { payloadSize: 1232, version: 0, dnssecOk: false },
    },
  });
  sent.received(reply(sent));
  expect(await result).toMatchObject({ ok: true, message: { answers: [{ name: "Example.com." }] } });
  expect(sent.closed).toBe(true);
});

describe("what is not the answer is not heard over UDP", () => {
  const cases: readonly [string, (sent: Sent) => Uint8Array][] = [
    ["another id", (sent) => reply(sent, { id: sent.message.id ^ 1 })],
    ["a question", (sent) => reply(sent, { response: false })],
    ["another name", (sent) => reply(sent, { questions: [{ name: "example.org.", type: 1, class: 1 }] })],
    ["another type", (sent) => reply(sent, { questions: [{ name: "example.com.", type: 28, class: 1 }] })],
    ["another class", (sent) => reply(sent, { questions: [{ name: "example.com.", type: 1, class: 3 }] })],
    ["two questions", (sent) => reply(sent, { questions: [...sent.message.questions, ...sent.message.questions] })],
    ["no question", (sent) => reply(sent, { questions: [] })],
    ["no DNS", () => new Uint8Array([1, 2, 3])],
    ["half an answer", (sent) => reply(sent).subarray(0, 40)],
  ];
  test.each(cases)("%s", async (_, forge) => {
    const { transport, result } = ask();
    const sent = await transport.next();
    sent.received(forge(sent));
    expect(sent.closed).toBe(false);
    // The case of its letters is the server's.
    sent.received(reply(sent, { questions: [{ name: "example.COM.", type: 1, class: 1 }] }));
    expect(await result).toMatchObject({ ok: true });
    expect(transport.all.length).toBe(1);
  });

  test.each(cases)("and ends a conversation over TCP: %s", async (_, forge) => {
    const { transport, result } = ask({ attempts: 1 });
    const first = await transport.next();
    first.received(reply(first, { truncated: true, answers: [] }));
    const sent = await transport.next();
    expect(sent.protocol).toBe("tcp");
    sent.received(forge(sent));
    expect(await result).toMatchObject({ ok: false, reason: expect.stringMatching(/another question|malformed/) });
  });
});

test("whoever guesses at the answer is heard eight times; then it is asked anew, from another port", async () => {
  const { transport, result } = ask();
  const first = await transport.next();
  for (let guess = 1; guess <= 8; guess++) {
    expect(first.closed).toBe(false);
    first.received(reply(first, { id: (first.message.id + guess) & 0xffff }));
  }
  expect(first.closed).toBe(true);
  const second = await transport.next();
  for (let guess = 1; guess <= 7; guess++) second.received(reply(second, { questions: [] }));
  second.received(reply(second));
  expect(await result).toMatchObject({ ok: true });
});

test("of a stranger's 64 KB nothing is read but the id", async () => {
  const { transport } = ask();
  const sent = await transport.next();
  const answers = Array.from({ length: 4000 }, () => address("Example.com.", "192.0.2.9"));
  const large = reply(sent, { id: sent.message.id ^ 1, answers });
  const fastest = (act: () => void) =>
    Math.min(...Array.from({ length: 7 }, () => {
      const began = performance.now();
      act();
      return performance.now() - began;
    }));
  const read = fastest(() => decodeMessage(large));
  expect(fastest(() => sent.received(large))).toBeLessThan(read / 4);
});

test("a truncated answer is asked for again over TCP, also one that is cut in the middle of a record", async () => {
  for (const cut of [0, 5]) {
    const { transport, result } = ask();
    const sent = await transport.next();
    const bytes = reply(sent, { truncated: true, edns: undefined });
    sent.received(bytes.subarray(0, bytes.length - cut));
    const again = await transport.next();
    expect([sent.closed, again.protocol, again.server]).toEqual([true, "tcp", sent.server]);
    again.received(reply(again));
    expect(await result).toMatchObject({ ok: true, message: { truncated: false } });
  }
});

test("a name server from before EDNS is asked without it", async () => {
  const { transport, result } = ask();
  const sent = await transport.next();
  sent.received(reply(sent, { rcode: RCODE.FORMERR, questions: [], answers: [], edns: undefined }));
  const again = await transport.next();
  expect([again.server, again.message.edns]).toEqual([sent.server, undefined]);
  again.received(reply(again, { edns: undefined }));
  expect(await result).toMatchObject({ ok: true });
});

test("each server in its turn, as often as configured; then the last refusal", async () => {
  const { transport, result } = ask({ nameservers: ["192.0.2.1", "2001:db8::1"], attempts: 2 });
  const codes = [RCODE.SERVFAIL, undefined, RCODE.REFUSED, undefined];
  for (const rcode of codes) {
    const sent = await transport.next();
    if (rcode === undefined) sent.failed("Connection refused (os error 111)");
    else sent.received(reply(sent, { rcode, answers: [] }));
  }
  expect(await result).toMatchObject({
    ok: false,
    reason: "Connection refused (os error 111)",
    message: { rcode: RCODE.REFUSED },
  });
  expect(transport.all.map(({ server }) => server.ip)).toEqual([
    "192.0.2.1",
    "2001:db8::1",
    "192.0.2.1",
    "2001:db8::1",
  ]);
  expect(transport.all.every(({ closed }) => closed)).toBe(true);
});

test("NXDOMAIN is an answer", async () => {
  const { transport, result } = ask({ nameservers: ["192.0.2.1", "192.0.2.2"] });
  const sent = await transport.next();
  sent.received(reply(sent, { rcode: RCODE.NXDOMAIN, answers: [] }));
  expect(await result).toMatchObject({ ok: true, message: { rcode: RCODE.NXDOMAIN } });
  expect(transport.all.length).toBe(1);
});

describe("silence", () => {
  const two = { nameservers: ["192.0.2.1", "192.0.2.2"], timeoutMs: 20, attempts: 1 };

  test("the next one is asked, in vain", async () => {
    const { transport, result } = ask(two);
    const silent = await transport.next();
    const second = await transport.next();
    expect([silent.closed, second.server.ip]).toEqual([false, "192.0.2.2"]);
    expect(await result).toEqual({ ok: false, reason: "request timed out", message: undefined });
    expect(transport.all.map(({ closed }) => closed)).toEqual([true, true]);
    silent.received(reply(silent));
    silent.failed("late");
    expect(transport.all.length).toBe(2);
  });

  test("an answer counts although the next one has been asked meanwhile", async () => {
    const { transport, result } = ask({ ...two, timeoutMs: 300 });
    const slow = await transport.next();
    await transport.next();
    slow.received(reply(slow));
    expect(await result).toMatchObject({ ok: true });
    expect(transport.all.map(({ closed }) => closed)).toEqual([true, true]);
  });

  test("a late one that is truncated is asked over TCP, one that refuses leaves the turn with the other", async () => {
    const truncated = ask({ ...two, timeoutMs: 300 });
    const slow = await truncated.transport.next();
    await truncated.transport.next();
    slow.received(reply(slow, { truncated: true, answers: [] }));
    const whole = await truncated.transport.next();
    expect([whole.protocol, whole.server, slow.closed]).toEqual(["tcp", slow.server, true]);
    whole.received(reply(whole));
    expect(await truncated.result).toMatchObject({ ok: true });

    const refused = ask({ ...two, timeoutMs: 300 });
    const late = await refused.transport.next();
    const second = await refused.transport.next();
    late.received(reply(late, { rcode: RCODE.SERVFAIL, answers: [] }));
    expect(second.closed).toBe(false);
    second.received(reply(second));
    expect(await refused.result).toMatchObject({ ok: true });
    expect(refused.transport.all.length).toBe(2);
  });

  test.concurrent.each([
    [1, 2, 2],
    [2, 2, 4],
    [3, 2, 5],
    [3, 5, 5],
  ])("%i servers, %i attempts: %i questions within what clients wait", async (servers, attempts, asked) => {
    const nameservers = ["192.0.2.1", "192.0.2.2", "192.0.2.3"].slice(0, servers);
    const { transport, result } = ask({ nameservers, attempts, timeoutMs: 5000 });
    const began = performance.now();
    expect(await result).toMatchObject({ ok: false, reason: "request timed out" });
    const took = performance.now() - began;
    expect(took).toBeGreaterThan(4400);
    expect(took).toBeLessThan(7000);
    expect(new Set(transport.all.map(({ server }) => server.ip)).size).toBe(servers);
    expect(transport.all.length).toBe(asked);
  }, 8000);

  test("settings that take less time than there is are kept to", async () => {
    const { transport, result } = ask({ ...two, timeoutMs: 60, attempts: 2 });
    const began = performance.now();
    expect(await result).toMatchObject({ ok: false });
    expect(performance.now() - began).toBeWithin(200, 4000);
    expect(transport.all.length).toBe(4);
  });
});

describe("what the observer hears", () => {
  class Observer implements UpstreamObserver {
    readonly heard: string[] = [];
    #count = 0;
    asking({ ip }: SocketAddress, protocol: string): number {
      this.heard.push(`asking ${protocol} ${ip}`);
      return ++this.#count;
    }
    answered({ ip }: SocketAddress, protocol: string): void {
      this.heard.push(`answered ${protocol} ${ip}`);
    }
    unanswered({ ip }: SocketAddress, protocol: string, reason: string, asking: number): void {
      this.heard.push(`unanswered ${protocol} ${ip} ${asking}: ${reason}`);
    }
  }

  test("a refusal is an answer; one that is refused or silent is none", async () => {
    const observer = new Observer();
    const nameservers = ["192.0.2.1", "192.0.2.2", "192.0.2.3"];
    const { transport, result } = ask({ nameservers, attempts: 1, timeoutMs: 300, observer });
    const silent = await transport.next();
    const unreachable = await transport.next();
    unreachable.failed("Connection refused (os error 111)");
    const refusing = await transport.next();
    refusing.received(reply(refusing, { rcode: RCODE.REFUSED, answers: [] }));
    await result;
    expect(silent.closed).toBe(true);
    expect(observer.heard).toEqual([
      "asking udp 192.0.2.1",
      "asking udp 192.0.2.2",
      "unanswered udp 192.0.2.2 2: Connection refused (os error 111)",
      "asking udp 192.0.2.3",
      "answered udp 192.0.2.3",
      "unanswered udp 192.0.2.1 1: request timed out",
    ]);
  });

  test("TCP for itself; who was not waited for to the end is not accused, nor anybody when it is given up", async () => {
    const observer = new Observer();
    const { transport, result } = ask({ nameservers: ["192.0.2.1", "192.0.2.2"], timeoutMs: 300, observer });
    const slow = await transport.next();
    await transport.next();
    slow.received(reply(slow, { truncated: true, answers: [] }));
    const whole = await transport.next();
    whole.received(reply(whole));
    await result;
    expect(observer.heard.slice(2)).toEqual([
      "answered udp 192.0.2.1",
      "asking tcp 192.0.2.1",
      "answered tcp 192.0.2.1",
    ]);

    const other = new Observer();
    const given = ask({ observer: other });
    await given.transport.next();
    given.exchange.cancel();
    expect(other.heard).toEqual(["asking udp 192.0.2.1"]);
  });
});

test("ids are random", async () => {
  const ids = new Set<number>();
  for (let i = 0; i < 64; i++) ids.add((await ask().transport.next()).message.id);
  expect(ids.size).toBeGreaterThan(56);
});

test("nobody to ask", async () => {
  expect(await ask({ nameservers: [] }).result).toEqual({ ok: false, reason: "no name servers", message: undefined });
});

test("given up, nothing more is sent or told", async () => {
  const { transport, result, exchange } = ask();
  const sent = await transport.next();
  exchange.cancel();
  expect(sent.closed).toBe(true);
  sent.received(reply(sent));
  sent.failed("x");
  expect(await Promise.race([result, Promise.resolve("nothing")])).toBe("nothing");
  expect(transport.all.length).toBe(1);
});
