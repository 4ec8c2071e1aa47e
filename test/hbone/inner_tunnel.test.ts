import { afterAll, afterEach, describe, expect, test } from "bun:test";
import {
  type ConnectFailure,
  connectFailure,
  type InnerTarget,
  openInnerTunnel,
  Pool,
  StreamEndpoint,
  type TunnelOptions,
} from "../../src/hbone/mod.ts";
import process from "node:process";
import { ErrorCode, type HeaderList } from "../../src/http2/mod.ts";
import { CertificateCache } from "../../src/identity/mod.ts";
import { openFdCount } from "../../src/linux/mod.ts";
import { Relay } from "../../src/net/relay.ts";
import { dialTcp } from "../../src/net/tcp.ts";
import { DEFAULT_TLS_POLICY } from "../../src/tls/mod.ts";
import { ForgingCa } from "../identity/forging_ca.ts";
import { MeshServer } from "./mesh_server.ts";
import { connectPlain, type OnConnect, PlainServer, SETTINGS } from "./plain_transport.ts";
import { hurried, Tape, tapeOn, until } from "./tape.ts";

const CLIENT = "spiffe://cluster.local/ns/default/sa/client";
const SERVER = "spiffe://cluster.local/ns/remote/sa/server";
const HEADERS: HeaderList = [
  [":method", "CONNECT"],
  [":authority", "web.shop.svc.cluster.local:80"],
  ["baggage", "k8s.namespace.name=default"],
  ["x-forwarded-network", "network-1"],
];

const ca = new ForgingCa();
afterAll(() => ca.remove());
const serverCertificate = await ca.issue(SERVER);
const certificates = new CertificateCache(ca.ca);
await certificates.get(CLIENT, "realtime");
afterAll(() => certificates.close());

const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const cleanup of cleanups.splice(0).reverse()) cleanup();
});

const OPTIONS: TunnelOptions = { certificates, tlsPolicy: DEFAULT_TLS_POLICY, settings: SETTINGS };
const TARGET: InnerTarget = { sourceIdentity: CLIENT, expectedIdentities: [SERVER] };

function meshServer(answer: (request: MeshServer["requests"][number]) => void): MeshServer {
  const server = new MeshServer(serverCertificate, answer);
  cleanups.push(() => server.stop());
  return server;
}

/** The gateway's way with a CONNECT: passes the stream on to a port as it is. */
function passOn(port: number): OnConnect {
  return (stream, endpoint) => {
    stream.respond([[":status", "200"]], false);
    dialTcp({ ip: "127.0.0.1", port }, undefined, {}, {
      dialed: (tcp) => void new Relay(endpoint, tcp, { relayFinished() {} }, { value: 0 }, { value: 0 }),
      dialFailed: () => endpoint.abort(),
    });
  };
}

class Gateway {
  readonly server: PlainServer;
  readonly pool: Pool;

  constructor(onConnect: OnConnect) {
    this.server = new PlainServer(onConnect);
    this.pool = new Pool(
      { maxStreamsPerConnection: 100, unusedReleaseTimeout: 300_000, waitTimeout: 10_000 },
      (_, owner, done, failed) =>
        connectPlain(this.server.port, owner, done, (error) => failed(connectFailure(error.message))),
    );
    cleanups.push(() => this.pool.close(), () => this.server.stop());
  }

  /** A stream to the gateway. */
  outer(): Promise<StreamEndpoint> {
    const target = {
      sourceIdentity: CLIENT,
      sourceIp: "127.0.0.1",
      expectedIdentities: ["spiffe://cluster.local/ns/istio-system/sa/gateway"],
      destination: { ip: "127.0.0.1", port: this.server.port },
    };
    return new Promise((resolve, reject) => {
      this.pool.connect(target, [[":method", "CONNECT"], [":authority", "web:80"]], {
        connected: resolve,
        connectFailed: ({ text }) => reject(new Error(text)),
      });
    });
  }
}

