import { Buffer } from "node:buffer";
import { describe, expect, test } from "bun:test";
import type { SocketAddress } from "../../src/net/address.ts";
import { proxyProtocolHeader, TLV_AUTHORITY, tunnelProxyHeader } from "../../src/net/proxy_protocol.ts";
import { ProxyHeaderDecoder, type ProxyHeaderResult } from "./proxy_protocol_decoder.ts";
import { Random } from "../http2/random.ts";

const V4 = { ip: "10.0.0.1", port: 56324 };
const V4_TO = { ip: "192.168.255.2", port: 443 };
const V6 = { ip: "fd00::1", port: 1 };
const V6_TO = { ip: "2001:db8::2", port: 65535 };
const SIGNATURE = "0d0a0d0a000d0a515549540a";

describe("PROXY protocol", () => {
  const texts: [source: typeof V4, destination: typeof V4, text: string][] = [
    [V4, V4_TO, "PROXY TCP4 10.0.0.1 192.168.255.2 56324 443\r\n"],
    [V6, V6_TO, "PROXY TCP6 fd00::1 2001:db8::2 1 65535\r\n"],
    [V4, V6_TO, "PROXY TCP6 ::ffff:10.0.0.1 2001:db8::2 56324 65535\r\n"],
  ];
  for (const [source, destination, text] of texts) {
    test(`version 1: ${text.trim()}`, () => {
      expect(Buffer.from(proxyProtocolHeader("V1", source, destination)).toString("latin1")).toBe(text);
    });
  }

  const binaries: [source: typeof V4, destination: typeof V4, hex: string][] = [
    [V4, V4_TO, "2111000c" + "0a000001" + "c0a8ff02" + "dc04" + "01bb"],
    [
      V6,
      V6_TO,
      "21210024" + "fd000000000000000000000000000001" + "20010db8000000000000000000000002" + "0001" + "ffff",
    ],
    [
      V6,
      V4_TO,
      "21210024" + "fd000000000000000000000000000001" + "00000000000000000000ffffc0a8ff02" + "0001" + "01bb",
    ],
  ];
  for (const [source, destination, hex] of binaries) {
    test(`version 2: ${source.ip} → ${destination.ip}`, () => {
      const header = proxyProtocolHeader("V2", source, destination);
      expect(Buffer.from(header).toString("hex")).toBe(SIGNATURE + hex);
    });
  }
});

const IDENTITY = "spiffe://cluster.local/ns/default/sa/raw";
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

describe("the header of a tunnel (spec/ztunnel.md §6.6)", () => {
  const authority = `d00028${Buffer.from(IDENTITY).toString("hex")}`;
  const headers: [what: string, SocketAddress, SocketAddress, identity: string | undefined, hex: string][] = [
    [
      "the trace of §14.2",
      { ip: "10.0.3.2", port: 46580 },
      { ip: "10.96.0.10", port: 80 },
      IDENTITY,
      "21110037" + "0a000302" + "0a60000a" + "b5f4" + "0050" + authority,
    ],
    ["IPv4", V4, V4_TO, undefined, "2111000c" + "0a000001" + "c0a8ff02" + "dc04" + "01bb"],
    [
      "IPv6",
      V6,
      V6_TO,
      undefined,
      "21210024" + "fd000000000000000000000000000001" + "20010db8000000000000000000000002" + "0001" + "ffff",
    ],
    [
      "IPv6 and an identity",
      V6,
      V6_TO,
      IDENTITY,
      "2121004f" + "fd000000000000000000000000000001" + "20010db8000000000000000000000002" + "0001" + "ffff" +
      authority,
    ],
    ["IPv4 to IPv6", V4, V6_TO, undefined, "21010000"],
    ["IPv6 to IPv4", V6, V4_TO, undefined, "21010000"],
    ["IPv6 to IPv4 and an identity", V6, V4_TO, IDENTITY, "2101002b" + authority],
    ["an identity of more than 255 bytes", V6, V4_TO, "é".repeat(200), "21010193" + "d00190" + "c3a9".repeat(200)],
  ];
  for (const [what, source, destination, identity, bytes] of headers) {
    test(what, () => {
      expect(hex(tunnelProxyHeader(source, destination, identity))).toBe(SIGNATURE + bytes);
    });
  }

  test("an identity that does not fit is an error of the caller", () => {
    expect(() => tunnelProxyHeader(V4, V4_TO, "a".repeat(65_535))).toThrow(RangeError);
    expect(tunnelProxyHeader(V4, V4_TO, "a".repeat(65_520)).length).toBe(16 + 65_535);
  });
});

/** Reads bytes in pieces of so many. */
function decode(bytes: Uint8Array, piece = bytes.length, limit?: number): ProxyHeaderResult | string {
  const decoder = new ProxyHeaderDecoder(limit);
  for (let at = 0; at < bytes.length; at += piece) {
    const result = decoder.push(bytes.subarray(at, at + piece));
    if (result === undefined) continue;
    if (!result.ok) return result;
    return { ...result, rest: Buffer.concat([result.rest, bytes.subarray(at + piece)]) };
  }
  return decoder.end();
}

const bytesOf = (text: string) => Buffer.from(SIGNATURE + text, "hex");

