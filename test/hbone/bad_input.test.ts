// What a client with a good certificate may send without disturbing anybody else.
import { afterAll, afterEach, describe, expect, test } from "bun:test";
import { forwardedHost, parseBaggage } from "../../src/hbone/mod.ts";
import { ErrorCode } from "../../src/http2/mod.ts";
import { parseAuthority } from "../../src/net/authority.ts";
import { Relay } from "../../src/net/relay.ts";
import { ForgingCa } from "../identity/forging_ca.ts";
import { Random } from "../http2/random.ts";
import { MeshServer } from "./mesh_server.ts";
import { RawPeer } from "./raw_peer.ts";
import { Tape, until } from "./tape.ts";

const ca = new ForgingCa();
afterAll(() => ca.remove());
const serverCertificate = await ca.issue("spiffe://cluster.local/ns/default/sa/server");
const clientCertificate = await ca.issue("spiffe://cluster.local/ns/default/sa/client");

const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const cleanup of cleanups.splice(0).reverse()) cleanup();
});

const connectTo = (authority: string): [string, string][] => [[":method", "CONNECT"], [":authority", authority]];
const GOOD = connectTo("10.0.0.1:80");

/** A server that judges a request by its authority and reads the other fields as a pod's proxy does, and echoes. */
function serve(): MeshServer {
  const server = new MeshServer(serverCertificate, ({ stream, endpoint, headers }) => {
    const values = (name: string) => headers.filter(([found]) => found === name).map(([, value]) => value);
    parseBaggage(values("baggage"));
    for (const value of values("forwarded")) forwardedHost(value);
    const { kind } = parseAuthority(values(":authority")[0] ?? "");
    if (values(":method")[0] !== "CONNECT" || kind !== "address") {
      stream.respond([[":status", kind === "hostname" ? "503" : "400"]], true);
      stream.reset(ErrorCode.NO_ERROR);
      return;
    }
    stream.respond([[":status", "200"]], false);
    const mirror = new Tape();
    mirror.deliver = (chunk) => {
      mirror.peer?.deliver(chunk);
      mirror.peer?.consumed(chunk.length);
    };
    mirror.finish = () => mirror.peer?.finish();
    new Relay(endpoint, mirror, { relayFinished() {} }, { value: 0 }, { value: 0 });
  });
  cleanups.push(() => server.stop());
  return server;
}

async function peerOf(server: MeshServer): Promise<RawPeer> {
  const peer = await RawPeer.connect(server.port, clientCertificate);
  cleanups.push(() => peer.close());
  return peer;
}

/** A peer whose stream 1 works, and a check that it still does and that new streams do too. */
async function disturbed(misbehave: (peer: RawPeer) => Promise<void> | void): Promise<RawPeer> {
  const peer = await peerOf(serve());
  peer.request(1, GOOD);
  await until("the first stream", () => peer.status(1) === "200");
  await misbehave(peer);
  peer.data(1, "still here");
  await until("echo on the first stream", () => peer.text(1) === "still here");
  peer.request(99_999, GOOD);
  await until("a new stream", () => peer.status(99_999) === "200");
  expect([peer.closed, peer.goaway]).toEqual([false, undefined]);
  return peer;
}

