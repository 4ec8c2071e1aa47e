import { afterEach, describe, expect, test } from "bun:test";
import { Buffer } from "node:buffer";
import { SOL_SOCKET } from "../../src/linux/constants.ts";
import { listenTcp } from "../../src/linux/mod.ts";
import { requireOption } from "../../src/linux/socket.ts";
import type { SocketAddress } from "../../src/net/address.ts";
import { Relay, type RelayOwner } from "../../src/net/relay.ts";
import { acceptHandlers, adoptListener, dialTcp } from "../../src/net/tcp.ts";

/** What a test's application saw of one connection. */
class Application {
  socket: Bun.Socket<Application> | undefined;
  received: Uint8Array[] = [];
  bytes = 0;
  ended = false;
  closed: { error: Error | undefined } | undefined;
  #waiters: { when: () => boolean; resolve: () => void }[] = [];

  static readonly handlers: Bun.SocketHandler<Application> = {
    open(socket) {
      socket.data.socket = socket;
      socket.data.changed();
    },
    data(socket, chunk) {
      socket.data.received.push(chunk);
      socket.data.bytes += chunk.length;
      socket.data.changed();
    },
    drain(socket) {
      socket.data.changed();
    },
    end(socket) {
      socket.data.ended = true;
      socket.data.changed();
    },
    close(socket, error) {
      socket.data.closed = { error };
      socket.data.changed();
    },
  };

  get text(): string {
    return Buffer.concat(this.received).toString();
  }

  /** The runtime tells a FIN that comes after our own as a close without error. */
  get over(): boolean {
    return this.ended || this.closed !== undefined;
  }

  changed(): void {
    this.#waiters = this.#waiters.filter((waiter) => {
      if (!waiter.when()) return true;
      waiter.resolve();
      return false;
    });
  }

  until(when: () => boolean): Promise<void> {
    if (when()) return Promise.resolve();
    return new Promise((resolve) => this.#waiters.push({ when, resolve }));
  }

  /** Writes all of it, as fast as the other side takes it. */
  async send(bytes: Uint8Array): Promise<void> {
    let offset = 0;
    while (offset < bytes.length) {
      const written = Math.max(0, this.socket!.write(bytes.subarray(offset)));
      offset += written;
      if (offset < bytes.length) {
        let drained = false;
        await this.until(() => drained || (drained = true, false));
      }
    }
  }
}

interface Rig {
  readonly client: Application;
  readonly server: Application;
  readonly finished: Promise<Relay>;
}

const SO_SNDBUF = 7;

const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const cleanup of cleanups.splice(0)) cleanup();
});

/**
 * client → relay → server, all on loopback.
 *
 * @param early what the client sends at once; the relay is made when some of it was read, and its socket towards the server
 * takes little at a time
 */
async function rig(early?: Uint8Array): Promise<Rig> {
  const server = new Application();
  const target = Bun.listen<Application>({
    hostname: "127.0.0.1",
    port: 0,
    allowHalfOpen: true,
    socket: {
      ...Application.handlers,
      open(socket) {
        socket.data = server;
        server.socket = socket;
        server.changed();
      },
    },
  } as Bun.TCPSocketListenOptions<Application>);
  const { promise: finished, resolve } = Promise.withResolvers<Relay>();
  const owner: RelayOwner = { relayFinished: resolve };
  const listening = listenTcp({
    address: { ip: "127.0.0.1", port: 0 },
    backlog: 16,
    reusePort: false,
    reuseAddress: true,
    noDelay: true,
  });
  const destination: SocketAddress = { ip: "127.0.0.1", port: target.port };
  const begun = Promise.withResolvers<void>();
  const handlers = acceptHandlers(async (downstream) => {
    if (early !== undefined) await begun.promise;
    dialTcp(destination, undefined, {}, {
      dialed(upstream) {
        if (early !== undefined) requireOption(upstream.fd, SOL_SOCKET, SO_SNDBUF, 1, "SO_SNDBUF");
        new Relay(downstream, upstream, owner, { value: 0 }, { value: 0 });
      },
      dialFailed: (error) => {
        throw new Error(error.text);
      },
    });
  }, () => {});
  const proxy = adoptListener(listening.fd, {
    ...handlers,
    data(socket, chunk) {
      handlers.data?.(socket, chunk);
      begun.resolve();
    },
  });
  const client = new Application();
  await Bun.connect<Application>({
    hostname: "127.0.0.1",
    port: listening.address.port,
    data: client,
    allowHalfOpen: true,
    socket: Application.handlers,
  } as Bun.TCPSocketConnectOptions<Application>);
  cleanups.push(() => target.stop(true), () => proxy.stop(true), () => client.socket?.end());
  if (early !== undefined) void client.send(early);
  await server.until(() => server.socket !== undefined);
  return { client, server, finished };
}

