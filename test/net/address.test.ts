import { describe, expect, test } from "bun:test";
import { isIP } from "node:net";
import {
  canonicalIp,
  formatAddress,
  ipFromBytes,
  ipToBytes,
  isIpv4,
  isLoopback,
  parseAddress,
  parseCidr,
} from "../../src/net/address.ts";

/** A small deterministic generator (mulberry32), so that a failure can be repeated. */
function randomBytes(seed: number): (length: number) => Uint8Array {
  let state = seed;
  const next = () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return (t ^ (t >>> 14)) >>> 0;
  };
  return (length) => Uint8Array.from({ length }, () => next() % 3 === 0 ? 0 : next() & 255);
}

describe("canonicalIp", () => {
  const canonical: [string, string][] = [
    ["0.0.0.0", "0.0.0.0"],
    ["255.255.255.255", "255.255.255.255"],
    ["10.0.0.1", "10.0.0.1"],
    ["::", "::"],
    ["::1", "::1"],
    ["1::", "1::"],
    ["FD00::00Ab", "fd00::ab"],
    ["0:0:0:0:0:0:0:0", "::"],
    ["2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"], // RFC 5952 §4.2.3: the first of equal runs
    ["2001:0:0:1:0:0:0:1", "2001:0:0:1::1"], // the longest run
    ["2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"], // §4.2.2: one group is not compressed
    ["1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"],
    ["::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"],
    ["::ffff:10.0.0.1", "10.0.0.1"],
    ["::ffff:a00:1", "10.0.0.1"],
    ["64:ff9b::10.0.0.1", "64:ff9b::a00:1"],
    ["1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:102:304"],
    ["::1.2.3.4", "::102:304"],
  ];
  test.each(canonical)("%s is %s", (text, expected) => {
    expect(canonicalIp(text)).toBe(expected);
    expect(canonicalIp(expected)).toBe(expected);
  });

  const refused = [
    "",
    "1",
    "1.2.3",
    "1.2.3.4.5",
    "1.2.3.",
    ".1.2.3",
    "1..2.3",
    "01.2.3.4",
    "1.2.3.00",
    "256.1.1.1",
    "1.2.3.4 ",
    " 1.2.3.4",
    "1.2.3.4/8",
    "-1.2.3.4",
    "1.2.3.0x4",
    ":",
    ":::",
    "1:2:3:4:5:6:7",
    "1:2:3:4:5:6:7:8:9",
    "1:2:3:4:5:6:7:8::",
    "::1:2:3:4:5:6:7:8",
    "1:2:3:4::5:6:7:8",
    "1::2::3",
    "12345::",
    "g::",
    "1:",
    ":1",
    "[::1]",
    "fe80::1%eth0",
    "1.2.3.4::",
    "::1.2.3.4:5",
    "1:2:3:4:5:6:7:1.2.3.4",
    "::ffff:256.0.0.1",
    "localhost",
  ];
  test.each(refused)("%j is none", (text) => expect(canonicalIp(text)).toBeUndefined());

  test("agrees with the runtime's own parser on mutated addresses", () => {
    const random = randomBytes(7);
    const seeds = ["1.22.133.4", "fd00:12::ffff:0", "::ffff:10.0.0.1", "1:2:3:4:5:6:7:8", "::"];
    const alphabet = "0123456789abcdefF:.:. g";
    for (let i = 0; i < 20_000; i++) {
      const [pick = 0, position = 0, letter = 0, cut = 0] = random(4);
      const seed = seeds[pick % seeds.length] ?? "";
      const at = position % (seed.length + 1);
      const text = seed.slice(0, at) + alphabet[letter % alphabet.length] + seed.slice(at + (cut % 3));
      expect(`${text} ${canonicalIp(text) !== undefined}`).toBe(`${text} ${isIP(text) !== 0}`);
    }
  });
});

test("bytes and text are inverse, and the text is the one that URL writes", () => {
  const random = randomBytes(1);
  for (let i = 0; i < 5000; i++) {
    const bytes = random(i % 2 === 0 ? 4 : 16);
    const text = ipFromBytes(bytes);
    expect(canonicalIp(text)).toBe(text);
    expect(ipToBytes(text)).toEqual(bytes);
    const host = isIpv4(text) ? text : `[${text}]`;
    expect(new URL(`http://${host}/`).hostname).toBe(host);
  }
});

test("mapped bytes become IPv4", () => {
  expect(ipFromBytes(Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 1, 2, 3))).toBe("10.1.2.3");
});

test("other lengths and texts are errors of the caller", () => {
  expect(() => ipFromBytes(new Uint8Array(5))).toThrow(RangeError);
  expect(() => ipToBytes("nonsense")).toThrow('not an IP address: "nonsense"');
  expect(() => ipToBytes("::nonsense")).toThrow(RangeError);
});

