import { afterEach, describe, expect, test } from "bun:test";
import { type ConnectFailure, connectFailure, Pool, type PoolOptions, StreamEndpoint } from "../../src/hbone/mod.ts";
import type { Dialer, PoolTarget } from "../../src/hbone/pool.ts";
import { ErrorCode, type HeaderList } from "../../src/http2/mod.ts";
import { Relay } from "../../src/net/relay.ts";
import { connectPlain, PlainServer } from "./plain_transport.ts";
import { echo as accept, Tape, tapeOn, until } from "./tape.ts";

const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const cleanup of cleanups.splice(0)) cleanup();
});

const HEADERS: HeaderList = [[":method", "CONNECT"], [":authority", "10.0.0.1:80"]];
const OPTIONS: PoolOptions = { maxStreamsPerConnection: 100, unusedReleaseTimeout: 300_000, waitTimeout: 10_000 };

function target(changes: Partial<PoolTarget> = {}): PoolTarget {
  return {
    sourceIdentity: "spiffe://td/ns/a/sa/b",
    sourceIp: "10.0.0.2",
    expectedIdentities: ["spiffe://td/ns/c/sa/d"],
    destination: { ip: "127.0.0.1", port: 15008 },
    ...changes,
  };
}

/** A pool that dials the test server, and counts. */
function pooled(server: PlainServer, options: Partial<PoolOptions> = {}, dialer?: Dialer) {
  const counts = { dials: 0 };
  const pool = new Pool({ ...OPTIONS, ...options }, (to, owner, done, failed) => {
    counts.dials++;
    if (dialer !== undefined) dialer(to, owner, done, failed);
    else connectPlain(server.port, owner, done, (error) => failed(connectFailure(error.message)));
  });
  cleanups.push(() => pool.close(), () => server.stop());
  return { pool, counts };
}

function connect(pool: Pool, to = target()): Promise<StreamEndpoint | ConnectFailure> {
  return new Promise((resolve) => {
    pool.connect(to, HEADERS, { connected: (endpoint) => resolve(endpoint), connectFailed: resolve });
  });
}

