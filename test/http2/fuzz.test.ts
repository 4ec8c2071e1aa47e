import { describe, expect, test } from "bun:test";
import { FrameType, PREFACE } from "../../src/http2/frames.ts";
import { Random } from "./random.ts";
import { client, data, frame, GET, headers, HOLD, join, ping, POST, server, settings, uint32, Wire } from "./wire.ts";

/** A sequence of frames, mostly good ones, as a peer could send them. */
function randomFrames(random: Random, mischief: number): Uint8Array {
  const parts: Uint8Array[] = [];
  let next = 1;
  for (let i = 0; i < 40; i++) {
    const stream = 1 + 2 * random.below(Math.max(1, (next + 1) / 2));
    if (random.chance(mischief)) {
      parts.push(frame(random.below(12), random.below(256), random.below(12), random.bytes(random.below(30))));
      continue;
    }
    switch (random.below(9)) {
      case 0:
        parts.push(headers(next, 5, ...GET));
        next += 2;
        break;
      case 1:
      case 2:
        parts.push(headers(next, 4, ...random.pick([POST, HOLD])));
        next += 2;
        break;
      case 3:
      case 4:
        parts.push(data(stream, random.chance(20) ? 1 : 0, random.bytes(random.below(2000))));
        break;
      case 5:
        parts.push(frame(FrameType.DATA, 8, stream, join([5], random.bytes(random.below(50)), "\0\0\0\0\0")));
        break;
      case 6:
        parts.push(ping("fuzzping"));
        break;
      case 7:
        parts.push(settings([4, random.below(100_000)], [1, random.below(5000)]));
        break;
      case 8:
        parts.push(frame(FrameType.WINDOW_UPDATE, 0, random.chance(50) ? 0 : stream, uint32(1 + random.below(9999))));
        break;
    }
  }
  return join(...parts);
}

/** What came of the bytes. When credit is given back depends on the pieces, so WINDOW_UPDATE is left out. */
function outcome(bytes: Uint8Array, split: (at: number) => number): unknown {
  const wire = new Wire("server").receive(join(PREFACE, settings())).clear();
  for (let at = 0; at < bytes.length;) {
    const size = Math.min(bytes.length - at, split(at));
    wire.connection.receive(bytes.slice(at, at + size));
    at += size;
  }
  wire.read();
  return {
    events: wire.recorder.events,
    received: Array.from(wire.recorder.streams.keys(), (id) => [id, wire.recorder.received(id)]),
    sent: wire.summary.filter((line) => !line.startsWith("WINDOW_UPDATE")),
  };
}

describe("pieces of any size give the same events", () => {
  for (const mischief of [0, 3, 20]) {
    test(`${mischief} % of the frames random`, () => {
      for (let seed = 1; seed <= 60; seed++) {
        const random = new Random(seed);
        const bytes = randomFrames(random, mischief);
        const whole = outcome(bytes, () => bytes.length);
        expect({ seed, ...(outcome(bytes, () => 1) as object) }).toEqual({ seed, ...(whole as object) });
        expect({ seed, ...(outcome(bytes, () => 1 + random.below(40)) as object) }).toEqual({
          seed,
          ...(whole as object),
        });
      }
    });
  }
});

describe("nothing that a peer sends throws", () => {
  test("random frames to a server", () => {
    let failed = 0;
    for (let seed = 1; seed <= 400; seed++) {
      const wire = server();
      const random = new Random(seed);
      for (let i = 0; i < 10; i++) wire.receive(randomFrames(random, 50));
      if (wire.goaway !== undefined) failed++;
    }
    expect(failed).toBeGreaterThan(300); // the mischief does reach the checks
  });

  test("random frames to a client with open requests", () => {
    for (let seed = 1; seed <= 400; seed++) {
      const wire = client();
      const random = new Random(seed);
      for (let i = 0; i < 4; i++) wire.connection.request(POST, random.chance(50), undefined);
      for (let i = 0; i < 10; i++) {
        wire.receive(randomFrames(random, 30));
        wire.connection.request(GET, true, undefined);
      }
      expect(wire.connection.openStreams).toBeLessThanOrEqual(14);
    }
  });

  test("random bytes", () => {
    for (let seed = 1; seed <= 300; seed++) {
      const random = new Random(seed);
      const wire = new Wire(random.pick(["server", "client"]));
      for (let i = 0; i < 5; i++) wire.receive(random.bytes(random.below(200)));
    }
  });

  test("a good sequence cut off or with one octet changed", () => {
    for (let seed = 1; seed <= 500; seed++) {
      const random = new Random(seed);
      const bytes = randomFrames(random, 0);
      bytes[random.below(bytes.length)] = random.below(256);
      const wire = server().receive(bytes.subarray(0, random.below(bytes.length)));
      wire.connection.transportClosed("cut off");
      expect(wire.connection.openStreams).toBe(0);
    }
  });
});