test("loopback and family", () => {
  expect(["127.0.0.1", "127.9.9.9", "::1"].map(isLoopback)).toEqual([true, true, true]);
  expect(["128.0.0.1", "12.7.0.1", "::2", "::"].map(isLoopback)).toEqual([false, false, false, false]);
  expect([isIpv4("1.2.3.4"), isIpv4("::1")]).toEqual([true, false]);
});

describe("addresses with a port", () => {
  test.each(["10.0.0.1:80", "[fd00::1]:15008", "[::]:0", "0.0.0.0:65535"])("%s", (text) => {
    const address = parseAddress(text);
    expect(address).toBeDefined();
    if (address !== undefined) expect(formatAddress(address)).toBe(text);
  });

  test("non-canonical IPs are made canonical", () => {
    expect(parseAddress("[FD00:0::1]:1")).toEqual({ ip: "fd00::1", port: 1 });
    expect(parseAddress("[::ffff:1.2.3.4]:1")).toEqual({ ip: "1.2.3.4", port: 1 });
  });

  const refused = [
    "",
    ":",
    ":80",
    "10.0.0.1",
    "10.0.0.1:",
    "10.0.0.1:65536",
    "10.0.0.1:080",
    "10.0.0.1:+80",
    "10.0.0.1:8 ",
    "10.0.0.1:0x50",
    "[10.0.0.1]:80",
    "fd00::1:80",
    "[fd00::1]",
    "[fd00::1]80",
    "[fd00::1:80",
    "fd00::1]:80",
    "[]:80",
    "name:80",
  ];
  test.each(refused)("%j is none", (text) => {
    // An IPv4 address in brackets is no IPv6 address, and a bare IPv6 address cannot be told from its port.
    expect(parseAddress(text)).toBeUndefined();
  });
});

describe("ranges", () => {
  const table: [string, string, string[], string[]][] = [
    ["10.0.0.0/8", "10.0.0.0/8", ["10.0.0.0", "10.255.255.255"], ["9.255.255.255", "11.0.0.0", "::a00:0", "x"]],
    ["10.1.2.3/8", "10.0.0.0/8", ["10.9.9.9"], ["11.1.2.3"]],
    ["0.0.0.0/0", "0.0.0.0/0", ["0.0.0.0", "255.255.255.255"], ["::"]],
    ["192.168.1.7", "192.168.1.7/32", ["192.168.1.7"], ["192.168.1.6"]],
    ["255.255.255.254/31", "255.255.255.254/31", ["255.255.255.255"], ["255.255.255.253"]],
    ["fd00::/8", "fd00::/8", ["fd00::1", "fdff::"], ["fe00::", "10.0.0.1", "fd"]],
    ["fd00::1", "fd00::1/128", ["fd00::1"], ["fd00::2", "::"]],
    ["fd00:1234:5678::ffff/36", "fd00:1234:5000::/36", ["fd00:1234:5fff::1"], ["fd00:1234:6000::"]],
    ["::/0", "::/0", ["::", "ffff::"], ["1.2.3.4"]],
    ["::ffff:10.0.0.0/104", "10.0.0.0/8", ["10.1.1.1"], ["11.1.1.1"]],
  ];
  test.each(table)("%s", (text, canonical, inside, outside) => {
    const cidr = parseCidr(text);
    expect(cidr?.text).toBe(canonical);
    expect(cidr?.length).toBe(Number(canonical.split("/")[1]));
    for (const ip of inside) expect([ip, cidr?.contains(ip)]).toEqual([ip, true]);
    for (const ip of outside) expect([ip, cidr?.contains(ip)]).toEqual([ip, false]);
  });

  test.each(["", "/", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/08", "fd00::/129", "10.0/8", "x/8", "::/x"])(
    "%j is none",
    (text) => expect(parseCidr(text)).toBeUndefined(),
  );

  test("membership is equality of the first bits", () => {
    const random = randomBytes(3);
    for (let i = 0; i < 3000; i++) {
      const size = i % 2 === 0 ? 4 : 16;
      const network = random(size);
      const candidate = random(2)[0]! % 2 === 0
        ? network.map((b, at) => at > 1 ? b ^ (random(1)[0] ?? 0) : b)
        : random(size);
      const length = (random(1)[0] ?? 0) % (8 * size + 1);
      const bits = (bytes: Uint8Array) =>
        [...bytes].map((b) => b.toString(2).padStart(8, "0")).join("").slice(0, length);
      const cidr = parseCidr(`${ipFromBytes(network)}/${length}`);
      expect(cidr?.contains(ipFromBytes(candidate))).toBe(bits(network) === bits(candidate));
    }
  });
});
