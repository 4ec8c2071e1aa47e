import { describe, expect, test } from "bun:test";
import {
  decodeMessage,
  decodeQuery,
  encodeMessage,
  isDomainName,
  type Message,
  type ResourceRecord,
  TYPE,
} from "../../src/dns/mod.ts";
import { address, bytesOf, EDNS, hex, message, query, record, soa } from "./records.ts";

const HEADER = "1234 0100 0001 0000 0000 0000";

function decoded(bytes: Uint8Array): Message {
  const result = decodeMessage(bytes);
  if (!result.ok) throw new Error(result.error);
  return result.message;
}

describe("golden bytes", () => {
  const cases: readonly [name: string, message: Message, bytes: string][] = [
    [
      "a query",
      query("server."),
      `${HEADER} 06736572766572 00 0001 0001`,
    ],
    [
      "the mesh's answer to server. (spec/ztunnel.md §14.2)",
      query("server.", TYPE.A, {
        response: true,
        authoritative: true,
        recursionAvailable: true,
        answers: [address("server.", "10.96.0.10", 30)],
      }),
      "1234 8580 0001 0001 0000 0000 06736572766572 00 0001 0001  c00c 0001 0001 0000001e 0004 0a60000a",
    ],
    [
      "no answer of this family",
      query("server.default.", TYPE.AAAA, { response: true, authoritative: true, recursionAvailable: true }),
      "1234 8580 0001 0000 0000 0000 06736572766572 0764656661756c74 00 001c 0001",
    ],
    [
      "CNAME to the stripped name, then its address",
      query("server.default.svc.cluster.local.default.svc.cluster.local.", TYPE.A, {
        response: true,
        authoritative: true,
        recursionAvailable: true,
        answers: [
          record("server.default.svc.cluster.local.default.svc.cluster.local.", TYPE.CNAME, ["server."], 30),
          address("server.", "10.96.0.10", 30),
        ],
      }),
      `1234 8580 0001 0002 0000 0000
       06736572766572 0764656661756c74 03737663 07636c7573746572 056c6f63616c
       0764656661756c74 03737663 07636c7573746572 056c6f63616c 00 0001 0001
       c00c 0005 0001 0000001e 0008 06736572766572 00
       c058 0001 0001 0000001e 0004 0a60000a`,
    ],
    [
      "OPT, with the upper bits of its code",
      query("a.", TYPE.A, { response: true, rcode: 16, edns: { payloadSize: 4096, version: 0, dnssecOk: true } }),
      "1234 8100 0001 0000 0000 0001 0161 00 0001 0001  00 0029 1000 01 00 8000 0000",
    ],
    [
      "suffixes of names are shared",
      query("a.example.com.", TYPE.MX, {
        response: true,
        answers: [record("a.example.com.", TYPE.MX, [new Uint8Array([0, 10]), "mail.example.com."])],
      }),
      `1234 8100 0001 0001 0000 0000 0161 076578616d706c65 03636f6d 00 000f 0001
       c00c 000f 0001 0000003c 0009 000a 046d61696c c00e`,
    ],
    [
      "not in the data of types that came after RFC 1035",
      query("a.b.", TYPE.SRV, {
        response: true,
        answers: [record("a.b.", TYPE.SRV, [new Uint8Array([0, 1, 0, 2, 0, 80]), "a.b."])],
      }),
      `1234 8100 0001 0001 0000 0000 0161 0162 00 0021 0001
       c00c 0021 0001 0000003c 000b 0001 0002 0050 0161 0162 00`,
    ],
    ["the root", query(".", TYPE.NS), `${HEADER} 00 0002 0001`],
    [
      "escapes",
      query("a\\.b\\\\\\000\\255.", TYPE.A),
      `${HEADER} 06 61 2e 62 5c 00 ff 00 0001 0001`,
    ],
  ];
  test.each(cases)("%s", (_, value, bytes) => {
    expect(hex(encodeMessage(value))).toBe(hex(bytesOf(bytes)));
    expect(decoded(bytesOf(bytes))).toEqual(value);
  });
});