interface Connected {
  readonly endpoint: StreamEndpoint;
  readonly peerIdentity: string;
  readonly headers: HeaderList;
}

function tunnel(outer: StreamEndpoint, target = TARGET): Promise<Connected | ConnectFailure> {
  return new Promise((resolve) => {
    openInnerTunnel(OPTIONS, outer, target, HEADERS, {
      innerConnected: (endpoint, facts) => resolve({ endpoint, ...facts }),
      connectFailed: resolve,
    });
  });
}

async function connected(outer: StreamEndpoint): Promise<StreamEndpoint> {
  const outcome = await tunnel(outer);
  if (!("endpoint" in outcome)) throw new Error(outcome.text);
  return outcome.endpoint;
}

const echoing = (request: MeshServer["requests"][number]) => {
  request.stream.respond([[":status", "200"], ["baggage", "k8s.namespace.name=remote"]], false);
  const mirror = new Tape();
  mirror.deliver = (chunk) => {
    mirror.peer?.deliver(chunk);
    mirror.peer?.consumed(chunk.length);
  };
  mirror.finish = () => mirror.peer?.finish();
  new Relay(request.endpoint, mirror, { relayFinished() {} }, { value: 0 }, { value: 0 });
};

describe("a tunnel inside a tunnel", () => {
  test("says what it was told to, proves who we are, and tells who the peer is", async () => {
    const server = meshServer(echoing);
    const outcome = await tunnel(await new Gateway(passOn(server.port)).outer());
    if (!("endpoint" in outcome)) throw new Error(outcome.text);
    expect(outcome.peerIdentity).toBe(SERVER);
    expect(outcome.headers).toContainEqual(["baggage", "k8s.namespace.name=remote"]);
    const [request] = server.requests;
    expect(request!.headers).toEqual(HEADERS);
    expect(request!.endStream).toBe(false);
    expect(request!.peer.identityText).toBe(CLIENT);
    const tape = tapeOn(outcome.endpoint);
    tape.say("through two tunnels");
    await until("echo", () => tape.text === "through two tunnels");
  });

  test("a half-close by us leaves the way back open; afterwards both tunnels' streams are gone", async () => {
    const server = meshServer(echoing);
    const gateway = new Gateway(passOn(server.port));
    const tape = tapeOn(await connected(await gateway.outer()));
    const megabytes = new Uint8Array(3 << 20).fill(7);
    tape.push(megabytes);
    tape.peer!.finish();
    await until("end", () => tape.finished);
    expect(tape.bytes).toBe(megabytes.length);
    await until("the inner connection is gone", () => server.server.size === 0);
    await until("the outer stream is gone", () => gateway.server.transports[0]!.h2.openStreams === 0);
    expect(gateway.pool.size).toBe(1);
  });

  test("a half-close by the server leaves the way forth open", async () => {
    const atServer = new Tape();
    const server = meshServer(({ stream, endpoint }) => {
      stream.respond([[":status", "200"]], false);
      new Relay(endpoint, atServer, { relayFinished() {} }, { value: 0 }, { value: 0 });
      endpoint.finish();
    });
    const gateway = new Gateway(passOn(server.port));
    const tape = tapeOn(await connected(await gateway.outer()));
    await until("end of the server", () => tape.finished);
    const late = new Uint8Array(2 << 20);
    tape.push(late);
    tape.peer!.finish();
    await until("the server got everything", () => atServer.finished);
    expect(atServer.bytes).toBe(late.length);
    await until("the outer stream is gone", () => gateway.server.transports[0]!.h2.openStreams === 0);
  });

  for (const who of ["server", "client"] as const) {
    test(`a ${who} that does not read holds up its sender, and the bytes in between are bounded`, async () => {
      const slow = new Tape();
      slow.hold = true;
      const fast = new Tape();
      const server = meshServer(({ stream, endpoint }) => {
        stream.respond([[":status", "200"]], false);
        const tape = who === "server" ? slow : fast;
        new Relay(endpoint, tape, { relayFinished() {} }, { value: 0 }, { value: 0 });
      });
      const endpoint = await connected(await new Gateway(passOn(server.port)).outer());
      new Relay(who === "server" ? fast : slow, endpoint, { relayFinished() {} }, { value: 0 }, { value: 0 });
      const chunk = new Uint8Array(256 << 10);
      let pushed = 0;
      // As a socket does: reads on only when what it read has left.
      const push = () => {
        while (fast.inFlight === 0 && pushed < (64 << 20)) {
          fast.push(chunk);
          pushed += chunk.length;
        }
      };
      let last = -1;
      for (let quiet = 0; quiet < 500; quiet = pushed === last ? quiet + 1 : 0) {
        last = pushed;
        push();
        await new Promise((resolve) => setImmediate(resolve));
      }
      expect(slow.bytes).toBe(SETTINGS.streamWindow);
      expect(pushed).toBeLessThanOrEqual(SETTINGS.streamWindow + (2 << 20));
      slow.release();
      await until("the rest", () => {
        push();
        return pushed === 64 << 20 && slow.bytes === pushed;
      });
    }, 30_000);
  }
});

