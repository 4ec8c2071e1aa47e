/**
 * A relay that another process goes on with. It is this process here, through duplicates of the descriptors: for the kernel
 * and the runtime that is the same. What the runtime does with a socket that it lets go of is pinned here too.
 */
import { afterEach, expect, test } from "bun:test";
import { Buffer } from "node:buffer";
import { SOL_SOCKET } from "../../src/linux/constants.ts";
import { closeFd, duplicateFd, listenTcp, openFdCount } from "../../src/linux/mod.ts";
import { requireOption } from "../../src/linux/socket.ts";
import { Endpoint } from "../../src/net/endpoint.ts";
import { Relay } from "../../src/net/relay.ts";
import { suspendRelay, type Suspension } from "../../src/net/suspension.ts";
import { acceptHandlers, adoptHandlers, adoptListener, adoptTcp, dialTcp } from "../../src/net/tcp.ts";

const SO_SNDBUF = 7;

/** One end's application. */
class Peer {
  static readonly handlers: Bun.SocketHandler<Peer> = {
    open(socket) {
      socket.data.socket = socket;
      socket.data.#changed();
    },
    data(socket, chunk) {
      socket.data.bytes += chunk.length;
      socket.data.#chunks.push(Buffer.from(chunk));
      socket.data.#changed();
    },
    drain: (socket) => socket.data.#push(),
    end(socket) {
      socket.data.ended = true;
      socket.data.#changed();
    },
    close(socket) {
      socket.data.closed = true;
      socket.data.#changed();
    },
    error() {},
  };
  socket: Bun.Socket<Peer> | undefined;
  bytes = 0;
  ended = false;
  closed = false;
  readonly #chunks: Buffer[] = [];
  #unsent = new Uint8Array(0);
  #waiting: { readonly when: () => boolean; readonly resolve: () => void }[] = [];

  get text(): string {
    return Buffer.concat(this.#chunks).toString();
  }

  get all(): Buffer {
    return Buffer.concat(this.#chunks);
  }

  send(bytes: Uint8Array): void {
    this.#unsent = Uint8Array.from(bytes);
    this.#push();
  }

  until(when: (peer: Peer) => boolean): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push({ when: () => when(this), resolve });
      this.#changed();
    });
  }

  #push(): void {
    this.#unsent = this.#unsent.subarray(Math.max(0, this.socket?.write(this.#unsent) ?? 0));
  }

  #changed(): void {
    this.#waiting = this.#waiting.filter(({ when, resolve }) => {
      if (!when()) return true;
      resolve();
      return false;
    });
  }
}

const cleanups: (() => void)[] = [];
afterEach(() => cleanups.splice(0).forEach((cleanup) => cleanup()));

interface Rig {
  readonly client: Peer;
  readonly server: Peer;
  readonly relay: Relay;
  readonly finished: Relay[];
}

/** @param sendBuffer of the relay's two sockets */
async function rig(sendBuffer?: number): Promise<Rig> {
  const server = new Peer();
  const target = Bun.listen<Peer>({
    hostname: "127.0.0.1",
    port: 0,
    allowHalfOpen: true,
    socket: {
      ...Peer.handlers,
      open(socket) {
        socket.data = server;
        Peer.handlers.open?.(socket);
      },
    },
  } as Bun.TCPSocketListenOptions<Peer>);
  const address = { ip: "127.0.0.1", port: 0 };
  const listening = listenTcp({ address, backlog: 16, reusePort: false, reuseAddress: true, noDelay: true });
  const finished: Relay[] = [];
  const made = Promise.withResolvers<Relay>();
  const owner = { relayFinished: (relay: Relay) => void finished.push(relay) };
  const proxy = adoptListener(
    listening.fd,
    acceptHandlers((downstream) =>
      dialTcp({ ip: "127.0.0.1", port: target.port }, undefined, {}, {
        dialed(upstream) {
          for (const { fd } of sendBuffer === undefined ? [] : [downstream, upstream]) {
            requireOption(fd, SOL_SOCKET, SO_SNDBUF, sendBuffer as number, "SO_SNDBUF");
          }
          made.resolve(new Relay(downstream, upstream, owner, { value: 0 }, { value: 0 }));
        },
        dialFailed: ({ text }) => made.reject(new Error(text)),
      }), () => {}),
  );
  const client = new Peer();
  const to = { hostname: "127.0.0.1", port: listening.address.port, data: client, allowHalfOpen: true };
  await Bun.connect<Peer>({ ...to, socket: Peer.handlers } as Bun.TCPSocketConnectOptions<Peer>);
  cleanups.push(() => target.stop(true), () => proxy.stop(true), () => client.socket?.terminate());
  await server.until(({ socket }) => socket !== undefined);
  return { client, server, relay: await made.promise, finished };
}