describe("pool", () => {
  test("one connection carries the streams of one target", async () => {
    const { pool, counts } = pooled(new PlainServer(accept));
    const endpoints = await Promise.all(Array.from({ length: 50 }, () => connect(pool)));
    expect(endpoints.every((endpoint) => endpoint instanceof StreamEndpoint)).toBe(true);
    expect(counts.dials).toBe(1);
    const tape = tapeOn(endpoints[7] as StreamEndpoint);
    tape.say("hello");
    await until("echo", () => tape.text === "hello");
  });

  test("targets that differ in anything share nothing", async () => {
    const { pool, counts } = pooled(new PlainServer(accept));
    await connect(pool);
    await connect(pool, target({ sourceIp: "10.0.0.3" }));
    await connect(pool, target({ sourceIdentity: "spiffe://td/ns/a/sa/other" }));
    await connect(pool, target({ expectedIdentities: ["spiffe://td/ns/x/sa/d"] }));
    await connect(pool, target({ destination: { ip: "127.0.0.1", port: 15009 } }));
    expect(counts.dials).toBe(5);
  });

  test("a full connection gets a second one beside it and is used again when its streams ended", async () => {
    const { pool, counts } = pooled(new PlainServer(accept), { maxStreamsPerConnection: 4 });
    const first = await Promise.all(Array.from({ length: 4 }, () => connect(pool)));
    expect(counts.dials).toBe(1);
    await connect(pool);
    expect(counts.dials).toBe(2);
    for (const endpoint of first) (endpoint as StreamEndpoint).abort();
    for (let i = 0; i < 7; i++) await connect(pool);
    expect(counts.dials).toBe(2);
  });

  test("the peer's MAX_CONCURRENT_STREAMS counts", async () => {
    const { pool, counts } = pooled(new PlainServer(accept), { maxStreamsPerConnection: 1000 });
    const endpoints = await Promise.all(Array.from({ length: 450 }, () => connect(pool)));
    expect(endpoints.filter((endpoint) => endpoint instanceof StreamEndpoint).length).toBe(450);
    expect(counts.dials).toBe(3); // 200 each
  });

  test("a CONNECT refused before it was looked at goes once more over a fresh connection", async () => {
    let requests = 0;
    const server = new PlainServer((stream, endpoint, headers, transport) => {
      if (requests++ === 0) stream.reset(ErrorCode.REFUSED_STREAM);
      else accept(stream, endpoint, headers, transport);
    });
    const { pool, counts } = pooled(server);
    const tape = tapeOn(await connect(pool) as StreamEndpoint);
    expect([requests, counts.dials]).toEqual([2, 2]);
    tape.say("hello");
    await until("echo", () => tape.text === "hello");
  });

  test("refused twice is a failure", async () => {
    const { pool } = pooled(new PlainServer((stream) => stream.reset(ErrorCode.REFUSED_STREAM)));
    expect(await connect(pool)).toEqual(
      connectFailure(
        "h2 failed: stream error received: refused stream before processing any application logic",
        "H2_HANDSHAKE_FAILURE",
        true,
      ),
    );
  });

  test("a connection lost before the answer is replaced once", async () => {
    let requests = 0;
    const server = new PlainServer((stream, endpoint, headers, transport) => {
      if (requests++ === 0) transport.socket.terminate();
      else accept(stream, endpoint, headers, transport);
    });
    const { pool } = pooled(server);
    const tape = tapeOn(await connect(pool) as StreamEndpoint);
    tape.say("hello");
    await until("echo", () => tape.text === "hello");
  });

  test("an answer other than 200 is the failure", async () => {
    const { pool } = pooled(new PlainServer((stream) => stream.respond([[":status", "401"]], true)));
    expect(await connect(pool)).toEqual(connectFailure("http status: 401 Unauthorized"));
  });

  test("GOAWAY: running streams live on, new ones go elsewhere, the connection closes with the last", async () => {
    const server = new PlainServer(accept);
    const { pool, counts } = pooled(server);
    const old = await connect(pool) as StreamEndpoint;
    const tape = tapeOn(old);
    server.transports[0]!.drain();
    await until("client saw GOAWAY", () => old.stream!.connection.closing);
    const fresh = await connect(pool) as StreamEndpoint;
    expect(counts.dials).toBe(2);
    expect(fresh.stream!.connection).not.toBe(old.stream!.connection);
    tape.say("still here");
    await until("echo over the draining connection", () => tape.text === "still here");
    tape.peer!.finish();
    await until("the draining connection closed", () => pool.size === 1);
  });

  test("a failed dial is told to the one who started it; the next in line dials again", async () => {
    const server = new PlainServer(accept);
    let attempts = 0;
    const { pool, counts } = pooled(server, {}, (_, owner, done, failed) => {
      if (attempts++ === 0) setImmediate(() => failed(connectFailure("io error: no luck")));
      else connectPlain(server.port, owner, done, () => failed(connectFailure("unexpected")));
    });
    const results = await Promise.all([connect(pool), connect(pool), connect(pool)]);
    expect(results[0]).toEqual(connectFailure("io error: no luck"));
    expect(results.slice(1).every((result) => result instanceof StreamEndpoint)).toBe(true);
    expect(counts.dials).toBe(2);
  });

  test("closing the pool fails those who wait and ends those who run", async () => {
    const server = new PlainServer(accept);
    let dialed = 0;
    const { pool } = pooled(server, {}, (to, owner, done) => {
      dialed++;
      if (to.sourceIp === "10.0.0.2") connectPlain(server.port, owner, done, () => {});
    });
    const tape = tapeOn(await connect(pool) as StreamEndpoint);
    const waiting = connect(pool, target({ sourceIp: "10.9.9.9" }));
    expect(dialed).toBe(2);
    pool.close();
    expect(await waiting).toEqual(connectFailure("pool draining"));
    await tape.done.promise;
  });

  test("draining: whoever waits for a connection gets it, running streams live on, and each connection ends with its last", async () => {
    const server = new PlainServer(accept);
    const { pool, counts } = pooled(server);
    const running = await connect(pool) as StreamEndpoint;
    const tape = tapeOn(running);
    const elsewhere = target({ sourceIp: "10.9.9.9" });
    const waiting = connect(pool, elsewhere);
    await until("the dial", () => counts.dials === 2);
    pool.drain();
    const served = await waiting;
    expect(served).toBeInstanceOf(StreamEndpoint);
    const late = await connect(pool, elsewhere); // of a connection that was accepted before
    expect(late).toBeInstanceOf(StreamEndpoint);
    tape.say("still here");
    await until("the echo", () => tape.text === "still here");
    running.abort();
    (served as StreamEndpoint).abort();
    await until("only the late one is left", () => pool.size === 1);
    (late as StreamEndpoint).abort();
    await until("none is left", () => pool.size === 0);
  });

  test("a connection nobody used for long is released", async () => {
    const { pool } = pooled(new PlainServer(accept), { unusedReleaseTimeout: 1 });
    (await connect(pool) as StreamEndpoint).abort();
    await until("released", () => pool.size === 0);
  });

  test("an abandoned request reports nothing and leaves no stream", async () => {
    const server = new PlainServer(accept);
    const { pool } = pooled(server);
    await connect(pool);
    let told = false;
    const tell = () => {
      told = true;
    };
    const endpoint = pool.connect(target(), HEADERS, { connected: tell, connectFailed: tell });
    endpoint.abandon();
    await connect(pool);
    expect(told).toBe(false);
    await until("two streams left", () => server.transports[0]!.h2.openStreams === 2);
  });
});

