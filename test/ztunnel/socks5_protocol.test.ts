/** SOCKS5 as bytes (RFC 1928 §3 to §6, spec/ztunnel.md §5.3). */
import { describe, expect, test } from "bun:test";
import { encodeReply, type Socks5Event, Socks5Handshake } from "../../src/ztunnel/socks5_protocol.ts";
import { seeded } from "../dns/records.ts";

const GREETING = "05 01 00";
const text = (value: string) =>
  `${value.length.toString(16).padStart(2, "0")} ${new TextEncoder().encode(value).toHex()}`;
const named = (value: string, port = "00 50") => `05 01 00 03 ${text(value)} ${port}`;
const VIOLATION = "05070001000000000000";

const bytes = (hex: string) => Uint8Array.fromHex(hex.replaceAll(/\s/g, ""));

/** Feeds pieces as the listener does; everything that is said but `more`, bytes as hex. */
function talk(pieces: Iterable<Uint8Array>): { events: unknown[]; handshake: Socks5Handshake } {
  const handshake = new Socks5Handshake();
  const events: unknown[] = [];
  const act = (event: Socks5Event): void => {
    if (event.kind === "more") return;
    events.push("bytes" in event ? { ...event, bytes: event.bytes.toHex() } : event);
    if (event.kind === "reply") act(handshake.resume());
  };
  for (const piece of pieces) act(handshake.receive(piece));
  return { events, handshake };
}

const METHOD = { kind: "reply", bytes: "0500" };
const connect = (ip: string, port: number) => ({ kind: "connect", destination: { ip, port } });
const resolve = (host: string, port: number) => ({ kind: "resolve", host, port });
const refuse = (reason: string, target?: unknown, reply = VIOLATION) => ({
  kind: "refuse",
  bytes: reply,
  reason,
  target,
});

const cases: readonly [string, string, readonly unknown[]][] = [
  ["IPv4", `${GREETING} 05 01 00 01 0a 00 00 c8 1f 90`, [METHOD, connect("10.0.0.200", 8080)]],
  ["IPv6", `${GREETING} 05 01 00 04 fd00${"00".repeat(13)}03 00 50`, [METHOD, connect("fd00::3", 80)]],
  ["IPv4 in IPv6", `${GREETING} 05 01 00 04 ${"00".repeat(10)}ffff0a000001 00 50`, [METHOD, connect("10.0.0.1", 80)]],
  ["a name", `${GREETING} ${named("web.shop")}`, [METHOD, resolve("web.shop", 80)]],
  ["a name, as it was written", `${GREETING} ${named("Web.Shop.", "ffff")}`, [METHOD, resolve("Web.Shop.", 65535)]],
  ["any bytes for a name", `${GREETING} 05 01 00 03 03 e9 0a 22 00 50`, [METHOD, resolve('\xe9\n"', 80)]],
  ["the longest name", `${GREETING} ${named("x".repeat(255))}`, [METHOD, resolve("x".repeat(255), 80)]],
  ["IPv4 as a name", `${GREETING} ${named("10.0.0.200")}`, [METHOD, connect("10.0.0.200", 80)]],
  ["IPv6 as a name", `${GREETING} ${named("fd00:0::3")}`, [METHOD, connect("fd00::3", 80)]],
  ["what only looks like IPv4", `${GREETING} ${named("10.0.0.256")}`, [METHOD, resolve("10.0.0.256", 80)]],
  ["a shorthand of IPv4", `${GREETING} ${named("127.1")}`, [METHOD, resolve("127.1", 80)]],
  ["one of many methods", `05 03 02 01 00 ${named("web")}`, [METHOD, resolve("web", 80)]],
  ["no name", `${GREETING} ${named("")}`, [METHOD, refuse("a name without a letter", { host: "", port: 80 })]],
  ["no method", "05 00", [refuse("no acceptable authentication method", undefined, "05ff")]],
  ["other methods", "05 02 01 02", [refuse("no acceptable authentication method", undefined, "05ff")]],
  ["SOCKS4", "04 01 00 50 0a000001 00", [refuse("version 4")]],
  ["HTTP", "47 45 54 20", [refuse("version 71")]],
  ["another version in the request", `${GREETING} 04 01`, [METHOD, refuse("version 4")]],
  ["BIND", `${GREETING} 05 02 00 01 0a000001 0050`, [METHOD, refuse("command 2", { host: "10.0.0.1", port: 80 })]],
  [
    "UDP ASSOCIATE",
    `${GREETING} 05 03 00 03 ${text("web")} 0035`,
    [METHOD, refuse("command 3", { host: "web", port: 53 })],
  ],
  ["an address of another type", `${GREETING} 05 01 00 02 00`, [METHOD, refuse("address type 2")]],
];