function suspend(relay: Relay): Suspension {
  const suspension = suspendRelay(relay);
  if (suspension === undefined) throw new Error("it cannot be suspended");
  return suspension;
}

/** Goes on with it as another process does. */
async function moved(suspension: Suspension, finished: Relay[]): Promise<Relay> {
  const [downstreamFd, upstreamFd] = suspension.fds.map(duplicateFd) as [number, number];
  const [toDownstream, toUpstream] = suspension.unsent.map((pieces) => Uint8Array.from(Buffer.concat(pieces)));
  suspension.release();
  const handlers = adoptHandlers(() => {});
  const [downstream, upstream] = await Promise.all([
    adoptTcp(downstreamFd, toUpstream as Uint8Array, handlers),
    adoptTcp(upstreamFd, toDownstream as Uint8Array, handlers),
  ]);
  const owner = { relayFinished: (relay: Relay) => void finished.push(relay) };
  return new Relay(downstream, upstream, owner, { value: 0 }, { value: 0 });
}

test("its peers notice nothing, and its owner hears no end", async () => {
  const { client, server, relay, finished } = await rig();
  client.send(Buffer.from("before "));
  await server.until(({ bytes }) => bytes === 7);
  const after: Relay[] = [];
  await moved(suspend(relay), after);
  client.send(Buffer.from("after"));
  await server.until(({ bytes }) => bytes === 12);
  server.send(Buffer.from("answer"));
  await client.until(({ bytes }) => bytes === 6);
  expect([server.text, client.text]).toEqual(["before after", "answer"]);
  client.socket!.shutdown();
  server.socket!.shutdown();
  await client.until(({ ended, closed }) => ended || closed);
  await server.until(({ ended, closed }) => ended || closed);
  expect(finished).toEqual([]);
});

test("what waits in the kernel, unread, is read by whoever goes on", async () => {
  const { client, server, relay, finished } = await rig();
  const suspension = suspend(relay);
  client.send(Buffer.alloc(50_000, "a"));
  client.socket!.shutdown();
  await Bun.sleep(10);
  expect(server.bytes).toBe(0);
  await moved(suspension, finished);
  await server.until(({ ended }) => ended);
  expect(server.bytes).toBe(50_000);
});

test("what goes on here after all ends for its peers when it is cut, also where another process has the descriptors", async () => {
  const { client, server, relay, finished } = await rig();
  const suspension = suspend(relay);
  const elsewhere = suspension.fds.map(duplicateFd);
  suspension.resume();
  client.send(Buffer.from("after"));
  await server.until(({ bytes }) => bytes === 5);
  relay.cut({ text: "policy" });
  await client.until(({ ended, closed }) => ended || closed);
  await server.until(({ ended, closed }) => ended || closed);
  expect(finished).toEqual([relay]);
  elsewhere.forEach(closeFd);
});