test("names in records are expanded, so that they can be written elsewhere", () => {
  const original = bytesOf(`1234 8180 0001 0001 0001 0001 0161 07 6578616d706c65 00 000c 0001
    c00c 000c 0001 0000003c 0002 c00e
    c00e 0006 0001 0000003c 0018 c00c c00e 00000001 00000002 00000003 00000004 00000005
    c00c 0021 0001 0000003c 0008 000100020050 c00c`);
  const { answers, authorities, additionals } = decoded(original);
  expect(answers[0]?.data).toEqual(["example."]);
  expect(authorities[0]?.data.slice(0, 2)).toEqual(["a.example.", "example."]);
  expect(additionals[0]?.data).toEqual([new Uint8Array([0, 1, 0, 2, 0, 80]), "a.example."]);
  // Somewhere else in another message all is still the same.
  const copy = query("something.quite.different.", TYPE.PTR, { response: true, answers, authorities, additionals });
  expect(decoded(encodeMessage(copy))).toEqual(copy);
});

test("types without names in them are copied as they are", () => {
  const data = [bytesOf("00010002c00c")];
  const copy = query("x.", 65_280, { response: true, answers: [record("x.", 65_280, data), record("x.", 46, data)] });
  expect(decoded(encodeMessage(copy))).toEqual(copy);
  expect(hex(encodeMessage(copy))).toEndWith("00010002c00c");
});

describe("what is cut", () => {
  const many = (count: number): ResourceRecord[] =>
    Array.from({ length: count }, (_, i) => address("large.", `240.0.${i >> 8}.${i & 255}`, 30));
  const answer = (given: Partial<Message>) => query("large.", TYPE.A, { response: true, ...given });

  test("as many answers as fit, and TC", () => {
    const bytes = encodeMessage(answer({ answers: many(256) }), 512);
    expect(bytes.length).toBeLessThanOrEqual(512);
    const { truncated, answers } = decoded(bytes);
    expect([truncated, answers.length]).toEqual([true, Math.floor((512 - 12 - 11) / 16)]);
  });

  test("74 of 256 A records fit in the size that the original's test asks for, beside OPT", () => {
    const { truncated, answers, edns } = decoded(encodeMessage(answer({ answers: many(256), edns: EDNS }), 1232));
    expect([truncated, answers.length, edns]).toEqual([true, 74, EDNS]);
  });

  test("nothing where all fits exactly", () => {
    const whole = answer({ answers: many(30) });
    const exact = encodeMessage(whole).length;
    expect(decoded(encodeMessage(whole, exact)).truncated).toBe(false);
    expect(decoded(encodeMessage(whole, exact - 1))).toMatchObject({ truncated: true });
    expect(decoded(encodeMessage(whole, exact - 1)).answers.length).toBe(29);
  });

  test("additional records silently", () => {
    const { truncated, answers, additionals } = decoded(
      encodeMessage(answer({ answers: many(20), additionals: many(30) }), 512),
    );
    expect([truncated, answers.length, additionals.length]).toEqual([false, 20, 10]);
  });

  test("authorities with TC, and nothing after them", () => {
    const value = answer({ answers: many(28), authorities: [soa("large.", 60, 60)], additionals: many(1) });
    expect(decoded(encodeMessage(value, 512))).toMatchObject({ truncated: true, authorities: [], additionals: [] });
  });

  test("a record larger than any message, leaving no name behind that others point to", () => {
    const huge = record("other.example.", 65_280, [new Uint8Array(65_000), new Uint8Array(2000)]);
    const { truncated, answers } = decoded(
      encodeMessage(answer({ answers: [huge, address("other.example.", "1.1.1.1")] })),
    );
    expect([truncated, answers]).toEqual([true, []]);
    const value = answer({ answers: many(2), additionals: [huge] });
    expect(decoded(encodeMessage(value))).toMatchObject({ truncated: false, additionals: [] });
  });

  test("messages of 64 KiB: pointers only where they reach", () => {
    const answers = Array.from(
      { length: 1500 },
      (_, i) => record(`n${i}.example.`, TYPE.CNAME, [`m${i}.n${i}.example.`]),
    );
    const value = answer({ answers });
    const bytes = encodeMessage(value);
    expect(bytes.length).toBeGreaterThan(0x4000);
    expect(decoded(bytes)).toEqual(value);
  });
});

