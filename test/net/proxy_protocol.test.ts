import { Buffer } from "node:buffer";
import { describe, expect, test } from "bun:test";
import { proxyProtocolHeader } from "../../src/net/proxy_protocol.ts";

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
