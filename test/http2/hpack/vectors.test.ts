/** The examples of RFC 7541 Appendix C. */
import { describe, expect, test } from "bun:test";
import { HpackDecoder } from "../../../src/http2/hpack/decoder.ts";
import { HpackEncoder } from "../../../src/http2/hpack/encoder.ts";
import { readInteger, writeInteger } from "../../../src/http2/hpack/integer.ts";
import type { HeaderList } from "../../../src/http2/mod.ts";

const hex = (text: string) => Uint8Array.fromHex(text.replaceAll(" ", ""));

describe("C.1 integers", () => {
  const cases: [name: string, value: number, bits: number, bytes: string][] = [
    ["C.1.1 10 with a 5-bit prefix", 10, 5, "0a"],
    ["C.1.2 1337 with a 5-bit prefix", 1337, 5, "1f 9a 0a"],
    ["C.1.3 42 at an octet boundary", 42, 8, "2a"],
  ];
  for (const [name, value, bits, text] of cases) {
    test(name, () => {
      const bytes = hex(text);
      const cursor = { bytes, at: 0, end: bytes.length };
      expect(readInteger(cursor, bits)).toBe(value);
      expect(cursor.at).toBe(bytes.length);
      const to = new Uint8Array(8);
      expect(to.subarray(0, writeInteger(to, 0, value, bits, 0)).toHex()).toBe(bytes.toHex());
    });
  }
});

interface Step {
  readonly name: string;
  readonly block: string;
  readonly list: HeaderList;
  readonly tableSize: number;
}

const DATE_21 = "Mon, 21 Oct 2013 20:13:21 GMT";
const DATE_22 = "Mon, 21 Oct 2013 20:13:22 GMT";
const COOKIE = "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1";
const LOCATION: [string, string] = ["location", "https://www.example.com"];

const FIRST: HeaderList = [
  [":method", "GET"],
  [":scheme", "http"],
  [":path", "/"],
  [":authority", "www.example.com"],
];
const SECOND: HeaderList = [...FIRST, ["cache-control", "no-cache"]];
const THIRD: HeaderList = [
  [":method", "GET"],
  [":scheme", "https"],
  [":path", "/index.html"],
  [":authority", "www.example.com"],
  ["custom-key", "custom-value"],
];
const RESPONSES: HeaderList[] = [
  [[":status", "302"], ["cache-control", "private"], ["date", DATE_21], LOCATION],
  [[":status", "307"], ["cache-control", "private"], ["date", DATE_21], LOCATION],
  [
    [":status", "200"],
    ["cache-control", "private"],
    ["date", DATE_22],
    LOCATION,
    ["content-encoding", "gzip"],
    ["set-cookie", COOKIE],
  ],
];

const SEQUENCES: { readonly name: string; readonly tableSize: number; readonly steps: Step[] }[] = [
  {
    name: "C.2.1 literal with indexing",
    tableSize: 4096,
    steps: [{
      name: "custom-key",
      block: "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572",
      list: [["custom-key", "custom-header"]],
      tableSize: 55,
    }],
  },
  {
    name: "C.2.2 literal without indexing",
    tableSize: 4096,
    steps: [{
      name: ":path",
      block: "040c 2f73 616d 706c 652f 7061 7468",
      list: [[":path", "/sample/path"]],
      tableSize: 0,
    }],
  },
  {
    name: "C.2.3 literal never indexed",
    tableSize: 4096,
    steps: [{
      name: "password",
      block: "1008 7061 7373 776f 7264 0673 6563 7265 74",
      list: [["password", "secret"]],
      tableSize: 0,
    }],
  },
  {
    name: "C.2.4 indexed",
    tableSize: 4096,
    steps: [{ name: ":method", block: "82", list: [[":method", "GET"]], tableSize: 0 }],
  },
  {
    name: "C.3 requests without Huffman code",
    tableSize: 4096,
    steps: [
      { name: "C.3.1", block: "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d", list: FIRST, tableSize: 57 },
      { name: "C.3.2", block: "8286 84be 5808 6e6f 2d63 6163 6865", list: SECOND, tableSize: 110 },
      {
        name: "C.3.3",
        block: "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
        list: THIRD,
        tableSize: 164,
      },
    ],
  },
  {
    name: "C.4 requests with Huffman code",
    tableSize: 4096,
    steps: [
      { name: "C.4.1", block: "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff", list: FIRST, tableSize: 57 },
      { name: "C.4.2", block: "8286 84be 5886 a8eb 1064 9cbf", list: SECOND, tableSize: 110 },
      {
        name: "C.4.3",
        block: "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
        list: THIRD,
        tableSize: 164,
      },
    ],
  },
  {
    name: "C.5 responses without Huffman code, with eviction",
    tableSize: 256,
    steps: [
      {
        name: "C.5.1",
        block: "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 " +
          "3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        list: RESPONSES[0]!,
        tableSize: 222,
      },
      { name: "C.5.2", block: "4803 3330 37c1 c0bf", list: RESPONSES[1]!, tableSize: 222 },
      {
        name: "C.5.3",
        block: "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 " +
          "7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 " +
          "3d33 3630 303b 2076 6572 7369 6f6e 3d31",
        list: RESPONSES[2]!,
        tableSize: 215,
      },
    ],
  },
  {
    name: "C.6 responses with Huffman code, with eviction",
    tableSize: 256,
    steps: [
      {
        name: "C.6.1",
        block: "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad " +
          "1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
        list: RESPONSES[0]!,
        tableSize: 222,
      },
      { name: "C.6.2", block: "4883 640e ffc1 c0bf", list: RESPONSES[1]!, tableSize: 222 },
      {
        name: "C.6.3",
        block: "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 " +
          "e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
        list: RESPONSES[2]!,
        tableSize: 215,
      },
    ],
  },
];

for (const sequence of SEQUENCES) {
  test(`${sequence.name} decodes`, () => {
    const decoder = new HpackDecoder(sequence.tableSize);
    for (const step of sequence.steps) {
      const block = hex(step.block);
      expect({ name: step.name, list: decoder.decode(block, 0, block.length, 65536) }).toEqual({
        name: step.name,
        list: step.list,
      });
      expect(decoder.tableSize).toBe(step.tableSize);
    }
  });
}

test("C.4 is what the encoder writes", () => {
  const encoder = new HpackEncoder(4096);
  for (const step of SEQUENCES.find((sequence) => sequence.name.startsWith("C.4"))!.steps) {
    const block = encoder.encode(step.list);
    expect(block.subarray(0, encoder.length).toHex()).toBe(hex(step.block).toHex());
  }
});
