/** The lab's own instruments: what measures must be right before it is believed. */
import { describe, expect, test } from "bun:test";
import { Buffer } from "node:buffer";
import { parseWrk } from "../bench/generator.ts";
import { Figures, judge } from "../bench/figures.ts";
import { addMessage, delMessage, keepMessage, parseAck, SNAPSHOT_SENT } from "./cni/mod.ts";
import { parseLogLine, parseMetrics, total } from "./mesh/mod.ts";
import { iptablesRules, nftRules } from "./topology/redirection.ts";
import { notTls, readCapture } from "./wire/mod.ts";

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

describe("ZDS messages", () => {
  test("golden bytes", () => {
    const pod = { uid: "u", name: "n", namespace: "s", serviceAccount: "a" };
    expect(hex(addMessage(pod))).toBe("0a0e0a0175" + "12090a016e1201731a0161");
    expect(hex(delMessage("u"))).toBe("1203120175");
    expect(hex(keepMessage("u"))).toBe("2a030a0175");
    expect(hex(SNAPSHOT_SENT)).toBe("1a00");
  });

  test("acks, good, refused, and what is none", () => {
    expect(parseAck(Buffer.from("0a00", "hex"))).toEqual({ kind: "ack", error: undefined });
    expect(parseAck(Buffer.from("0a050a03626164", "hex"))).toEqual({ kind: "ack", error: "bad" });
    const long = "e".repeat(300);
    const packet = Buffer.concat([Buffer.from("0aaf020aac02", "hex"), Buffer.from(long)]);
    expect(parseAck(packet)).toEqual({ kind: "ack", error: long });
    for (const wrong of ["", "12", "0a05", "0a0001", "0801"]) {
      expect(parseAck(Buffer.from(wrong, "hex"))).toEqual({ kind: "not an ack" });
    }
  });
});

describe("redirection", () => {
  const options = { redirector: "nftables", ipv6: true, dnsCapture: false } as const;

  test("order of the output rules: replies, own address, then capture", () => {
    const rules = nftRules(options);
    const replies = rules.indexOf("0x111 counter accept");
    const own = rules.indexOf('oifname "lo" counter accept');
    const capture = rules.indexOf("redirect to :15001");
    expect(replies).toBeGreaterThan(0);
    expect(own).toBeGreaterThan(replies);
    expect(capture).toBeGreaterThan(own);
    expect(rules).not.toContain("15053");
    expect(nftRules({ ...options, dnsCapture: true })).toContain("redirect to :15053");
  });

  test("nothing that carries the proxy's mark is captured", () => {
    for (const line of nftRules(options).split("\n").filter((rule) => rule.includes("redirect to"))) {
      expect(line).toContain("meta mark & 0xfff != 0x539");
    }
    const rules = iptablesRules("127.0.0.1/32", "169.254.7.127", options).split("\n");
    for (const line of rules.filter((rule) => rule.includes("-j REDIRECT"))) {
      expect(line).toContain("-m mark ! --mark 0x539/0xfff");
    }
  });
});

