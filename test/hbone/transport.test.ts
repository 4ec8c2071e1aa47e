import { afterEach, describe, expect, test } from "bun:test";
import { HboneTransport, StreamEndpoint } from "../../src/hbone/mod.ts";
import type { TransportOwner } from "../../src/hbone/stream_user.ts";
import type { HeaderList } from "../../src/http2/mod.ts";
import { openFdCount } from "../../src/linux/mod.ts";
import { Relay } from "../../src/net/relay.ts";
import { clientContext, DEFAULT_TLS_POLICY } from "../../src/tls/mod.ts";
import { ForgingCa } from "../identity/forging_ca.ts";
import { MeshServer } from "./mesh_server.ts";
import { connectPlain, PlainServer, SETTINGS } from "./plain_transport.ts";
import { hurried, Tape, tapeOn, until } from "./tape.ts";

const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const cleanup of cleanups.splice(0)) cleanup();
});

const HEADERS: HeaderList = [[":method", "CONNECT"], [":authority", "10.0.0.1:80"]];

/** A client transport to a port, and what its owner heard. */
async function client(port: number) {
  const heard = { closed: 0, goaway: 0, capacity: 0 };
  const owner: TransportOwner = {
    onRequest() {},
    onCapacity: () => void heard.capacity++,
    onGoaway: () => void heard.goaway++,
    onTransportClosed: () => void heard.closed++,
  };
  const transport = await new Promise<HboneTransport>((resolve, reject) => connectPlain(port, owner, resolve, reject));
  cleanups.push(() => transport.close());
  return { transport, heard };
}

/** A peer that reads everything and says nothing. */
function silentPeer(): { port: number; bytes: () => number } {
  let bytes = 0;
  const listener = Bun.listen({
    hostname: "127.0.0.1",
    port: 0,
    socket: {
      data(_, chunk) {
        bytes += chunk.length;
      },
    },
  });
  cleanups.push(() => listener.stop(true));
  return { port: listener.port, bytes: () => bytes };
}

function answering(): PlainServer {
  const server = new PlainServer((stream) => stream.respond([[":status", "200"]], false));
  cleanups.push(() => server.stop());
  return server;
}

describe("keepalive (spec/ztunnel.md §6.2)", () => {
  test("a peer that does not answer a PING within 20 s is gone, and its streams with it", async () => {
    const peer = silentPeer();
    const { transport, heard } = await client(peer.port);
    const failures: string[] = [];
    const endpoint = new StreamEndpoint({
      connected() {},
      connectFailed: ({ text }) => void failures.push(text),
    });
    endpoint.bind(transport.h2.request(HEADERS, false, endpoint)!, undefined);
    const start = performance.now();
    transport.tick(start + 9_000);
    const before = peer.bytes();
    transport.tick(start + 10_500);
    await until("the PING", () => peer.bytes() > before);
    transport.tick(start + 30_000);
    expect(heard.closed).toBe(0);
    transport.tick(start + 30_600);
    expect(heard.closed).toBe(1);
    expect(failures.length).toBe(1);
  });

  test("one that answers lives on", async () => {
    const { transport, heard } = await client(answering().port);
    await until("both SETTINGS", () => transport.h2.settingsReceived && transport.h2.settingsAcknowledged);
    const start = performance.now();
    const before = transport.h2.lastActivity;
    transport.tick(start + 10_500);
    await until("the answer", () => transport.h2.lastActivity > before);
    transport.tick(start + 40_000);
    expect([transport.state, heard.closed]).toEqual(["open", 0]);
  });
});

