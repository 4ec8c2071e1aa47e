import { describe, expect, test } from "bun:test";
import { ErrorCode } from "../../src/http2/mod.ts";
import { bytesOf } from "./bytes.ts";
import { failure, ManualClock, Recorder } from "./client.ts";
import { fixture, outcome, turns, until } from "./fixture.ts";
import { echo, type TestServerOptions } from "./server.ts";

const { channel, server: serverOf } = await fixture();

describe("keepalive", () => {
  /** A stream on a connection whose time we make. */
  async function streaming(options: TestServerOptions = {}) {
    const clock = new ManualClock();
    const server = serverOf({ message: echo, serve: (it) => it.path === "/t.S/Stream" && it.accept(), ...options });
    const to = channel(server.port, { clock });
    const seen = new Recorder();
    const stream = to.stream("/t.S/Stream", seen);
    await seen.until(() => seen.events.includes("open"));
    await server.until(() => server.calls.length === 1);
    return { clock, server, to, seen, stream, connection: server.connections[0]! };
  }

  test("asks after 30 s of silence while there are streams, again and again", async () => {
    const { clock, server, seen, connection } = await streaming();
    clock.advance(29_000);
    await turns();
    expect(connection.pings).toBe(0);
    for (let i = 1; i <= 3; i++) {
      clock.advance(30_000);
      await server.until(() => connection.pings === i);
      await until(() => clock.pending.length > 0);
      await pong(clock);
    }
    expect(seen.over).toBe(false);
  });

  test("asks nothing where there are no streams", async () => {
    const { clock, server, stream, seen, connection } = await streaming();
    stream.cancel();
    await seen.ended();
    await server.until(() => server.calls[0]?.reset !== undefined);
    clock.advance(300_000);
    await turns();
    expect(connection.pings).toBe(0);
    expect(clock.pending).toEqual([]);
  });

  test("gives up a server that does not answer within 10 s; the next call finds another", async () => {
    const { clock, server, to, seen, connection } = await streaming();
    const { socket } = connection;
    socket.pause(); // deaf from here on
    clock.advance(30_000);
    await turns();
    clock.advance(10_000);
    await seen.ended();
    expect(seen.events.at(-1)).toMatch(/^end protocol 14: lost the connection to .*: keepalive timed out$/);
    expect(await outcome(to)).toBe("answered hello");
    expect(server.connections.length).toBe(2);
  });

  test("a server that has too many of them gets half as many from the next connections", async () => {
    const { clock, server, to, connection } = await streaming();
    const goneWith = async (one: typeof connection, words: string) => {
      one.h2.finalGoaway(ErrorCode.ENHANCE_YOUR_CALM, words);
      one.flush();
      one.socket.end();
      await server.until(() => one.closed);
    };
    /** The next connection, whose only timer is that of its next PING. */
    const next = async () => {
      const seen = new Recorder();
      to.stream("/t.S/Stream", seen);
      await seen.until(() => seen.events.includes("open"));
      return server.connections.at(-1)!;
    };
    await goneWith(connection, "too_many_pings");
    const second = await next();
    expect(second).not.toBe(connection);
    expect(clock.pending).toEqual([60_000]);
    await goneWith(second, "another reason");
    const third = await next();
    expect(clock.pending).toEqual([60_000]);
    await goneWith(third, "too_many_pings");
    await next();
    expect(clock.pending).toEqual([120_000]);
  });

  test("a call that nothing answers costs its connection the trust", async () => {
    const { clock, server, to, stream, seen, connection } = await streaming();
    stream.cancel();
    await seen.ended();
    await server.until(() => server.calls[0]?.reset !== undefined);
    connection.socket.pause();
    const told = failure(to.unary("/t.S/M", bytesOf("x"), { timeoutMs: 5_000 }));
    await turns();
    clock.advance(5_000);
    expect(await told).toBe("protocol 4: no answer within 5000 ms");
    expect(await outcome(to)).toBe("answered hello");
    expect(server.connections.length).toBe(2);
  });

  /** Lets the answer to a PING arrive: the clock must have moved for it to count. */
  async function pong(clock: ManualClock): Promise<void> {
    clock.advance(1);
    await turns();
  }
});