describe("header lists that are too large", () => {
  const cases: [what: string, fields: [string, string][], size: number][] = [
    ["70 KB in one field", [["x-long", "a".repeat(70_000)]], 1 << 20],
    ["1 MB in one field", [["x-long", "a".repeat(1 << 20)]], 1 << 20],
    ["1 MB in one field, in frames of 16 KB", [["x-long", "a".repeat(1 << 20)]], 16 << 10],
    [
      "1 MB in 10 000 fields, in frames of 16 KB",
      Array.from({ length: 10_000 }, (_, i) => [`x-${i}`, "b".repeat(95)]),
      16 << 10,
    ],
    ["1 MB of baggage", [["baggage", "service.name=a,".repeat(70_000)]], 16 << 10],
    ["an authority of 1 MB", [], 1 << 20],
  ];
  for (const [what, fields, size] of cases) {
    test(`${what}: the stream is refused, the others live`, async () => {
      const authority = fields.length === 0 ? `${"a".repeat(1 << 20)}:80` : "10.0.0.1:80";
      await disturbed(async (peer) => {
        peer.request(3, [...connectTo(authority), ...fields], { size });
        await until("the refusal", () => peer.resetOf(3) !== undefined);
        expect(peer.resetOf(3)).toBe(ErrorCode.REFUSED_STREAM);
        expect(peer.status(3)).toBeUndefined();
        peer.data(3, "bytes that were on their way");
      });
    });
  }

  test("one of 60 KB is read", async () => {
    await disturbed(async (peer) => {
      peer.request(3, [...GOOD, ["baggage", "service.name=a,".repeat(4_000)]]);
      await until("the answer", () => peer.status(3) === "200");
    });
  });

  test("one without an end costs the connection, and no other", async () => {
    const server = serve();
    const other = await peerOf(server);
    other.request(1, GOOD);
    await until("the other connection", () => other.status(1) === "200");
    const peer = await peerOf(server);
    peer.request(1, [...GOOD, ["x-long", "a".repeat(3 << 20)]], { size: 1 << 20 });
    await until("the end", () => peer.closed);
    expect(peer.goaway).toBe(ErrorCode.ENHANCE_YOUR_CALM);
    other.data(1, "undisturbed");
    await until("echo", () => other.text(1) === "undisturbed");
    await until("one connection", () => server.server.size === 1);
  });
});

describe("absurd authorities", () => {
  const refused: [authority: string, status: string][] = [
    ["10.0.0.1", "400"],
    ["10.0.0.1:", "400"],
    ["10.0.0.1:99999", "400"],
    ["10.0.0.1:-1", "400"],
    ["10.0.0.1:80:80", "400"],
    ["10.0.0.1:http", "400"],
    ["[::1", "400"],
    ["[::1]", "400"],
    ["::1:80", "400"],
    ["[fe80::1%eth0]:80", "400"],
    ["[fe80::1%25eth0]:80", "400"],
    ["[10.0.0.1]:80", "400"],
    ["http://10.0.0.1:80", "400"],
    ["10.0.0.1:80/path", "400"],
    ["10.0.0.1:80?query", "400"],
    ["h\u00f6st:80", "400"],
    ["\xff\xfe:80", "400"],
    [":80", "503"],
    ["user@10.0.0.1:80", "503"],
    ["user:secret@10.0.0.1:80", "503"],
    ["0x7f.1:80", "503"],
    ["010.0.0.1:80", "503"],
    [`${"a.".repeat(20_000)}b:80`, "503"],
    ["%00:80", "503"],
    ["..:80", "503"],
  ];
  const malformed: [what: string, authority: string][] = [
    ["a space", "10.0.0.1 :80"],
    ["a tab", "10.0.0.1\t:80"],
    ["a line break", "10.0.0.1:80\r\nx: y"],
    ["a NUL", "10.0.0.1\0:80"],
    ["a DEL", "10.0.0.1\x7f:80"],
    ["nothing", ""],
  ];

  test("each is answered for its stream alone", async () => {
    await disturbed(async (peer) => {
      let id = 3;
      for (const [authority, status] of refused) {
        peer.request(id, connectTo(authority));
        const of = id;
        await until(authority, () => peer.status(of) !== undefined || peer.resetOf(of) !== undefined);
        expect([authority.slice(0, 40), peer.status(of)]).toEqual([authority.slice(0, 40), status]);
        id += 2;
      }
      for (const [what, authority] of malformed) {
        peer.request(id, connectTo(authority));
        const of = id;
        await until(what, () => peer.status(of) !== undefined || peer.resetOf(of) !== undefined);
        expect([what, peer.resetOf(of)]).toEqual([what, ErrorCode.PROTOCOL_ERROR]);
        id += 2;
      }
    });
  });
});

