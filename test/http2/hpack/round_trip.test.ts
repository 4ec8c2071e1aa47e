import { describe, expect, test } from "bun:test";
import { Buffer } from "node:buffer";
import { HpackDecoder } from "../../../src/http2/hpack/decoder.ts";
import { HpackEncoder } from "../../../src/http2/hpack/encoder.ts";
import { decodeHuffman, encodeHuffman, huffmanLength } from "../../../src/http2/hpack/huffman.ts";
import type { HeaderList } from "../../../src/http2/mod.ts";
import { Random } from "../random.ts";

const NAMES = [":method", ":path", ":authority", "baggage", "cookie", "authorization", "x-a", "x-b", "x-c", "date"];
const VALUES = ["", "GET", "/", "10.0.0.1:80", "a".repeat(200), "b".repeat(5000), "\xe9\xff\0", "foo=bar"];

function randomList(random: Random): HeaderList {
  return Array.from({ length: random.below(12) }, (): [string, string] => [
    random.chance(80) ? random.pick(NAMES) : `x-${random.below(1000)}`,
    random.chance(70)
      ? random.pick(VALUES)
      : random.bytes(random.below(60)).reduce((s, b) => s + String.fromCharCode(b), ""),
  ]);
}

describe("round trips", () => {
  for (let seed = 1; seed <= 20; seed++) {
    test(`random lists and table sizes, seed ${seed}`, () => {
      const random = new Random(seed);
      const encoder = new HpackEncoder(4096);
      const decoder = new HpackDecoder(4096);
      for (let i = 0; i < 200; i++) {
        if (random.chance(10)) {
          // The peer may change its mind several times before the next block.
          for (let changes = 1 + random.below(3); changes > 0; changes--) {
            const size = random.pick([0, 40, 128, 600, 4096, 65536]);
            encoder.setPeerLimit(size);
            decoder.setLimit(Math.min(size, 4096));
          }
        }
        const list = randomList(random);
        const block = encoder.encode(list).slice(0, encoder.length);
        const decoded = decoder.decode(block, 0, block.length, 1 << 24);
        expect(decoder.error).toBe("");
        expect(decoded).toEqual(list);
        expect(decoder.tableSize).toBeLessThanOrEqual(4096);
      }
    });
  }

  test("text beyond latin1 goes as UTF-8, and the tables stay in step", () => {
    const encoder = new HpackEncoder(256);
    const decoder = new HpackDecoder(256);
    for (let i = 0; i < 50; i++) {
      const value = `€${i % 7}-\u{1f600}`;
      const block = encoder.encode([["x-name", value]]).slice(0, encoder.length);
      const decoded = decoder.decode(block, 0, block.length, 4096)!;
      expect(Buffer.from(decoded[0]![1], "latin1").toString("utf8")).toBe(value);
    }
  });

  test("a repeated list costs one octet for each field", () => {
    const encoder = new HpackEncoder(4096);
    const list: HeaderList = [[":method", "CONNECT"], [":authority", "10.0.0.1:80"], [
      "baggage",
      "k8s.cluster.name=c1",
    ]];
    encoder.encode(list);
    encoder.encode(list);
    expect(encoder.length).toBe(3);
  });

  test("sensitive fields are never indexed", () => {
    const encoder = new HpackEncoder(4096);
    for (const name of ["authorization", "cookie", "set-cookie", "proxy-authorization"]) {
      for (let i = 0; i < 2; i++) {
        const block = encoder.encode([[name, "secret"]]);
        expect(block[0]! & 0xf0).toBe(0x10); // RFC 7541 §6.2.3
      }
    }
  });
});