describe("an inner tunnel that fails", () => {
  const identities: [what: string, expected: string[], error: string][] = [
    ["nobody is expected", [], `peer did not present the expected SAN (), got ${SERVER}`],
    ["others are expected", ["spiffe://a/ns/b/sa/c", "spiffe://a/ns/b/sa/d"], "(spiffe://a/ns/b/sa/c,spiffe://a/ns/"],
  ];
  for (const [what, expectedIdentities, error] of identities) {
    test(`${what}: no request is sent`, async () => {
      const server = meshServer(echoing);
      const gateway = new Gateway(passOn(server.port));
      const failure = await tunnel(await gateway.outer(), { sourceIdentity: CLIENT, expectedIdentities });
      if ("endpoint" in failure) throw new Error("it was accepted");
      expect(failure.text).toStartWith(
        "io error: identity verification error: peer did not present the expected SAN (",
      );
      expect(failure.text).toContain(error);
      expect(failure).toMatchObject({ flag: "CONNECT", retryable: expectedIdentities.length > 0 });
      expect(server.requests).toEqual([]);
      await until("the outer stream is gone", () => gateway.server.transports[0]!.h2.openStreams === 0);
    });
  }

  const answers: [status: string, text: string, retryable: boolean][] = [
    ["401", "http status: 401 Unauthorized", false],
    ["400", "http status: 400 Bad Request", false],
    ["503", "http status: 503 Service Unavailable", true],
  ];
  for (const [status, text, retryable] of answers) {
    test(`an answer of ${status}`, async () => {
      const server = meshServer(({ stream }) => stream.respond([[":status", status]], true));
      const gateway = new Gateway(passOn(server.port));
      expect(await tunnel(await gateway.outer())).toEqual({ text, flag: "CONNECT", retryable });
      await until("the inner connection is gone", () => server.server.size === 0);
      await until("the outer stream is gone", () => gateway.server.transports[0]!.h2.openStreams === 0);
    });
  }

  const gateways: [what: string, gateway: OnConnect, text: string][] = [
    ["ends the stream at once", (stream) => stream.respond([[":status", "200"]], true), "io error: tls handshake eof"],
    ["resets the stream", (stream) => {
      stream.respond([[":status", "200"]], false);
      setImmediate(() => stream.reset(ErrorCode.INTERNAL_ERROR));
    }, "h2 failed: stream error received: unexpected internal error encountered"],
    ["cancels the stream", (stream) => {
      stream.respond([[":status", "200"]], false);
      setImmediate(() => stream.reset(ErrorCode.CANCEL));
    }, "io error: tls handshake eof"],
    ["closes its connection", (stream, _endpoint, _headers, transport) => {
      stream.respond([[":status", "200"]], false);
      setImmediate(() => transport.close());
    }, "h2 failed: stream error received: connection established in response"],
    ["speaks no TLS", (stream) => {
      stream.respond([[":status", "200"]], false);
      stream.sendData(new TextEncoder().encode("HTTP/1.1 400 Bad Request\r\n\r\n"), false);
    }, "io error: "],
  ];
  for (const [what, behaviour, text] of gateways) {
    test(`behind a gateway that ${what}`, async () => {
      const gateway = new Gateway(behaviour);
      const before = openFdCount();
      const failure = await tunnel(await gateway.outer());
      if ("endpoint" in failure) throw new Error("it was accepted");
      expect(failure.text).toStartWith(text);
      expect(failure.retryable).toBe(true);
      gateway.pool.close();
      await until("no descriptor is left", () => openFdCount() <= before);
    });
  }

  test("behind a gateway that says nothing: after 10 s", async () => {
    const gateway = new Gateway((stream) => stream.respond([[":status", "200"]], false));
    const outer = await gateway.outer();
    const before = openFdCount();
    expect(await hurried(() => tunnel(outer))).toEqual(
      connectFailure("io error: tls handshake timed out", "CONNECT", true),
    );
    await until("no descriptor is left", () => openFdCount() <= before);
    await until("the outer stream is gone", () => gateway.server.transports[0]!.h2.openStreams === 0);
  });

  test("a peer that does not answer: after 30 s", async () => {
    const server = meshServer(() => {});
    const outer = await new Gateway(passOn(server.port)).outer();
    expect(await hurried(() => tunnel(outer))).toEqual(
      connectFailure("h2 failed: no answer to CONNECT within 30 s"),
    );
    await until("the inner connection is gone", () => server.server.size === 0);
  });

  test("a certificate of ours that cannot be had", async () => {
    const gateway = new Gateway((stream) => stream.respond([[":status", "200"]], false));
    const outer = await gateway.outer();
    const before = openFdCount();
    const failure = await tunnel(outer, { ...TARGET, sourceIdentity: "no identity" });
    expect(failure).toMatchObject({ flag: "IDENTITY_ERROR", retryable: false });
    await until("no descriptor is left", () => openFdCount() <= before);
  });
});