describe("requests that are none", () => {
  const cases: [what: string, fields: [string, string][]][] = [
    [":path", [...GOOD, [":path", "/"]]],
    [":scheme", [...GOOD, [":scheme", "https"]]],
    [":scheme and :path", [...GOOD, [":scheme", "https"], [":path", "/"]]],
    [":protocol that was not offered", [...GOOD, [":protocol", "connect-tcp"]]],
    ["no :authority", [[":method", "CONNECT"]]],
    ["two authorities", [...GOOD, [":authority", "10.0.0.2:80"]]],
    ["a field in upper case", [...GOOD, ["Baggage", "x"]]],
    ["an unknown pseudo-header field", [...GOOD, [":peer", "x"]]],
    ["a pseudo-header field after others", [["baggage", "x"], ...GOOD]],
    ["a line break in a value", [...GOOD, ["baggage", "a\r\nb"]]],
    ["a connection-specific field", [...GOOD, ["connection", "close"]]],
  ];
  for (const [what, fields] of cases) {
    test(`CONNECT with ${what}: an error of the stream`, async () => {
      await disturbed(async (peer) => {
        peer.request(3, fields);
        await until("the reset", () => peer.resetOf(3) !== undefined);
        expect([peer.resetOf(3), peer.status(3)]).toEqual([ErrorCode.PROTOCOL_ERROR, undefined]);
      });
    });
  }

  test("another method", async () => {
    await disturbed(async (peer) => {
      peer.request(3, [[":method", "GET"], [":scheme", "http"], [":authority", "10.0.0.1:80"], [":path", "/"]]);
      await until("the answer", () => peer.status(3) === "400" && peer.ended(3));
    });
  });

  test("CONNECT that ends its side at once is a tunnel of which only the way back is open", async () => {
    await disturbed(async (peer) => {
      peer.request(3, GOOD, { end: true });
      await until("the answer and its end", () => peer.status(3) === "200" && peer.ended(3));
      expect(peer.resetOf(3)).toBeUndefined();
    });
  });

  test("baggage, forwarded and traceparent of any content", async () => {
    await disturbed(async (peer) => {
      const random = new Random(11);
      const printable = (length: number) =>
        String.fromCharCode(
          ...Array.from({ length }, () => random.chance(80) ? 33 + random.below(94) : 128 + random.below(128)),
        );
      for (let id = 3; id < 103; id += 2) {
        const fields = ["baggage", "baggage", "forwarded", "traceparent", "x-forwarded-network"].map((
          name,
        ): [string, string] => [name, printable(random.below(300))]);
        peer.request(id, [...GOOD, ...fields]);
        await until(`the answer of ${id}`, () => peer.status(id) === "200");
      }
    });
  });
});

test("streams beyond SETTINGS_MAX_CONCURRENT_STREAMS are refused one by one; a place that falls free is taken", async () => {
  await disturbed(async (peer) => {
    for (let id = 3; id < 3 + 2 * 260; id += 2) peer.request(id, GOOD);
    const ids = Array.from({ length: 260 }, (_, i) => 3 + 2 * i);
    await until("all answers", () => ids.every((id) => peer.status(id) === "200" || peer.resetOf(id) !== undefined));
    const refused = ids.filter((id) => peer.resetOf(id) !== undefined);
    expect(refused).toEqual(ids.slice(199)); // the first stream is one of the 200
    expect(new Set(refused.map((id) => peer.resetOf(id)))).toEqual(new Set([ErrorCode.REFUSED_STREAM]));
    for (const id of ids.slice(0, 10)) peer.reset(id);
    peer.request(1001, GOOD);
    await until("the place that fell free", () => peer.status(1001) === "200");
  });
});

test("whatever the bytes, the parsers of header fields answer and do not throw", () => {
  const random = new Random(5);
  const parts = ["host", "=", ";", ",", '"', " ", "\t", "\\", "é", "for", "k8s.pod.name", "cloud.zone", "\0", "a", "%"];
  for (let i = 0; i < 20_000; i++) {
    const text = random.chance(20)
      ? String.fromCharCode(...random.bytes(random.below(40)))
      : Array.from({ length: random.below(14) }, () => random.pick(parts)).join("");
    const host = forwardedHost(text);
    expect(host === undefined || (host.length > 0 && text.includes(host))).toBe(true);
    for (const value of Object.values(parseBaggage([text, text]))) {
      expect(value === undefined || (value !== "" && text.includes(value))).toBe(true);
    }
    const authority = parseAuthority(text);
    if (authority.kind !== "invalid") expect(Number.isInteger(authority.port) && authority.port <= 65535).toBe(true);
  }
});
