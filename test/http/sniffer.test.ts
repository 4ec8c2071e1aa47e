import { describe, expect, test } from "bun:test";
import { ProtocolSniffer, serveHttp1, type SniffedProtocol } from "../../src/http/mod.ts";
import { RecordingHandler } from "./exchanges.ts";
import { MemoryEndpoint, settled } from "./memory_endpoint.ts";

function sniff(options: ConstructorParameters<typeof ProtocolSniffer>[1] = {}) {
  const found: SniffedProtocol[] = [];
  const sniffer = new ProtocolSniffer((protocol) => {
    found.push(protocol);
    return undefined;
  }, options);
  const wire = new MemoryEndpoint().join(sniffer);
  return { found, sniffer, wire };
}

const CASES: [text: string, protocol: SniffedProtocol][] = [
  ["GET / HTTP/1.1\r\n", "http/1.1"],
  ["GET / HTTP/1.0\r\n", "http/1.0"],
  ["M-SEARCH * HTTP/1.1\r\n", "http/1.1"],
  ["\r\nGET / HTTP/1.1\r\n", "http/1.1"],
  // White space that HTTP refuses is HTTP's to refuse.
  ["GET  /  HTTP/1.1\r\n", "http/1.1"],
  ["GET\t/ HTTP/1.1\n", "http/1.1"],
  [`GET /${"a".repeat(5_000)} HTTP/1.1\r\n`, "http/1.1"],
  ["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "h2c"],
  ["PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", "other"],
  ["GET / HTTP/2.0\r\n", "other"],
  ["GET / HTTP/1.1x\r\n", "other"],
  ["GET /\r\n", "other"],
  ["GET /HTTP/1.1\r\n", "other"],
  ["SSH-2.0-OpenSSH_9\r\n", "other"],
  ["EHLO mail.test\r\n", "other"],
  ["*1\r\n$4\r\nPING\r\n", "other"],
  ["PING\r\n", "other"],
  ["\x16\x03\x01\x02\x00\x01", "other"],
  ["\x00\x00\x00\x08\x04\xd2\x16\x2f", "other"],
  ["GET /\x01", "other"],
  ["x".repeat(100), "other"],
  ["é / HTTP/1.1\r\n", "other"],
];

describe("protocol sniffing", () => {
  for (const [text, protocol] of CASES) {
    test(`${JSON.stringify(text.slice(0, 40))} is ${protocol}, cut anywhere`, () => {
      const whole = sniff();
      whole.wire.arrive(text);
      expect(whole.found).toEqual([protocol]);
      const single = sniff();
      single.wire.split = () => 1;
      single.wire.arrive(text);
      expect(single.found).toEqual([protocol]);
    });
  }

  test("nothing is decided before there is enough", () => {
    for (const text of ["", "G", "GET / HTTP/1.1", "PRI * HTTP/2.0\r\n\r\nSM", "PRI"]) {
      const { found, wire } = sniff();
      if (text !== "") wire.arrive(text);
      expect(found).toEqual([]);
      expect(wire.unread).toBe(0); // a socket would pause for them
    }
  });

  test("a line that does not end is given up on", () => {
    const { found, wire } = sniff({ maxBytes: 1_000 });
    wire.arrive("GET /" + "a".repeat(900));
    expect(found).toEqual([]);
    wire.arrive("a".repeat(200));
    expect(found).toEqual(["other"]);
  });

  test("silence means a protocol whose server speaks first", () => {
    const { found, sniffer } = sniff({ timeoutMs: 5_000 });
    sniffer.tick(performance.now() + 4_000);
    expect(found).toEqual([]);
    sniffer.tick(performance.now() + 6_000);
    expect(found).toEqual(["other"]);
    const patient = sniff({ timeoutMs: 0 });
    patient.sniffer.tick(performance.now() + 1e9);
    expect(patient.found).toEqual([]);
  });

  test("what was seen goes to whoever takes over, and its credit is exact", async () => {
    const handler = new RecordingHandler((request) => {
      request.consumes = false;
    });
    const server = serveHttp1({}, handler);
    const wire = new MemoryEndpoint().join(new ProtocolSniffer(() => server));
    wire.split = () => 3;
    wire.arrive("POST / HTTP/1.1\r\nhost: w\r\ncontent-length: 4\r\n\r\nbody");
    const [request] = handler.requests;
    expect([request!.body, wire.unread]).toEqual(["body", 4]);
    request!.stream.consume(4);
    expect(wire.unread).toBe(0);
    request!.respond(200, "ok");
    await settled();
    expect(wire.take()).toEndWith("\r\n\r\nok");
    wire.arriveEnd();
    await settled();
    expect([wire.closed, wire.finished, handler.closed]).toEqual([true, true, 1]);
  });

  test("bytes are held until somebody takes over, later", () => {
    const { found, sniffer, wire } = sniff();
    wire.arrive("SSH-2.0-x\r\n");
    expect(found).toEqual(["other"]);
    wire.arrive("more");
    expect(wire.unread).toBe(4);
    wire.arriveEnd();
    const next = new MemoryEndpoint();
    expect(sniffer.handOver(next)).toBe(true);
    expect([next.text, next.ended, wire.unread]).toEqual(["SSH-2.0-x\r\nmore", true, 0]);
  });

  test("a client that leaves ends it", () => {
    const early = sniff();
    early.wire.vanish();
    expect([early.found, early.wire.finished]).toEqual([["other"], true]);
    const late = sniff();
    late.wire.arrive("SSH-2.0-x\r\n");
    late.wire.vanish();
    expect(late.sniffer.handOver(new MemoryEndpoint())).toBe(false);
    expect(late.wire.finished).toBe(true);
  });
});