describe("a destination that is closed", () => {
  const HERE = "127.0.0.1";

  test("running streams live on, new ones go over a new connection, and the old one closes with its last stream", async () => {
    const server = new PlainServer(accept);
    const { pool, counts } = pooled(server);
    const running = tapeOn(await connect(pool) as StreamEndpoint);
    pool.closeDestinations((ip) => ip === HERE);
    const fresh = await connect(pool) as StreamEndpoint;
    expect(counts.dials).toBe(2);
    expect(fresh.stream!.connection).not.toBe((running.peer as StreamEndpoint).stream!.connection);
    running.say("still here");
    await until("echo over the old connection", () => running.text === "still here");
    running.peer!.finish();
    await until("the old connection closed", () => pool.size === 1);
    await connect(pool);
    expect(counts.dials).toBe(2);
  });

  test("an idle connection closes at once, other destinations and ports of theirs do not", async () => {
    const { pool, counts } = pooled(new PlainServer(accept));
    const other = target({ destination: { ip: "127.0.0.2", port: 15008 } });
    const port = target({ destination: { ip: HERE, port: 15009 } });
    for (const to of [target(), other, port]) (await connect(pool, to) as StreamEndpoint).abort();
    expect([pool.size, counts.dials]).toEqual([3, 3]);
    pool.closeDestinations((ip) => ip === "10.1.1.1");
    pool.closeDestinations((ip) => ip === HERE);
    await until("both connections to it closed", () => pool.size === 1);
    await connect(pool, other);
    expect(counts.dials).toBe(3);
    await connect(pool, target());
    expect(counts.dials).toBe(4);
  });

  test("who waits for a dial that runs is served by it; nobody after", async () => {
    const server = new PlainServer(accept);
    const { pool, counts } = pooled(server, { maxStreamsPerConnection: 2 });
    const waiting = [connect(pool), connect(pool), connect(pool)];
    pool.closeDestinations((ip) => ip === HERE);
    const after = connect(pool);
    const endpoints = await Promise.all([...waiting, after]);
    expect(endpoints.every((endpoint) => endpoint instanceof StreamEndpoint)).toBe(true);
    const connections = endpoints.map((endpoint) => (endpoint as StreamEndpoint).stream!.connection);
    expect(connections.slice(0, 3)).not.toContain(connections[3]!);
    expect(counts.dials).toBe(3); // two and one of those who waited, and one
    for (const endpoint of endpoints.slice(0, 3)) (endpoint as StreamEndpoint).abort();
    await until("only the new connection is left", () => pool.size === 1);
  });

  test("closing the pool ends what runs there too, and its CONNECTs are given up like others", async () => {
    const { pool } = pooled(
      new PlainServer((stream, endpoint, headers, transport) => {
        if (transport.h2.openStreams === 1) accept(stream, endpoint, headers, transport);
      }),
    );
    const running = tapeOn(await connect(pool) as StreamEndpoint);
    const unanswered = connect(pool);
    pool.closeDestinations((ip) => ip === HERE);
    pool.tick(performance.now() + 31_000);
    expect(await unanswered).toEqual(connectFailure("h2 failed: no answer to CONNECT within 30 s"));
    pool.close();
    await running.done.promise;
    expect(pool.size).toBe(0);
  });
});