describe("the end of a transport", () => {
  test("a draining server announces it, serves what runs, and closes with the last stream", async () => {
    const server = answering();
    const { transport, heard } = await client(server.port);
    const connected = Promise.withResolvers<StreamEndpoint>();
    const endpoint = new StreamEndpoint({
      connected: (it) => connected.resolve(it),
      connectFailed: ({ text }) => connected.reject(new Error(text)),
    });
    endpoint.bind(transport.h2.request(HEADERS, false, endpoint)!, undefined);
    await connected.promise;
    const [accepted] = server.transports;
    accepted!.drain();
    await until("GOAWAY", () => heard.goaway > 0);
    expect(transport.h2.canRequest).toBe(false);
    accepted!.tick(performance.now() + 1_500);
    expect(accepted!.state).toBe("closing");
    endpoint.abort();
    await until("both ends closed", () => accepted!.state === "closed" && transport.state === "closed");
  });

  test("what was written last arrives, however slowly the peer reads", async () => {
    const tape = new Tape();
    const server = new PlainServer((stream, endpoint) => {
      stream.respond([[":status", "200"]], false);
      new Relay(endpoint, tape, { relayFinished() {} }, { value: 0 }, { value: 0 });
      endpoint.finish();
    });
    cleanups.push(() => server.stop());
    const { transport, heard } = await client(server.port);
    const connected = Promise.withResolvers<StreamEndpoint>();
    const endpoint = new StreamEndpoint({
      connected: (it) => connected.resolve(it),
      connectFailed: ({ text }) => connected.reject(new Error(text)),
    });
    endpoint.bind(transport.h2.request(HEADERS, false, endpoint)!, undefined);
    const mine = tapeOn(await connected.promise);
    await until("the server's end", () => mine.finished);
    server.transports[0]!.socket.pause();
    const bytes = SETTINGS.streamWindow;
    mine.push(new Uint8Array(bytes));
    transport.drain();
    await until("the socket takes no more", () => transport.blocked);
    endpoint.finish();
    server.transports[0]!.socket.resume();
    await until("all of it, and the end", () => tape.bytes === bytes && tape.finished);
    await until("both ends closed", () => heard.closed === 1 && server.transports[0]!.state === "closed");
  });

  test("the last piece of the last stream is waited for by the close", async () => {
    // The stream has ended and its bytes are with the transport; the peer reads only afterwards.
    const tape = new Tape();
    const server = new PlainServer((stream, endpoint) => {
      stream.respond([[":status", "200"]], false);
      new Relay(endpoint, tape, { relayFinished() {} }, { value: 0 }, { value: 0 });
      endpoint.finish();
    });
    cleanups.push(() => server.stop());
    const { transport } = await client(server.port);
    const connected = Promise.withResolvers<StreamEndpoint>();
    const endpoint = new StreamEndpoint({
      connected: (it) => connected.resolve(it),
      connectFailed: ({ text }) => connected.reject(new Error(text)),
    });
    endpoint.bind(transport.h2.request(HEADERS, false, endpoint)!, undefined);
    const mine = tapeOn(await connected.promise);
    await until("the server's end", () => mine.finished);
    server.transports[0]!.socket.pause();
    // Pieces of less than a window until one of them is the last that the socket leaves over.
    let pushed = 0;
    while (!transport.blocked && pushed < SETTINGS.streamWindow) {
      mine.push(new Uint8Array(64 << 10));
      pushed += 64 << 10;
    }
    expect(transport.blocked).toBe(true);
    transport.endWithLastStream();
    endpoint.finish();
    transport.flush();
    server.transports[0]!.socket.resume();
    await until("all of it, and the end", () => tape.bytes === pushed && tape.finished);
    await until("closed", () => transport.state === "closed");
  });

  test("a peer that reads nothing any more does not hold up the close for ever", async () => {
    const server = answering();
    const { transport, heard } = await client(server.port);
    const endpoint = new StreamEndpoint({ connected() {}, connectFailed() {} });
    endpoint.bind(transport.h2.request(HEADERS, false, endpoint)!, undefined);
    await until("SETTINGS", () => transport.h2.settingsReceived);
    server.transports[0]!.socket.pause();
    const mine = tapeOn(endpoint);
    mine.push(new Uint8Array(SETTINGS.streamWindow));
    await until("the socket takes no more", () => transport.blocked);
    endpoint.abort();
    transport.drain();
    expect([transport.state, heard.closed]).toEqual(["closing", 0]);
    transport.tick(performance.now() + 9_000);
    expect(heard.closed).toBe(0);
    transport.tick(performance.now() + 10_500);
    expect([transport.state, heard.closed]).toEqual(["closed", 1]);
  });

  test("a TLS peer that does not close its side loses the socket after a moment", async () => {
    const ca = new ForgingCa();
    cleanups.push(() => ca.remove());
    const mesh = new MeshServer(await ca.issue("spiffe://cluster.local/ns/a/sa/server"), () => {});
    const certificate = await ca.issue("spiffe://cluster.local/ns/a/sa/client");
    let ended = false;
    const socket = await Bun.connect({
      hostname: "127.0.0.1",
      port: mesh.port,
      allowHalfOpen: true,
      tls: clientContext(certificate, DEFAULT_TLS_POLICY),
      socket: {
        handshake() {},
        data() {},
        end() {
          ended = true;
        },
        error() {},
      },
    });
    cleanups.push(() => socket.terminate());
    await until("accepted", () => mesh.server.size === 1);
    mesh.server.stopListening();
    await hurried(async () => {
      const before = openFdCount();
      mesh.stop();
      await until("our end", () => ended);
      await until("our socket is gone, the peer's still there", () => openFdCount() < before);
    });
  });

  test("nonsense from the peer ends this transport with GOAWAY and no other", async () => {
    const server = answering();
    const { transport: other } = await client(server.port);
    let answer = 0;
    let closed = false;
    await Bun.connect({
      hostname: "127.0.0.1",
      port: server.port,
      socket: {
        open(socket) {
          socket.write("GET / HTTP/1.1\r\n\r\n");
        },
        data(_, chunk) {
          answer += chunk.length;
        },
        close() {
          closed = true;
        },
      },
    });
    await until("the connection to be closed", () => closed);
    expect(answer).toBeGreaterThan(0);
    expect(other.state).toBe("open");
  });

  test("a bug in what uses one stream ends that stream and no other", async () => {
    const server = new PlainServer((stream, _endpoint, headers) => {
      // With a code it counts as an error of the connection: a real bug would go on to the process' handler.
      if (headers.some(([name]) => name === "x-bug")) throw Object.assign(new Error("bug"), { code: "EXPECTED" });
      stream.respond([[":status", "200"]], false);
    });
    cleanups.push(() => server.stop());
    const { transport } = await client(server.port);
    const ask = (headers: HeaderList) =>
      new Promise<string>((resolve) => {
        const endpoint = new StreamEndpoint({
          connected: () => resolve("connected"),
          connectFailed: ({ text }) => resolve(text),
        });
        endpoint.bind(transport.h2.request(headers, false, endpoint)!, undefined);
      });
    expect(await ask(HEADERS)).toBe("connected");
    expect(await ask([...HEADERS, ["x-bug", "1"]])).toContain("unexpected internal error");
    expect(await ask(HEADERS)).toBe("connected");
    expect(transport.h2.openStreams).toBe(2);
  });
});