describe.each(cases)("%s", (_, hex, expected) => {
  const whole = bytes(hex);

  test("at once", () => {
    expect(talk([whole]).events).toEqual([...expected]);
  });

  test("byte by byte", () => {
    expect(talk([...whole].map((byte) => Uint8Array.of(byte))).events).toEqual([...expected]);
  });

  test("nothing is said before the last byte that matters", () => {
    const length = expected.length;
    for (let cut = 0; cut < whole.length; cut++) {
      const { events } = talk([whole.subarray(0, cut)]);
      expect(events).toEqual(expected.slice(0, events.length));
    }
    expect(talk([whole.subarray(0, 0)]).events.length).toBeLessThan(length);
  });
});

test("what follows the request is kept, in any division", () => {
  const whole = bytes(`${GREETING} ${named("web")} 68656c6c6f`);
  for (let cut = 0; cut <= whole.length; cut++) {
    const { events, handshake } = talk([whole.subarray(0, cut), whole.subarray(cut)]);
    expect(events).toEqual([METHOD, resolve("web", 80)]);
    expect(new TextDecoder().decode(handshake.rest)).toBe("hello");
  }
});

test("but not more than 64 KiB of it", () => {
  const request = bytes(`${GREETING} ${named("web")}`);
  const { handshake, events } = talk([request, new Uint8Array(65_536)]);
  expect([events.length, handshake.rest.length, handshake.refused]).toEqual([2, 65_536, false]);
  expect(handshake.receive(new Uint8Array(1))).toMatchObject({
    kind: "refuse",
    reason: expect.stringContaining("too much"),
  });
  expect([handshake.rest.length, handshake.refused]).toEqual([0, true]);
});

test("who was refused is not heard any more, nor kept", () => {
  const { events, handshake } = talk([
    bytes("05 01 02"),
    bytes(GREETING),
    bytes(named("web")),
    new Uint8Array(100_000),
  ]);
  expect(events).toEqual([refuse("no acceptable authentication method", undefined, "05ff")]);
  expect(handshake.rest.length).toBe(0);
});

test("replies have an address of zeros", () => {
  expect(encodeReply(4).toHex()).toBe("05040001000000000000");
});

test("anything may come, in any pieces: nothing throws, and how it was divided does not matter", () => {
  const random = seeded(1928);
  const below = (n: number) => Math.floor(random() * n);
  const seeds = cases.map(([, hex]) => bytes(hex));
  const outcomes = new Set<string>();
  for (let round = 0; round < 20_000; round++) {
    const whole = (seeds[below(seeds.length)] as Uint8Array).slice(0, 60);
    for (let changes = below(4); changes > 0; changes--) {
      whole[below(whole.length)] = below(4) === 0 ? below(256) : below(6);
    }
    const pieces: Uint8Array[] = [];
    for (let at = 0; at < whole.length;) pieces.push(whole.subarray(at, at += 1 + below(12)));
    const once = talk([whole]);
    const divided = talk(pieces);
    expect(divided.events).toEqual(once.events);
    expect(divided.handshake.rest).toEqual(once.handshake.rest);
    outcomes.add((once.events.at(-1) as { kind: string } | undefined)?.kind ?? "nothing");
  }
  expect([...outcomes].toSorted()).toEqual(["connect", "nothing", "refuse", "reply", "resolve"]);
});