describe("keys", () => {
  test("names with the separators of lists in them are not taken for lists", async () => {
    const { pool, counts } = pooled(new PlainServer(accept));
    await connect(pool, target({ expectedIdentities: ["a", "b"] }));
    await connect(pool, target({ expectedIdentities: ["a,b"] }));
    await connect(pool, target({ expectedIdentities: ["a|b"] }));
    await connect(pool, target({ expectedIdentities: [] }));
    expect(counts.dials).toBe(4);
  });

  test("100 sources at once: each has connections of its own, with as many streams as are allowed", async () => {
    const server = new PlainServer(accept);
    const { pool, counts } = pooled(server, { maxStreamsPerConnection: 10 });
    const SOURCES = 100;
    const STREAMS = 25;
    const tapes = await Promise.all(
      Array.from({ length: SOURCES * STREAMS }, async (_, i) => {
        const endpoint = await connect(pool, target({ sourceIp: `10.0.0.${i % SOURCES}` }));
        if (!(endpoint instanceof StreamEndpoint)) throw new Error(endpoint.text);
        const tape = tapeOn(endpoint);
        tape.say(`stream ${i}`);
        return tape;
      }),
    );
    await until("every echo", () => tapes.every((tape, i) => tape.text === `stream ${i}`));
    expect(counts.dials).toBe(SOURCES * Math.ceil(STREAMS / 10));
    const perConnection = new Map<unknown, Set<number>>();
    tapes.forEach((tape, i) => {
      const { connection } = (tape.peer as StreamEndpoint).stream!;
      const sources = perConnection.get(connection) ?? new Set();
      perConnection.set(connection, sources.add(i % SOURCES));
      expect(connection.openStreams).toBeLessThanOrEqual(10);
    });
    expect([...perConnection.values()].every(({ size }) => size === 1)).toBe(true);
    for (const tape of tapes) tape.peer!.finish();
    await until("every end", () => tapes.every(({ finished }) => finished));
    await until("no stream is left", () => server.transports.every(({ h2 }) => h2.openStreams === 0));
    expect(pool.size).toBe(counts.dials);
  }, 30_000);

  test("beyond the limit the connection that nobody used for longest goes", async () => {
    const { pool, counts } = pooled(new PlainServer(accept), { maxConnections: 3 });
    const to = (i: number) => target({ sourceIp: `10.0.0.${i}` });
    for (let i = 0; i < 3; i++) (await connect(pool, to(i)) as StreamEndpoint).abort();
    (await connect(pool, to(0)) as StreamEndpoint).abort(); // 1 is the oldest now
    (await connect(pool, to(3)) as StreamEndpoint).abort();
    await until("one went", () => pool.size === 3);
    for (const i of [0, 2, 3]) await connect(pool, to(i));
    expect(counts.dials).toBe(4);
    await connect(pool, to(1));
    expect(counts.dials).toBe(5);
  });

  test("one that is in use is released only when its last stream has ended", async () => {
    const { pool, counts } = pooled(new PlainServer(accept), { unusedReleaseTimeout: 60_000 });
    const tape = tapeOn(await connect(pool) as StreamEndpoint);
    pool.tick(performance.now() + 61_000);
    tape.say("held");
    await until("echo", () => tape.text === "held");
    expect(pool.size).toBe(1);
    await connect(pool);
    expect(counts.dials).toBe(2);
    tape.peer!.abort();
    await until("released", () => pool.size === 1);
  });
});

