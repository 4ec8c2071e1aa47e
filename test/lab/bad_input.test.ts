/** Input that nobody should send: refused with the right status, and nothing else is disturbed. */
import { afterEach, expect, test } from "bun:test";
import { Buffer } from "node:buffer";
import { labSuite, sharedMesh, TEST_MS } from "./fixture.ts";
import { ADMIN_PORT, identityOf, READINESS_PORT, STATS_PORT } from "./mesh/mod.ts";
import { eventually } from "./topology/mod.ts";
import { Conversation, doubling, HbonePeer, type StreamEvents } from "./traffic/mod.ts";

const PORT = 8080;
const REQUEST = "hello world";
const REFUSED_STREAM = 7;
const MB = 1 << 20;

labSuite("bad input", () => {
  /** What goes on all the time: a connection between pods, and a stream of the peer that misbehaves. */
  let bystander: Conversation | undefined;
  const peers: HbonePeer[] = [];
  const shared = sharedMesh({
    pods: [
      { name: "client", node: 0, captured: true },
      { name: "server", node: 1, captured: true },
      { name: "raw", node: 0, captured: false },
    ],
    meshed: ["client", "server"],
    configuration: (lab) => ({
      workloads: [
        { pod: lab.pod("client"), hbone: true },
        { pod: lab.pod("server"), hbone: true },
        { pod: lab.pod("raw"), hbone: true },
      ],
    }),
  }, async (mesh) => {
    mesh.serve("server", PORT, doubling);
    bystander = await Conversation.open(mesh.lab.pod("client").namespace, {
      ip: mesh.lab.pod("server").ip,
      port: PORT,
    });
  });

  const server = (port = PORT) => ({ ip: shared().lab.pod("server").ip, port });
  const authority = () => `${server().ip}:${PORT}`;
  const raw = () => shared().lab.pod("raw");

  async function connectPeer(): Promise<HbonePeer> {
    const certificate = shared().issuer().issue({ identity: identityOf({ pod: raw(), hbone: true }) });
    const peer = await HbonePeer.connect(raw().namespace, server(15008), certificate);
    peers.push(peer);
    return peer;
  }

  async function stream(peer: HbonePeer): Promise<StreamEvents> {
    const opened = await peer.connect(authority());
    expect(opened.status).toBe(200);
    await speak(peer, opened);
    return opened;
  }

  async function speak(peer: HbonePeer, on: StreamEvents): Promise<void> {
    const length = on.data.length + 22;
    peer.send(on, REQUEST);
    expect((await peer.received(on, length)).length).toBe(length);
  }

  afterEach(async () => {
    for (const peer of peers.splice(0)) peer.close();
    // Nothing of it has reached others: who talked goes on talking, who comes is served, and the process says it is well.
    expect(await bystander?.write(REQUEST).read(22)).toBe("x".repeat(22));
    const fresh = await Conversation.open(shared().lab.pod("client").namespace, server());
    expect(await fresh.write(REQUEST).read(22)).toBe("x".repeat(22));
    fresh.close();
    for (const ztunnel of shared().ztunnels) {
      expect((await ztunnel.ask(READINESS_PORT, "/healthz/ready")).status).toBe(200);
      expect(ztunnel.process.lines.filter((line) => /\bpanic|\bbug\b|TypeError|RangeError/.test(line))).toEqual([]);
    }
  });

  test("1 MB of header: that stream is refused, its neighbour and the connection go on", async () => {
    const peer = await connectPeer();
    const neighbour = await stream(peer);
    // Under the frame size that was announced, over the header list's.
    const huge = await peer.request([
      [":method", "CONNECT"],
      [":authority", authority()],
      ["baggage", "b".repeat(MB - 4096)],
    ]);
    if (huge.status === undefined) expect(huge.reset).toBe(REFUSED_STREAM);
    else expect(huge.status).toBe(431);
    await speak(peer, neighbour);
    await stream(peer);
  }, TEST_MS);

  test("absurd authorities", async () => {
    const peer = await connectPeer();
    const neighbour = await stream(peer);
    const { ip } = server();
    const cases: readonly [string, number][] = [
      [":", 400],
      ["::", 400],
      ["[", 400],
      ["[]", 400],
      ["[]:80", 400],
      ["[::1:80", 400],
      [`[::1%25eth0]:${PORT}`, 400],
      [`[${ip}]:${PORT}`, 400],
      [`${ip}:0`, 503],
      [`${ip}:-1`, 400],
      [`${ip}:+${PORT}`, 400],
      [`${ip}:080808080`, 400],
      [`${ip}:${PORT}:${PORT}`, 400],
      [`http://${ip}:${PORT}`, 400],
      [`0.0.0.0:${PORT}`, 400],
      [`127.0.0.1:${PORT}`, 400],
      [`localhost:${PORT}`, 503],
      [`${"a".repeat(60_000)}:80`, 503],
      [`${"a.".repeat(20_000)}:80`, 503],
    ];
    const seen: [string, number | undefined][] = [];
    for (const [text] of cases) seen.push([text.slice(0, 40), (await peer.connect(text)).status]);
    expect(seen).toEqual(cases.map(([text, status]) => [text.slice(0, 40), status]));
    await speak(peer, neighbour);
  }, TEST_MS);

  test("header values that mean nothing to anybody do not matter", async () => {
    const peer = await connectPeer();
    const values = ["", ",,,===,,", "k8s.cluster.name", "=".repeat(5000), "\x7f\x80\xff", 'host="', "for=;host=;;"];
    for (const name of ["baggage", "forwarded", "traceparent", "x-forwarded-network", "x-unknown"]) {
      for (const value of values) {
        const opened = await peer.request([[":method", "CONNECT"], [":authority", authority()], [name, value]]);
        // A value with control characters is no header field at all (RFC 9113 §8.2.1): that stream alone is refused.
        if (opened.status !== 200) expect([value, opened.reset]).toEqual(["\x7f\x80\xff", 1]);
      }
    }
  }, TEST_MS);

  test("requests that are no CONNECT, and CONNECTs that are no requests", async () => {
    const peer = await connectPeer();
    const neighbour = await stream(peer);
    const get = await peer.request([
      [":method", "GET"],
      [":scheme", "http"],
      [":path", "/"],
      [":authority", authority()],
    ], true);
    expect([get.status, get.ended]).toEqual([400, true]);
    const malformed: (readonly [string, string])[][] = [
      [[":method", "CONNECT"]],
      [[":method", "CONNECT"], [":authority", ""]],
      [[":method", "CONNECT"], [":authority", authority()], [":path", "/"], [":scheme", "http"]],
      [[":method", "CONNECT"], [":method", "CONNECT"], [":authority", authority()]],
      [["x-first", "1"], [":method", "CONNECT"], [":authority", authority()]],
      [[":method", "CONNECT"], [":authority", authority()], ["Upper", "1"]],
      [[":method", "CONNECT"], [":authority", authority()], ["connection", "close"]],
      [[":unknown", "1"], [":method", "CONNECT"], [":authority", authority()]],
    ];
    for (const headers of malformed) {
      const answer = await peer.request(headers);
      expect([headers, answer.status === 200]).toEqual([headers, false]);
    }
    await speak(peer, neighbour);
  }, TEST_MS);

  test("bytes that are no frames end that connection alone", async () => {
    for (const bytes of [Buffer.alloc(64, 0xff), Buffer.alloc(100_000, 0x20), Buffer.from("GET / HTTP/1.1\r\n\r\n")]) {
      const [peer, other] = [await connectPeer(), await connectPeer()];
      const neighbour = await stream(other);
      peer.conversation.write(bytes);
      await eventually("the connection to end", () => peer.conversation.ended || peer.goaway);
      await speak(other, neighbour);
    }
  }, TEST_MS);

  test("what is no TLS at 15008 is cut, and told with a reason", async () => {
    for (const bytes of ["GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01\xff\xff".padEnd(20_000, "\xff")]) {
      const conversation = await Conversation.open(raw().namespace, server(15008));
      await conversation.write(Buffer.from(bytes, "latin1")).readToEnd();
      const line = await shared().ztunnel(1).endOf(conversation.address);
      expect(line.fields["error"]).toStartWith("tls handshake error: ");
    }
  }, TEST_MS);

  test("connections that say nothing, or half of something, hold nobody up", async () => {
    const ports = [15008, 15006, 15001];
    const silent = await Promise.all(
      [...ports, ...ports].map((port) => Conversation.open(raw().namespace, server(port))),
    );
    for (const [index, conversation] of silent.entries()) if (index >= ports.length) conversation.write("\x16\x03");
    await stream(await connectPeer());
    for (const conversation of silent) conversation.close();
  }, TEST_MS);

  test("what is no HTTP at the admin, stats and readiness ports", async () => {
    const { namespace } = shared().ztunnel(1);
    const bad = [
      "\x00\x01\x02\x03\r\n\r\n",
      `GET /${"a".repeat(100_000)} HTTP/1.1\r\n\r\n`,
      `GET / HTTP/1.1\r\n${"x: y\r\n".repeat(20_000)}`,
    ];
    for (const port of [ADMIN_PORT, STATS_PORT, READINESS_PORT]) {
      for (const bytes of bad) {
        const conversation = await Conversation.open(namespace, { ip: "127.0.0.1", port });
        const answer = await conversation.write(bytes).finish().readToEnd();
        expect([port, answer === "" || /^HTTP\/1\.1 4\d\d /.test(answer)]).toEqual([port, true]);
        conversation.close();
      }
    }
  }, TEST_MS);
});