test("bytes that were read and not sent go along, and arrive in order, both ways", async () => {
  const { client, server, relay, finished } = await rig(1);
  const bytes = new Uint8Array(1 << 20).map((_, index) => (index * 31 + (index >> 8)) & 0xff);
  server.socket!.pause();
  client.socket!.pause();
  client.send(bytes);
  server.send(bytes);
  let suspension: Suspension | undefined;
  let current = relay;
  // Again and again, as full of bytes as it gets.
  for (let round = 0; round < 5; round++) {
    await Bun.sleep(20);
    suspension = suspend(current);
    if (round === 0) expect(suspension.unsent.every((pieces) => pieces.length > 0)).toBe(true);
    current = await moved(suspension, finished);
    server.socket!.resume();
    client.socket!.resume();
  }
  await server.until((peer) => peer.bytes >= bytes.length);
  await client.until((peer) => peer.bytes >= bytes.length);
  expect(server.all.equals(bytes)).toBe(true);
  expect(client.all.equals(bytes)).toBe(true);
});

test("a direction that had ended before is still ended, the other one open", async () => {
  const { client, server, relay, finished } = await rig();
  client.send(Buffer.from("question"));
  client.socket!.shutdown();
  await server.until(({ ended }) => ended);
  await moved(suspend(relay), finished);
  server.send(Buffer.from("answer"));
  await client.until(({ bytes }) => bytes === 6);
  server.socket!.shutdown();
  await client.until(({ ended, closed }) => ended || closed);
  await Bun.sleep(1);
  expect(finished.map(({ error }) => error)).toEqual([undefined]);
});

test("a direction that ends while nobody reads is ended by whoever goes on", async () => {
  const { client, server, relay, finished } = await rig();
  const suspension = suspend(relay);
  server.socket!.shutdown();
  await Bun.sleep(5);
  await moved(suspension, finished);
  await client.until(({ ended }) => ended);
  client.send(Buffer.from("still heard"));
  await server.until(({ bytes }) => bytes === 11);
});

test("where nobody wants it, it goes on", async () => {
  const { client, server, relay, finished } = await rig();
  const suspension = suspend(relay);
  client.send(Buffer.from("patience"));
  await Bun.sleep(5);
  expect(server.bytes).toBe(0);
  suspension.resume();
  await server.until(({ bytes }) => bytes === 8);
  expect(finished).toEqual([]);
});

test("a peer that resets meanwhile is told only when it goes on here", async () => {
  const { client, server, relay, finished } = await rig();
  const suspension = suspend(relay);
  client.socket!.terminate();
  await Bun.sleep(10);
  expect([finished.length, server.closed]).toEqual([0, false]);
  suspension.resume();
  await server.until(({ ended, closed }) => ended || closed);
});

test("letting go costs no descriptor and closes none but its own", async () => {
  const { client, server, relay, finished } = await rig();
  const before = openFdCount();
  let current = relay;
  for (let round = 0; round < 20; round++) current = await moved(suspend(current), finished);
  expect(openFdCount()).toBe(before);
  client.send(Buffer.from("x"));
  await server.until(({ bytes }) => bytes === 1);
});

test("one that is ending, or whose end is no socket, stays", async () => {
  const { client, relay, finished } = await rig();
  client.socket!.terminate();
  while (finished.length === 0) await Bun.sleep(1);
  expect(suspendRelay(relay)).toBeUndefined();

  class Stream extends Endpoint {
    override deliver(): void {}
    override consumed(): void {}
    override finish(): void {}
    override close(): void {}
    override abort(): void {}
    override joined(): void {}
  }
  const other = await rig();
  const tunnel = new Relay(new Stream(), new Stream(), { relayFinished() {} }, { value: 0 }, { value: 0 });
  expect(suspendRelay(tunnel)).toBeUndefined();
  const half = { downstream: other.relay.downstream, upstream: new Stream() };
  expect(suspendRelay(half as unknown as Relay)).toBeUndefined();
  other.client.send(Buffer.from("goes on"));
  await other.server.until(({ bytes }) => bytes === 7);
});