describe("the decoder", () => {
  const addresses = [V4, V4_TO, V6, V6_TO, { ip: "0.0.0.0", port: 0 }, { ip: "::", port: 1 }];

  test("reads what the encoders write, in pieces of any size, and leaves what follows", () => {
    const random = new Random(3);
    for (let i = 0; i < 2_000; i++) {
      const [source, destination] = [random.pick(addresses), random.pick(addresses)];
      const identity = random.chance(50) ? IDENTITY.repeat(1 + random.below(3)) : undefined;
      const after = random.bytes(random.below(30));
      const bytes = Buffer.concat([tunnelProxyHeader(source, destination, identity), after]);
      const result = decode(bytes, 1 + random.below(bytes.length));
      if (typeof result === "string" || !result.ok) throw new Error(JSON.stringify(result));
      const { header, rest } = result;
      expect(hex(rest)).toBe(hex(after));
      const mixed = source.ip.includes(":") !== destination.ip.includes(":");
      expect(header).toMatchObject({ command: "PROXY", transport: "stream" });
      expect([header.source, header.destination]).toEqual(mixed ? [undefined, undefined] : [source, destination]);
      const values = header.values.map(({ type, value }) => [type, Buffer.from(value).toString()]);
      expect(values).toEqual(identity === undefined ? [] : [[TLV_AUTHORITY, identity]]);
    }
  });

  test("reads the other encoder's addresses, where IPv4 may be written as IPv6", () => {
    const result = decode(proxyProtocolHeader("V2", V6, V4_TO));
    expect(result).toMatchObject({ ok: true, header: { family: "IPv6", source: V6, destination: V4_TO } });
  });

  const good: [what: string, hex: string, header: object][] = [
    ["LOCAL, whatever it carries", "20110003aabbcc", { command: "LOCAL", source: undefined, values: [] }],
    ["LOCAL without anything", "20000000", { command: "LOCAL" }],
    ["datagrams", "2112000c0a0000010a00000200010002", { transport: "datagram", source: { ip: "10.0.0.1", port: 1 } }],
    ["unix sockets", `213100d8${"00".repeat(216)}`, { family: "unix", source: undefined }],
    ["an empty value", "21000003" + "040000", { values: [{ type: 4, value: new Uint8Array(0) }] }],
    ["a good checksum", "21000007" + "030004" + "3ec9894e", { values: [{ type: 3 }] }],
  ];
  for (const [what, text, header] of good) {
    test(`takes ${what}`, () => {
      expect(decode(bytesOf(text))).toMatchObject({ ok: true, header });
      expect(decode(bytesOf(text), 1)).toMatchObject({ ok: true, header });
    });
  }

  const bad: [what: string, bytes: Uint8Array, error: string][] = [
    ["version 1", Buffer.from("PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n"), "byte 0 is 0x50, not the 0x0d of the signature"],
    ["TLS", Buffer.from("16030100", "hex"), "byte 0 is 0x16, not the 0x0d of the signature"],
    ["the signature's last byte", Buffer.from("0d0a0d0a000d0a515549540b", "hex"), "byte 11 is 0x0b, not the 0x0a"],
    ["version 3", bytesOf("31"), "version 3, not 2"],
    ["version 1 in binary", bytesOf("11"), "version 1, not 2"],
    ["another command", bytesOf("22"), "unknown command 2"],
    ["another family", bytesOf("2141"), "unknown address family 4"],
    ["another transport", bytesOf("2113"), "unknown transport 3"],
    ["a family without transport", bytesOf("2110"), "address family IPv4 without a transport"],
    ["too short for IPv4", bytesOf("2111000b"), "11 bytes are too few for addresses of family IPv4, which take 12"],
    ["too short for IPv6", bytesOf("2121000c"), "12 bytes are too few for addresses of family IPv6, which take 36"],
    ["too short for unix", bytesOf("213100d7"), "215 bytes are too few for addresses of family unix, which take 216"],
    ["too long", bytesOf("2111ffff"), "65535 bytes after the fixed part, 4096 at most"],
    ["a value without its length", bytesOf("21000002d000"), "the value at byte 16 is cut off in its header"],
    [
      "a value that is cut off",
      bytesOf("21000005d00003aabb"),
      "the value of type 0xd0 at byte 16 has 2 of its 3 bytes",
    ],
    ["a second one", bytesOf("21000007d00000d00003aa"), "the value of type 0xd0 at byte 19 has 1 of its 3 bytes"],
    ["a checksum of another length", bytesOf("2100000503000200aa"), "a checksum of 2 bytes, not 4"],
    ["a wrong checksum", bytesOf("21000007" + "030004" + "00000000"), "the checksum is wrong"],
  ];
  for (const [what, bytes, error] of bad) {
    test(`refuses ${what}`, () => {
      for (const piece of [bytes.length, 1]) {
        const result = decode(bytes, piece);
        if (typeof result === "string" || result.ok) throw new Error(`accepted: ${JSON.stringify(result)}`);
        expect(result.error).toStartWith(error);
      }
    });
  }

  test("says how much of a truncated header came, wherever it is cut", () => {
    const whole = tunnelProxyHeader(V4, V4_TO, IDENTITY);
    expect(decode(whole.subarray(0, 0))).toBe("");
    for (let length = 1; length < whole.length; length++) {
      const of = length < 16 ? "at least 16" : String(whole.length);
      expect(decode(whole.subarray(0, length))).toBe(
        `the connection ended after ${length} of ${of} bytes of the header`,
      );
    }
  });

  test("answers to anything, the same however it is cut, and never reads beyond the header", () => {
    const random = new Random(9);
    for (let i = 0; i < 20_000; i++) {
      const bytes = tunnelProxyHeader(
        random.pick(addresses),
        random.pick(addresses),
        random.chance(50) ? "id" : undefined,
      );
      const mutated = Buffer.concat([bytes, random.bytes(random.below(8))]);
      for (let n = random.below(4); n > 0; n--) mutated[12 + random.below(mutated.length - 12)] = random.below(256);
      const whole = decode(mutated);
      expect(decode(mutated, 1 + random.below(7))).toEqual(whole);
      if (typeof whole !== "string" && whole.ok) {
        expect(whole.rest.length).toBe(mutated.length - 16 - mutated.readUInt16BE(14));
      }
    }
  });
});