describe("failures and other endpoints", () => {
  const answers: [status: string, text: string, retryable: boolean][] = [
    ["400", "http status: 400 Bad Request", false],
    ["401", "http status: 401 Unauthorized", false],
    ["403", "http status: 403 Forbidden", false],
    ["404", "http status: 404 Not Found", false],
    ["503", "http status: 503 Service Unavailable", true],
    ["599", "http status: 599", false],
  ];
  for (const [status, text, retryable] of answers) {
    test(`an answer of ${status} is ${retryable ? "" : "not "}worth another one`, async () => {
      const { pool } = pooled(new PlainServer((stream) => stream.respond([[":status", status]], true)));
      expect(await connect(pool)).toEqual({ text, flag: "CONNECT", retryable });
    });
  }

  test("a reset is; silence and the end of the pool are not", async () => {
    const { pool: resetting } = pooled(new PlainServer((stream) => stream.reset(ErrorCode.INTERNAL_ERROR)));
    expect(await connect(resetting)).toMatchObject({ flag: "H2_HANDSHAKE_FAILURE", retryable: true });
    const { pool: silent, counts } = pooled(new PlainServer(() => {}));
    const first = connect(silent);
    await until("the dial", () => counts.dials === 1 && silent.size === 1);
    silent.tick(performance.now() + 31_000);
    expect(await first).toMatchObject({ retryable: false });
    const second = connect(silent);
    silent.close();
    expect(await second).toEqual(connectFailure("pool draining"));
    expect(await connect(silent)).toEqual(connectFailure("pool draining"));
    expect(counts.dials).toBe(1);
  });
});

describe("readers that do not read", () => {
  /** A server whose first four streams are never read, and a pool with these four filled to the brim. */
  async function clogged() {
    const stuck: Tape[] = [];
    const server = new PlainServer((stream, endpoint, headers, transport) => {
      if (stuck.length === 4) return accept(stream, endpoint, headers, transport);
      stream.respond([[":status", "200"]], false);
      const tape = new Tape();
      tape.hold = true;
      stuck.push(tape);
      new Relay(endpoint, tape, { relayFinished() {} }, { value: 0 }, { value: 0 });
    });
    const { pool, counts } = pooled(server);
    const senders: Tape[] = [];
    for (let i = 0; i < 4; i++) senders.push(tapeOn(await connect(pool) as StreamEndpoint));
    const other = tapeOn(await connect(pool) as StreamEndpoint);
    for (const sender of senders) sender.push(new Uint8Array(5 << 20));
    await until(
      "the connection's window is used up",
      () => stuck.reduce((sum, { bytes }) => sum + bytes, 0) === 16 << 20,
    );
    return { server, pool, counts, other, stuck };
  }

  test("new connections take another tunnel", async () => {
    const { pool, counts, other } = await clogged();
    other.say("waits for window");
    const { connection } = (other.peer as StreamEndpoint).stream!;
    await until(
      "the tunnel is known to be stalled",
      () => connection.stalledSince !== 0 && performance.now() - connection.stalledSince > 300,
    );
    const fresh = tapeOn(await connect(pool) as StreamEndpoint);
    fresh.say("free");
    await until("echo over the second tunnel", () => fresh.text === "free");
    expect(counts.dials).toBe(2);
  });

  test("the one that holds most is cut after a while, and the others move again", async () => {
    const { server, other, stuck } = await clogged();
    other.say("waits for window");
    const now = performance.now();
    server.transports[0]!.tick(now);
    server.transports[0]!.tick(now + 9_000);
    expect(stuck.filter(({ closed }) => closed).length).toBe(0);
    server.transports[0]!.tick(now + 11_000);
    expect(stuck.filter(({ closed }) => closed).length).toBe(1);
    await until("echo over the same tunnel", () => other.text === "waits for window");
  });
});