describe("Huffman code", () => {
  test("every octet and random strings survive", () => {
    const random = new Random(7);
    const inputs: Uint8Array[] = Array.from({ length: 256 }, (_, octet) => Uint8Array.of(octet));
    for (let i = 0; i < 300; i++) inputs.push(random.bytes(random.below(300)));
    for (const input of inputs) {
      const coded = new Uint8Array(input.length * 4 + 1);
      const length = encodeHuffman(input, 0, input.length, coded, 0);
      expect(length).toBe(huffmanLength(input, 0, input.length));
      const decoded = new Uint8Array(Math.ceil(length * 1.6));
      const size = decodeHuffman(coded, 0, length, decoded);
      expect(decoded.subarray(0, size).toHex()).toBe(input.toHex());
    }
  });

  const bad: [name: string, bytes: string][] = [
    ["padding of eight bits", "1fff"],
    ["padding with zeros", "18"],
    ["EOS", "3fffffff"],
    ["EOS in the middle", "1ffffffff8"],
  ];
  for (const [name, text] of bad) {
    test(`${name} is refused`, () => {
      const bytes = Uint8Array.fromHex(text);
      expect(decodeHuffman(bytes, 0, bytes.length, new Uint8Array(64))).toBe(-1);
    });
  }
});

describe("decoding errors", () => {
  const cases: [name: string, block: string, error: string][] = [
    ["index 0", "80", "index 0"],
    ["index beyond the table", "be", "beyond the table"],
    ["name index beyond the table", "7e0161", "beyond the table"],
    ["integer without end", "ffffffffffffffff7f", "too large"],
    ["integer cut off", "ff80", "cut off"],
    ["string beyond the block", "40056161", "beyond the block"],
    ["string length missing", "4001", "beyond the block"],
    ["value missing", "400161", "cut off"],
    ["size update after a field", "8220", "after a field"],
    ["size update above the limit", "3fe21f", "above the limit"],
    ["Huffman string with EOS", "4084ffffffff0161", "Huffman"],
  ];
  for (const [name, block, error] of cases) {
    test(name, () => {
      const decoder = new HpackDecoder(4096);
      const bytes = Uint8Array.fromHex(block);
      expect(decoder.decode(bytes, 0, bytes.length, 4096)).toBeUndefined();
      expect(decoder.error).toContain(error);
    });
  }

  test("a reduced limit demands an update at the next block", () => {
    const decoder = new HpackDecoder(4096);
    decoder.setLimit(100);
    expect(decoder.decode(Uint8Array.of(0x82), 0, 1, 4096)).toBeUndefined();
    const updated = new HpackDecoder(4096);
    updated.setLimit(100);
    expect(updated.decode(Uint8Array.fromHex("3f4582"), 0, 3, 4096)).toEqual([[":method", "GET"]]);
  });

  test("random blocks never throw", () => {
    const random = new Random(11);
    for (let i = 0; i < 20_000; i++) {
      const decoder = new HpackDecoder(256);
      const block = random.bytes(random.below(40));
      const list = decoder.decode(block, 0, block.length, 1000);
      expect(list === undefined).toBe(decoder.error !== "");
    }
  });
});

describe("bombs", () => {
  test("one large entry referred to many times is counted but not kept", () => {
    const decoder = new HpackDecoder(4096);
    const value = "v".repeat(3000);
    const encoder = new HpackEncoder(8192);
    const first = encoder.encode([["bomb", value]]).slice(0, encoder.length);
    const block = new Uint8Array(first.length + 60_000).fill(0xbe);
    block.set(first);
    const list = decoder.decode(block, 0, block.length, 16_384)!;
    expect(decoder.tooLarge).toBe(true);
    expect(list.length).toBe(5); // (3000 + 4 + 32) × 5 < 16 384
  });

  test("a list above the limit leaves the table in step", () => {
    const decoder = new HpackDecoder(4096);
    const encoder = new HpackEncoder(4096);
    const decode = (list: HeaderList, limit: number) => {
      const block = encoder.encode(list).slice(0, encoder.length);
      return decoder.decode(block, 0, block.length, limit);
    };
    const large: HeaderList = Array.from({ length: 20 }, (_, i) => [`x-${i}`, "v".repeat(50)]);
    expect(decode(large, 500)!.length).toBeLessThan(20);
    expect(decoder.tooLarge).toBe(true);
    expect(decode(large, 5000)).toEqual(large);
    expect(decoder.tooLarge).toBe(false);
  });
});
