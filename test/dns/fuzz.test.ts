/** Anything may come in: nothing throws, nothing hangs, and what was understood can be written and read again. */
import { expect, test } from "bun:test";
import {
  decodeMessage,
  decodeQuery,
  encodeMessage,
  type Message,
  type ResourceRecord,
  TYPE,
} from "../../src/dns/mod.ts";
import { address, EDNS, query, record, seeded, soa } from "./records.ts";

const ROUNDS = 20_000;

const u16 = (...numbers: number[]) => Uint8Array.from(numbers.flatMap((n) => [n >> 8, n & 255]));

const seeds: Uint8Array[] = [
  query("server.default.svc.cluster.local."),
  query("a.example.com.", TYPE.A, {
    response: true,
    answers: [record("a.example.com.", TYPE.CNAME, ["b.example.com."]), address("b.example.com.", "1.2.3.4")],
    authorities: [soa("example.com.", 60, 60)],
    additionals: [address("ns.example.com.", "2001:db8::1")],
    edns: EDNS,
  }),
  query("x.", TYPE.ANY, {
    response: true,
    answers: [
      record("x.", TYPE.MX, [u16(10), "mail.x."]),
      record("x.", TYPE.SRV, [u16(1, 2, 80), "srv.x."]),
      record("x.", 35, [
        u16(1, 2),
        Uint8Array.from([1, 117]),
        Uint8Array.from([0]),
        Uint8Array.from([2, 97, 98]),
        "n.x.",
      ]),
      record("x.", 14, ["r.x.", "e.x."]),
      record("x.", 65_280, [new Uint8Array(40)]),
    ],
  }),
].map((message) => encodeMessage(message));

/** Reads, and writes what was read in every size; what is written says the same as what was read. */
function examine(bytes: Uint8Array): boolean {
  decodeQuery(bytes);
  const first = decodeMessage(bytes);
  if (!first.ok) return false;
  const { message } = first;
  // Compression in data whose names must not be compressed can make a message that is longer written out.
  const written = encodeMessage(message);
  expect(written.length).toBeLessThanOrEqual(65_535);
  const second = decodeMessage(written);
  expect(second.ok).toBe(true);
  if (!second.ok) return false;
  if (!second.message.truncated || message.truncated) expect(parts(second.message)).toEqual(parts(message));
  const fits = 12 + 11 + message.questions.reduce((sum, { name }) => sum + name.length + 6, 0);
  for (const limit of [512, 1232]) {
    if (fits > limit) continue;
    const cut = encodeMessage(message, limit);
    expect(cut.length).toBeLessThanOrEqual(limit);
    expect(decodeMessage(cut).ok).toBe(true);
  }
  return true;
}

/** Data as one piece: where it is divided is nobody's business. */
function parts(message: Message): unknown {
  const flat = (records: readonly ResourceRecord[]) =>
    records.map((r) => ({
      ...r,
      data: r.data.map((part) => typeof part === "string" ? part : part.toHex()).join("|"),
    }));
  return {
    ...message,
    // Without OPT the upper bits of a code have no place.
    rcode: message.edns === undefined ? message.rcode & 15 : message.rcode,
    answers: flat(message.answers),
    authorities: flat(message.authorities),
    additionals: flat(message.additionals),
  };
}

test("mutated messages", () => {
  const random = seeded(20_251_121);
  const below = (n: number) => Math.floor(random() * n);
  let understood = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const bytes = (seeds[below(seeds.length)] as Uint8Array).slice();
    for (let changes = 1 + below(4); changes > 0; changes--) {
      const at = below(bytes.length);
      bytes[at] = below(3) === 0 ? 0xc0 | below(64) : below(256);
    }
    if (examine(below(4) === 0 ? bytes.subarray(0, below(bytes.length)) : bytes)) understood++;
  }
  expect(understood).toBeGreaterThan(ROUNDS / 20);
  expect(understood).toBeLessThan(ROUNDS);
});

test("random bytes", () => {
  const random = seeded(42);
  for (let round = 0; round < ROUNDS / 4; round++) {
    const bytes = Uint8Array.from({ length: Math.floor(random() * 300) }, () => Math.floor(random() * 256));
    // Counts that fit are rare by chance.
    if (round % 2 === 0) {
      for (let i = 4; i < 12 && i < bytes.length; i++) {
        bytes[i] = i % 2 === 0 ? 0 : Math.floor(random() * 3);
      }
    }
    examine(bytes);
  }
});

test("the worst that 64 KB can ask for takes milliseconds and little memory", () => {
  // One long name, and thousands of records whose owners and data point to it, or to pointers to it.
  const name = encodeMessage(query(`${"\\001".repeat(61)}.`.repeat(4)));
  const bytes = new Uint8Array(65_535);
  bytes.set(name);
  let at = name.length;
  let count = 0;
  let pointer = 12;
  while (at + 14 <= bytes.length) {
    bytes.set([
      0xc0 | (pointer >> 8),
      pointer & 255,
      0,
      5,
      0,
      1,
      0,
      0,
      0,
      60,
      0,
      2,
      0xc0 | (pointer >> 8),
      pointer & 255,
    ], at);
    if (count < 100 && at < 0x3fff) pointer = at;
    at += 14;
    count++;
  }
  bytes[6] = count >> 8;
  bytes[7] = count & 255;
  const start = performance.now();
  const result = decodeMessage(bytes.subarray(0, at));
  expect(result.ok).toBe(true);
  if (result.ok) expect(encodeMessage(result.message).length).toBeLessThanOrEqual(65_535);
  expect(performance.now() - start).toBeLessThan(150);
});