describe("readers", () => {
  test("access log lines", () => {
    const text =
      '2026-01-02T03:04:05.678901Z\tinfo\taccess\tconnection complete\tsrc.addr=10.0.0.1:5 src.workload="a b" ' +
      'error="say \\"no\\"" bytes_sent=11';
    expect(parseLogLine(text)).toMatchObject({
      level: "info",
      scope: "access",
      message: "connection complete",
      fields: { "src.addr": "10.0.0.1:5", "src.workload": "a b", error: 'say "no"', bytes_sent: "11" },
    });
    expect(parseLogLine("panic: something")).toBeUndefined();
  });

  test("metrics: sums by labels; an exposition without its end mark is refused", () => {
    const samples = parseMetrics('# TYPE a counter\na_total{x="1",y="p"} 2\na_total{x="1",y="q"} 3\nb 7\n# EOF\n');
    expect(total(samples, "a_total", { x: "1" })).toBe(5);
    expect(total(samples, "a_total", { y: "q" })).toBe(3);
    expect(() => parseMetrics("b 7\n")).toThrow("EOF");
    expect(() => parseMetrics("b seven words\n# EOF\n")).toThrow("not a sample");
  });

  test("wrk's report", () => {
    const text = "  Latency Distribution\n     50%  840.00us\n     75%    1.10ms\n     99%    2.50ms\n" +
      "  120000 requests in 4.00s, 20.00MB read\n  Socket errors: connect 1, read 2, write 0, timeout 3\n";
    expect(parseWrk(text)).toEqual({ count: 120000, seconds: 4, p50: 0.84, p99: 2.5, errors: 6 });
    expect(parseWrk("unable to connect")).toBeUndefined();
  });

  test("medians and limits", () => {
    const figure = "requests.32.cpu.client";
    const figures = new Figures<"relay" | "ambient">();
    for (const value of [30, 10, 20]) figures.add("relay", figure, value);
    for (const value of [18, 14]) figures.add("ambient", figure, value);
    expect(figures.median("relay", figure)).toBe(20);
    const limit = { figure, label: "CPU", most: 0.8, relative: true, unit: "" };
    const judged = () => judge(figures, [limit], { own: "ambient", yardstick: "relay" });
    expect(judged()).toMatchObject([{ yardstick: 20, own: 16, value: 0.8, pass: true }]);
    figures.add("ambient", figure, 18);
    expect(judged()).toMatchObject([{ value: 0.9, pass: false }]);
  });
});

describe("wire tap", () => {
  const record = (type: number, length: number) =>
    Buffer.from([type, 3, 3, length >> 8, length & 255, ...Array(length).fill(0)]);

  test("TLS records, whole or cut, and what is none", () => {
    expect(notTls(Buffer.concat([record(22, 5), record(23, 300), record(23, 10).subarray(0, 7)]))).toBeUndefined();
    expect(notTls(Buffer.from("GET / HTTP/1.1\r\n\r\n"))).toContain("byte 0");
    expect(notTls(Buffer.concat([record(22, 5), Buffer.from("plaintext")]))).toContain("byte 10");
  });

  test("streams are put together from segments out of order and repeated", () => {
    const capture = captureFile([[1000, "hello "], [1011, "!"], [1000, "hello "], [1006, "world"]]);
    const { packets, flows } = readCapture(capture);
    expect(packets).toBe(4);
    expect(flows.map((flow) => [flow.from, flow.to, Buffer.from(flow.bytes).toString()])).toEqual([
      ["10.0.0.1:1234", "10.0.0.2:15008", "hello world!"],
    ]);
    expect(() => readCapture(Buffer.from("nonsense"))).toThrow("not a capture file");
  });

  /** A capture of TCP segments from 10.0.0.1:1234 to 10.0.0.2:15008. */
  function captureFile(segments: readonly (readonly [sequence: number, text: string])[]): Buffer {
    const head = Buffer.alloc(24);
    head.writeUInt32LE(0xa1b2c3d4, 0);
    const packets = segments.map(([sequence, text]) => {
      const packet = Buffer.alloc(14 + 20 + 20 + text.length);
      packet.writeUInt16BE(0x0800, 12);
      packet[14] = 0x45;
      packet.writeUInt16BE(40 + text.length, 16);
      packet[23] = 6;
      packet.set([10, 0, 0, 1, 10, 0, 0, 2], 26);
      packet.writeUInt16BE(1234, 34);
      packet.writeUInt16BE(15008, 36);
      packet.writeUInt32BE(sequence, 38);
      packet[46] = 0x50;
      packet.write(text, 54);
      const info = Buffer.alloc(16);
      info.writeUInt32LE(packet.length, 8);
      info.writeUInt32LE(packet.length, 12);
      return Buffer.concat([info, packet]);
    });
    return Buffer.concat([head, ...packets]);
  }
});