describe("the end of an inner tunnel", () => {
  /** A tunnel that works, and its parts. */
  async function working() {
    const server = meshServer(echoing);
    const gateway = new Gateway(passOn(server.port));
    const outer = await gateway.outer();
    const endpoint = await connected(outer);
    const ended = Promise.withResolvers<string>();
    const tape = new Tape();
    new Relay(
      tape,
      endpoint,
      { relayFinished: ({ error }) => ended.resolve(error?.text ?? "") },
      { value: 0 },
      { value: 0 },
    );
    tape.say("hello");
    await until("echo", () => tape.text === "hello");
    return { server, gateway, outer, endpoint, tape, ended: ended.promise };
  }

  test("a gateway that drains: the tunnel goes on", async () => {
    const { gateway, outer, tape } = await working();
    gateway.server.transports[0]!.drain();
    await until("GOAWAY", () => outer.stream!.connection.closing);
    tape.say(" again");
    await until("echo", () => tape.text === "hello again");
    tape.peer!.finish();
    await until("end", () => tape.finished);
    await until("the draining connection closed", () => gateway.pool.size === 0);
  });

  test("an outer stream that is reset for a reason: the application's connection ends with that reason", async () => {
    const { gateway, ended } = await working();
    for (const stream of gateway.server.transports[0]!.h2.streams()) stream.reset(ErrorCode.INTERNAL_ERROR);
    expect(await ended).toBe("h2 failed: stream error received: unexpected internal error encountered");
  });

  test("a gateway that vanishes", async () => {
    const { gateway, tape, ended } = await working();
    gateway.server.transports[0]!.socket.terminate();
    await tape.done.promise;
    expect(await ended).toStartWith("h2 failed: stream error received: connection established in response");
  });

  test("an inner peer that vanishes", async () => {
    const { server, gateway, tape, ended } = await working();
    server.server.close();
    await tape.done.promise;
    await ended;
    await until("the outer stream is gone", () => gateway.server.transports[0]!.h2.openStreams === 0);
  });

  test("an application that vanishes", async () => {
    const { server, gateway, endpoint } = await working();
    endpoint.abort();
    await until("the inner connection is gone", () => server.server.size === 0);
    await until("the outer stream is gone", () => gateway.server.transports[0]!.h2.openStreams === 0);
  });

  test("a gateway that never ends its side is left alone after a while", async () => {
    // As a relay that loses the end of file of the side behind it.
    const server = meshServer(echoing);
    const gateway = new Gateway((stream, endpoint) => {
      stream.respond([[":status", "200"]], false);
      dialTcp({ ip: "127.0.0.1", port: server.port }, undefined, {}, {
        dialed(tcp) {
          endpoint.finish = () => {};
          endpoint.close = () => {};
          new Relay(endpoint, tcp, { relayFinished() {} }, { value: 0 }, { value: 0 });
        },
        dialFailed() {},
      });
    });
    const outer = await gateway.outer();
    await hurried(async () => {
      const tape = tapeOn(await connected(outer));
      tape.say("hello");
      await until("echo", () => tape.text === "hello");
      tape.peer!.finish();
      await until("end", () => tape.finished);
      await until("the outer stream is gone", () => gateway.server.transports[0]!.h2.openStreams === 0);
    });
  });

  test("abandoned at any moment, it reports nothing and leaves nothing", async () => {
    const server = meshServer(echoing);
    const gateway = new Gateway(passOn(server.port));
    await gateway.outer();
    await until("the first stream's connection", () => server.sockets === 1);
    const before = openFdCount();
    const moments = new Set<string>();
    for (let turns = 0; turns < 40; turns++) {
      let told = "";
      const handle = openInnerTunnel(OPTIONS, await gateway.outer(), TARGET, HEADERS, {
        innerConnected: (endpoint) => {
          told = "connected";
          tapeOn(endpoint);
        },
        connectFailed: ({ text }) => {
          told = text;
        },
      });
      for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setImmediate(resolve));
      const heard = told;
      handle.abandon();
      handle.abandon();
      for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
      expect(told).toBe(heard);
      moments.add(told);
    }
    expect([...moments]).toEqual(["", "connected"]);
    await until("no stream is left", () => gateway.server.transports[0]!.h2.openStreams === 1);
    await until("no descriptor is left", () => openFdCount() <= before);
  });
});

test("200 inner tunnels, a few at a time, leave neither descriptors nor memory", async () => {
  const server = meshServer(echoing);
  const gateway = new Gateway(passOn(server.port));
  const round = async (count: number) => {
    for (let i = 0; i < count; i += 10) {
      await Promise.all(Array.from({ length: 10 }, async (_, n) => {
        const tape = tapeOn(await connected(await gateway.outer()));
        tape.push(new Uint8Array(50_000));
        if (n % 3 === 0) tape.peer!.abort();
        else {
          tape.peer!.finish();
          await until("end", () => tape.finished && tape.bytes === 50_000);
        }
      }));
    }
    await until("the inner connections are gone", () => server.server.size === 0 && server.sockets === 0);
    await until("the outer streams are gone", () => gateway.server.transports[0]!.h2.openStreams === 0);
  };
  await round(50);
  const fds = openFdCount();
  Bun.gc(true);
  const rss = process.memoryUsage.rss();
  await round(200);
  await until("no descriptor is left", () => openFdCount() <= fds);
  Bun.gc(true);
  const grown = process.memoryUsage.rss() - rss;
  expect(grown).toBeLessThan(40 << 20);
}, 60_000);