const MEGABYTES_8 = new Uint8Array(8 << 20).map((_, index) => (index * 31) & 0xff);

describe("relay of two TCP sockets", () => {
  test("half-close by the client leaves the way back open", async () => {
    const { client, server, finished } = await rig();
    client.socket!.write("question");
    client.socket!.shutdown();
    await server.until(() => server.over);
    expect(server.text).toBe("question");
    server.socket!.write("answer after the end of the question");
    server.socket!.shutdown();
    await client.until(() => client.over);
    expect(client.text).toBe("answer after the end of the question");
    const relay = await finished;
    expect(relay.error).toBeUndefined();
    expect([relay.received, relay.sent]).toEqual([8, 36]);
  });

  test("half-close by the server leaves the way forth open", async () => {
    const { client, server, finished } = await rig();
    server.socket!.write("greeting");
    server.socket!.shutdown();
    await client.until(() => client.over);
    expect(client.text).toBe("greeting");
    client.socket!.write("late words");
    client.socket!.shutdown();
    await server.until(() => server.over);
    expect(server.text).toBe("late words");
    expect((await finished).error).toBeUndefined();
  });

  test("bytes cross whole and in order, both ways at once", async () => {
    const { client, server } = await rig();
    await Promise.all([
      client.send(MEGABYTES_8),
      server.send(MEGABYTES_8),
      client.until(() => client.bytes >= MEGABYTES_8.length),
      server.until(() => server.bytes >= MEGABYTES_8.length),
    ]);
    expect(Buffer.concat(server.received).equals(MEGABYTES_8)).toBe(true);
    expect(Buffer.concat(client.received).equals(MEGABYTES_8)).toBe(true);
  });

  test("what came before there was a relay goes one way only, also where the way on is narrow", async () => {
    const early = MEGABYTES_8.subarray(0, 512 << 10);
    const { client, server, finished } = await rig(early);
    await server.until(() => server.bytes >= early.length);
    expect(Buffer.concat(server.received).equals(early)).toBe(true);
    expect(client.bytes).toBe(0);
    client.socket!.shutdown();
    server.socket!.shutdown();
    const relay = await finished;
    expect([relay.received, relay.sent]).toEqual([early.length, 0]);
  });

  test("a reader that stops makes the sender stop", async () => {
    const { client, server } = await rig();
    server.socket!.pause();
    let sent = 0;
    let stalls = 0;
    // Writes until nothing moves for long enough that only a full pipe can be the reason.
    while (stalls < 20) {
      const written = Math.max(0, client.socket!.write(MEGABYTES_8));
      sent += written;
      stalls = written === 0 ? stalls + 1 : 0;
      await Bun.sleep(5);
    }
    // The kernel's buffers of three sockets and one read: far from "as much as there is".
    expect(sent).toBeLessThan(64 << 20);
    server.socket!.resume();
    await server.until(() => server.bytes === sent);
  });

  test("a client that resets closes the server's side and is no error", async () => {
    const { client, server, finished } = await rig();
    client.socket!.write("x");
    await server.until(() => server.bytes === 1);
    client.socket!.terminate();
    await server.until(() => server.over);
    expect((await finished).error).toBeUndefined();
  });

  test("a server that goes away delivers what it had sent", async () => {
    const { client, server, finished } = await rig();
    await server.send(MEGABYTES_8);
    server.socket!.end();
    await client.until(() => client.over);
    expect(client.bytes).toBe(MEGABYTES_8.length);
    client.socket!.shutdown();
    await finished;
  });

  test("a connect that is refused says so", async () => {
    const spare = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
    const { port } = spare;
    spare.stop(true);
    const text = await new Promise<string>((resolve, reject) =>
      dialTcp({ ip: "127.0.0.1", port }, undefined, {}, {
        dialed: () => reject(new Error("connected to a port where nobody listens")),
        dialFailed: (error) => resolve(error.text),
      })
    );
    expect(text).toBe("Connection refused (os error 111)");
  });
});