describe("stream as an end of a relay", () => {
  test("a reader that stops holds at most a window; the rest waits at the sender", async () => {
    let server: Tape | undefined;
    const { pool } = pooled(
      new PlainServer((stream, endpoint) => {
        stream.respond([[":status", "200"]], false);
        server = new Tape();
        server.hold = true;
        new Relay(endpoint, server, { relayFinished() {} }, { value: 0 }, { value: 0 });
      }),
    );
    const client = tapeOn(await connect(pool) as StreamEndpoint);
    const chunk = new Uint8Array(256 << 10);
    let pushed = 0;
    // As a socket does: reads on only when what it read has left.
    for (let turns = 0; turns < 2000 && pushed < (64 << 20); turns++) {
      while (client.inFlight === 0) {
        client.push(chunk);
        pushed += chunk.length;
      }
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(server!.bytes).toBe(4 << 20);
    expect(pushed).toBeLessThanOrEqual((4 << 20) + (1 << 20));
    server!.release();
    await until("the rest arrives", () => server!.bytes === pushed);
  });

  test("many senders of much, in pieces of all sizes, never stall", async () => {
    const { pool } = pooled(new PlainServer(accept));
    const TOTAL = 12 << 20;
    let seed = 7;
    const random = (below: number) => (seed = (seed * 1103515245 + 12345) & 0x7fffffff) % below;
    const tapes = await Promise.all(
      Array.from({ length: 6 }, async () => tapeOn(await connect(pool) as StreamEndpoint)),
    );
    const left = tapes.map(() => TOTAL);
    await until("everything echoed", () => {
      tapes.forEach((tape, i) => {
        // As a paused socket: nothing more before what was read has left.
        while (tape.inFlight === 0 && left[i]! > 0) {
          const size = Math.min(left[i]!, 1 + random(600 << 10));
          left[i]! -= size;
          tape.push(new Uint8Array(size));
        }
      });
      return tapes.every((tape) => tape.bytes === TOTAL);
    });
  }, 20_000);

  test("bytes that leave after their stream has ended still give the connection its window back", async () => {
    const held: Tape[] = [];
    const { pool, counts } = pooled(
      new PlainServer((stream, endpoint) => {
        stream.respond([[":status", "200"]], false);
        const tape = new Tape();
        tape.hold = true;
        held.push(tape);
        new Relay(endpoint, tape, { relayFinished() {} }, { value: 0 }, { value: 0 });
      }),
    );
    const MEGABYTE = 1 << 20;
    // Three times the connection's window in all.
    for (let i = 0; i < 48; i++) {
      const endpoint = await connect(pool) as StreamEndpoint;
      const client = tapeOn(endpoint);
      client.push(new Uint8Array(MEGABYTE));
      endpoint.finish();
      const tape = held[i]!;
      await until(`megabyte ${i}`, () => tape.bytes === MEGABYTE && tape.finished);
      tape.peer!.finish();
      await until("the stream has ended", () => endpoint.closed && (tape.peer as StreamEndpoint).closed);
      tape.release();
    }
    expect(counts.dials).toBe(1);
  });

  test("both directions end one by one", async () => {
    const { pool } = pooled(new PlainServer(accept));
    const endpoint = await connect(pool) as StreamEndpoint;
    const tape = tapeOn(endpoint);
    tape.say("last words");
    endpoint.finish();
    await tape.done.promise;
    expect(tape.text).toBe("last words");
    await until("stream closed", () => endpoint.closed);
  });

  test("other streams go on while one is stalled", async () => {
    const stalled: Tape[] = [];
    const server = new PlainServer((stream, endpoint, headers, transport) => {
      if (stalled.length > 0) return accept(stream, endpoint, headers, transport);
      stream.respond([[":status", "200"]], false);
      const tape = new Tape();
      tape.hold = true;
      stalled.push(tape);
      new Relay(endpoint, tape, { relayFinished() {} }, { value: 0 }, { value: 0 });
    });
    const { pool } = pooled(server);
    const stuck = tapeOn(await connect(pool) as StreamEndpoint);
    stuck.push(new Uint8Array(8 << 20));
    await until("a window full", () => stalled[0]!.bytes === 4 << 20);
    const free = tapeOn(await connect(pool) as StreamEndpoint);
    free.say("past the stalled one");
    await until("echo", () => free.text === "past the stalled one");
  });
});
