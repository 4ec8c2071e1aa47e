import { afterEach, describe, expect, test } from "bun:test";
import { HboneTransport, StreamEndpoint } from "../../src/hbone/mod.ts";
import type { TransportOwner } from "../../src/hbone/transport.ts";
import type { HeaderList } from "../../src/http2/mod.ts";
import { connectPlain, PlainServer } from "./plain_transport.ts";

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

async function until(what: string, when: () => boolean): Promise<void> {
  const deadline = performance.now() + 5000;
  while (!when()) {
    if (performance.now() > deadline) throw new Error(`never happened: ${what}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
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