describe("malformed messages", () => {
  const cases: readonly [name: string, bytes: string, error: string][] = [
    ["nothing", "", "shorter than a header"],
    ["half a header", "1234 0100 0001", "shorter than a header"],
    ["counts beyond the message", "1234 0100 ffff ffff ffff ffff 00 0001 0001", "more entries than"],
    ["a pointer to itself", `${HEADER} c00c 0001 0001`, "does not point back"],
    ["a pointer forward", `${HEADER} c010 0001 0001 00`, "does not point back"],
    ["a pointer into the header", `${HEADER} c004 0001 0001`, "does not point back"],
    ["two pointers in a circle", `${HEADER} 0161 c00e c00c 0001 0001`, "does not point back"],
    [
      "half a pointer",
      `${HEADER} 04 61626364 c0`,
      "ends within a name",
    ],
    ["a label beyond the end", `${HEADER} 3f 61626364`, "ends within a name"],
    ["an unknown kind of label", `${HEADER} 4161 00 0001 0001`, "unknown kind"],
    [
      "a long name",
      `${HEADER} ${`3f${"61".repeat(63)}`.repeat(4)} 00 0001 0001`,
      "more than 255",
    ],
    ["a question cut short", `${HEADER} 0161 00 0001 00`, "ends too early"],
    ["data beyond the end", "1234 8100 0000 0001 0000 0000 00 0001 0001 00000000 0004 0a00", "ends within a record"],
    [
      "a name longer than its record",
      "1234 8100 0000 0001 0000 0000 00 0005 0001 00000000 0001 0161 00",
      "longer than the record",
    ],
    ["OPT among the answers", "1234 8100 0000 0001 0000 0000 00 0029 1000 00000000 0000", "OPT where"],
    [
      "two OPT",
      "1234 8100 0000 0000 0000 0002 00 0029 1000 00000000 0000 00 0029 1000 00000000 0000",
      "more than one OPT",
    ],
  ];
  test.each(cases)("%s", (_, bytes, error) => {
    expect(decodeMessage(bytesOf(bytes))).toMatchObject({ ok: false, error: expect.stringContaining(error) });
  });

  test("what is known of them is told", () => {
    expect(decodeMessage(bytesOf(`${HEADER} c00c 0001 0001`))).toMatchObject({
      header: { id: 0x1234, recursionDesired: true },
    });
    expect(decodeMessage(bytesOf("1234"))).toMatchObject({ header: undefined });
  });

  test("a long chain of pointers is no name", () => {
    const links = Array.from({ length: 200 }, (_, i) => (0xc000 | (i === 0 ? 12 : 13 + 2 * (i - 1))).toString(16));
    const bytes = bytesOf(`1234 8100 0000 0014 0000 0000 00 ${links.join(" ")} ${"00".repeat(400)}`);
    expect(decodeMessage(bytes).ok).toBe(false);
  });
});

describe("queries", () => {
  test("question and OPT, whatever else is there", () => {
    const sent = query("a.b.", TYPE.TXT, {
      checkingDisabled: true,
      additionals: [record("k.", 250, [new Uint8Array(30)]), address("g.", "1.2.3.4")],
      edns: { payloadSize: 1400, version: 0, dnssecOk: true },
    });
    expect(decodeQuery(encodeMessage(sent))).toMatchObject({
      ok: true,
      query: {
        id: 0x1234,
        checkingDisabled: true,
        question: { name: "a.b.", type: TYPE.TXT, class: 1 },
        edns: { payloadSize: 1400, version: 0, dnssecOk: true },
      },
    });
  });

  test.each([0, 2])("%d questions are not one", (count) => {
    const questions = Array.from({ length: count }, () => ({ name: "a.", type: 1, class: 1 }));
    expect(decodeQuery(encodeMessage(message({ questions })))).toMatchObject({
      ok: false,
      error: expect.stringContaining("questions instead of one"),
      header: { id: 0x1234 },
    });
  });

  test("64 KB of records beside the question are passed over quickly", () => {
    const name = `${"a".repeat(60)}.`.repeat(4);
    const additionals = Array.from({ length: 4000 }, () => address(name, "1.1.1.1"));
    const bytes = encodeMessage(query(name, TYPE.A, { additionals }));
    expect(bytes.length).toBeGreaterThan(60_000);
    const start = performance.now();
    for (let i = 0; i < 10; i++) expect(decodeQuery(bytes).ok).toBe(true);
    expect((performance.now() - start) / 10).toBeLessThan(20);
  });
});

test.each([
  ["a.", true],
  [".", true],
  ["a.b.c.", true],
  ["a\\.b.", true],
  ["\\065.", true],
  ["a", false],
  ["", false],
  ["..", false],
  [".a.", false],
  ["a..b.", false],
  [`${"a".repeat(63)}.`, true],
  [`${"a".repeat(64)}.`, false],
  [`${"a".repeat(63)}.`.repeat(4), false],
  [`${"a".repeat(62)}.`.repeat(4), true],
  ["ä.", false],
  ["Ж.", false],
  ["\\999.", false],
  ["a\\", false],
  ["a\\1.", false],
])("%j is a domain name: %p", (text, expected) => {
  expect(isDomainName(text)).toBe(expected);
});
