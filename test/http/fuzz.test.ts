import { describe, expect, test } from "bun:test";
import { type HttpServerEndpoint, serveHttp1, serveHttp2, type ServerStream } from "../../src/http/mod.ts";
import { PREFACE } from "../../src/http2/frames.ts";
import { data, frame, GET, headers, join, POST, settings } from "../http2/wire.ts";
import { Random } from "../http2/random.ts";
import { RecordingHandler, responseOf, type SeenRequest } from "./exchanges.ts";
import { MemoryEndpoint, octets, settled } from "./memory_endpoint.ts";

const CASES = 150;

/** Notes what pieces hold when they are delivered: they must never change afterwards. */
class Ledger extends MemoryEndpoint {
  readonly sums: number[] = [];
  override deliver(chunk: Uint8Array): void {
    this.sums.push(Bun.hash.crc32(chunk));
    super.deliver(chunk);
  }
}

/** Answers as a moody application does: at once, later, in pieces, or not at all. */
class Moody {
  readonly later: (() => void)[] = [];
  readonly handler: RecordingHandler;
  constructor(random: Random) {
    this.handler = new RecordingHandler((request) => {
      const act = () => this.#answer(random, request);
      request.consumes = random.chance(80);
      if (random.chance(50)) act();
      else this.later.push(act);
    });
  }
  #answer(random: Random, request: SeenRequest): void {
    if (request.reset !== undefined) return;
    const { stream } = request;
    switch (random.below(5)) {
      case 0:
        request.respond(200, "hello");
        break;
      case 1:
        stream.respond(responseOf(200), true);
        break;
      case 2:
        stream.respond(responseOf(200), false);
        stream.sendData(random.bytes(random.below(40_000)), false);
        this.later.push(() => this.#end(random, stream));
        break;
      case 3:
        stream.respond(responseOf(103), false);
        stream.respond(responseOf(404, [["x", "y"]]), false);
        stream.sendTrailers([["grpc-status", "5"]]);
        break;
      case 4:
        stream.reset(2);
    }
    if (request.owed > 0) stream.consume(request.owed);
  }
  #end(random: Random, stream: ServerStream): void {
    if (random.chance(50)) stream.sendTrailers([["a", "b"]]);
    else stream.sendData(random.bytes(random.below(1000)), true);
  }
}

/** Lets a client send these bytes and leave; then nothing may be left over. */
async function run(
  random: Random,
  make: (handler: RecordingHandler) => HttpServerEndpoint,
  bytes: Uint8Array,
): Promise<RecordingHandler> {
  const moody = new Moody(random);
  const server = make(moody.handler);
  const wire = new Ledger();
  wire.join(server);
  wire.automatic = random.chance(70);
  for (let at = 0; at < bytes.length && !wire.closed;) {
    const size = 1 + random.below(Math.min(bytes.length - at, random.chance(30) ? 5 : 3_000));
    wire.arrive(bytes.slice(at, at + size));
    at += size;
    if (random.chance(20)) await Promise.resolve();
    if (random.chance(20)) moody.later.shift()?.();
    if (random.chance(20)) wire.release(random.below(5_000));
  }
  for (let act = moody.later.shift(); act !== undefined; act = moody.later.shift()) act();
  wire.release();
  await settled();
  if (random.chance(50)) wire.arriveEnd();
  await settled();
  if (!wire.closed) wire.vanish();
  await settled();
  const { handler } = moody;
  expect(handler.closed).toBe(1);
  expect(server.active).toBe(0);
  expect(wire.unread).toBe(0);
  expect(wire.pieces.map((piece) => Bun.hash.crc32(piece))).toEqual(wire.sums);
  for (const request of handler.requests) {
    const told = request.body.length;
    request.stream.sendData(octets("late"), true); // of no effect, and no harm
    request.stream.consume(1_000);
    expect(request.body.length).toBe(told);
  }
  return handler;
}

function mutate(random: Random, bytes: Uint8Array, percent: number): Uint8Array {
  if (!random.chance(percent)) return bytes;
  const mutated = bytes.slice();
  for (let i = 1 + random.below(4); i > 0; i--) mutated[random.below(mutated.length)] = random.below(256);
  return mutated;
}

function conversation(random: Random): Uint8Array {
  const parts: Uint8Array[] = [];
  let id = 1;
  for (let i = 0; i < 30; i++) {
    const known = 1 + 2 * random.below((id + 1) / 2);
    switch (random.below(7)) {
      case 0:
      case 1:
        parts.push(headers(id, 5, ...GET));
        id += 2;
        break;
      case 2:
        parts.push(headers(id, 4, ...POST));
        id += 2;
        break;
      case 3:
        parts.push(data(known, random.chance(40) ? 1 : 0, random.bytes(random.below(8_000))));
        break;
      case 4:
        parts.push(headers(known, 5, ["x-sum", "1"]));
        break;
      case 5:
        parts.push(frame(3, 0, known, new Uint8Array([0, 0, 0, 8]))); // RST_STREAM
        break;
      case 6:
        parts.push(frame(8, 0, random.chance(50) ? 0 : known, new Uint8Array([0, 0, 80, random.below(256)])));
    }
  }
  return join(PREFACE, settings([4, 1 + random.below(70_000)]), ...parts.map((part) => mutate(random, part, 6)));
}

const REQUESTS = [
  "GET /a HTTP/1.1\r\nhost: w\r\n\r\n",
  "GET /b HTTP/1.1\r\nhost: w\r\nconnection: close\r\n\r\n",
  "HEAD / HTTP/1.1\r\nhost: w\r\n\r\n",
  "POST / HTTP/1.1\r\nhost: w\r\ncontent-length: 11\r\n\r\nhello world",
  "POST / HTTP/1.1\r\nhost: w\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n3;x=y\r\nabc\r\n0\r\nx-sum: 1\r\n\r\n",
  "POST / HTTP/1.1\r\nhost: w\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\nab",
  "GET /ws HTTP/1.1\r\nhost: w\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
  "GET / HTTP/1.0\r\n\r\n",
];

describe("fuzz", () => {
  test("HTTP/2 server: frames, some of them wrong, cut anywhere", async () => {
    let served = 0;
    for (let seed = 1; seed <= CASES; seed++) {
      const random = new Random(seed);
      const handler = await run(random, (handler) => serveHttp2({}, handler), conversation(random));
      served += handler.requests.length;
    }
    expect(served).toBeGreaterThan(CASES);
  });

  test("HTTP/1 server: requests, some of them wrong, cut anywhere", async () => {
    let served = 0;
    for (let seed = 1; seed <= CASES; seed++) {
      const random = new Random(seed + 1_000);
      const parts = Array.from({ length: 12 }, () => mutate(random, octets(random.pick(REQUESTS)), 10));
      const make = (handler: RecordingHandler) => serveHttp1({ acceptHttp10: random.chance(50) }, handler);
      served += (await run(random, make, join(...parts))).requests.length;
    }
    expect(served).toBeGreaterThan(CASES);
  });
});
