import { describe, expect, test } from "bun:test";
import { FrameType } from "../../src/http2/frames.ts";
import { DEFAULT_LIMITS, ErrorCode, type Rate } from "../../src/http2/mod.ts";
import { RateGuard } from "../../src/http2/limits.ts";
import { data, frame, GET, headers, HOLD, join, literals, ping, POST, server, settings, uint32 } from "./wire.ts";

const { HEADERS, CONTINUATION, RST_STREAM, PRIORITY, WINDOW_UPDATE } = FrameType;
const rate = (burst: number): Rate => ({ burst, perSecond: 10 });
const base = literals(...GET);

/** How many repetitions of a frame (by its number from 0) a server takes before it says ENHANCE_YOUR_CALM. */
function endures(wire: ReturnType<typeof server>, make: (i: number) => Uint8Array, most: number): number {
  for (let i = 0; i < most; i++) {
    wire.receive(make(i));
    if (wire.goaway === undefined) continue;
    expect(wire.goaway).toBe(ErrorCode.ENHANCE_YOUR_CALM);
    return i;
  }
  return most;
}

describe("floods end the connection with ENHANCE_YOUR_CALM", () => {
  const now = () => 0;
  const limits = {
    peerResets: rate(20),
    provokedResets: rate(20),
    settings: rate(20),
    pings: rate(20),
    emptyData: rate(20),
    ignoredFrames: rate(20),
  };
  const wire = () => server({ limits, now });

  test("rapid reset (CVE-2023-44487)", () => {
    const taken = endures(
      wire(),
      (i) => join(headers(2 * i + 1, 4, ...HOLD), frame(RST_STREAM, 0, 2 * i + 1, uint32(8))),
      100,
    );
    expect(taken).toBe(20);
  });

  test("resets of answered requests are ordinary", () => {
    const answered = server({ limits, now, maxConcurrentStreams: 1000 });
    for (let i = 0; i < 100; i++) {
      const id = 2 * i + 1;
      answered.receive(headers(id, 4, ...HOLD));
      answered.recorder.streams.get(id)!.respond([[":status", "200"]], false);
      answered.receive(frame(RST_STREAM, 0, id, uint32(8)));
    }
    expect(answered.goaway).toBeUndefined();
  });

  test("streams that the peer makes us reset (MadeYouReset, CVE-2025-8671)", () => {
    const byWindow = endures(
      wire(),
      (i) => join(headers(2 * i + 1, 4, ...HOLD), frame(WINDOW_UPDATE, 0, 2 * i + 1, uint32(0))),
      100,
    );
    const byHeaders = endures(wire(), (i) => headers(2 * i + 1, 5, [":method", "GET"]), 100);
    expect([byWindow, byHeaders]).toEqual([20, 20]);
  });

  test("SETTINGS", () => expect(endures(wire(), () => settings([3, 1]), 100)).toBeLessThanOrEqual(20));
  test("PING", () => expect(endures(wire(), () => ping("floodflo"), 100)).toBe(20));
  test("PRIORITY", () => expect(endures(wire(), () => frame(PRIORITY, 0, 1, "\0\0\0\0\x01"), 100)).toBe(20));
  test("unknown frames", () => expect(endures(wire(), () => frame(77, 0, 0, "x"), 100)).toBe(20));
  test("WINDOW_UPDATE for a stream that is gone", () => {
    const after = wire().receive(headers(1, 5, ...GET));
    expect(endures(after, () => frame(WINDOW_UPDATE, 0, 1, uint32(1)), 100)).toBe(20);
  });

  for (const [what, empty] of [["empty", data(1, 0, "")], ["only padding", frame(0, 8, 1, "\x03\0\0\0")]] as const) {
    test(`DATA that is ${what}`, () => {
      expect(endures(wire().receive(headers(1, 4, ...HOLD)), () => empty, 100)).toBe(20);
    });
  }

  test("an empty DATA with END_STREAM is ordinary", () => {
    const taken = endures(wire(), (i) => join(headers(2 * i + 1, 4, ...POST), data(2 * i + 1, 1, "")), 100);
    expect(taken).toBe(100);
  });

  test("CONTINUATION of many frames (CVE-2024-27316)", () => {
    const begun = server({ limits: { headerFrames: 50 } }).receive(frame(HEADERS, 1, 1, base.subarray(0, 1)));
    expect(endures(begun, () => frame(CONTINUATION, 0, 1, ""), 1000)).toBe(49);
  });

  test("CONTINUATION of many octets is refused before it is kept", () => {
    const begun = server({ limits: { headerBlockBytes: 70_000 } }).receive(frame(HEADERS, 1, 1, base));
    const piece = literals(["x-a", "v".repeat(16_000)]);
    expect(endures(begun, () => frame(CONTINUATION, 0, 1, piece), 1000)).toBe(4);
  });

  test("SETTINGS with many entries", () => {
    const wire = server({ limits: { settingsEntries: 10 } });
    wire.receive(settings(...Array.from({ length: 11 }, (): [number, number] => [99, 1])));
    expect(wire.goaway).toBe(ErrorCode.ENHANCE_YOUR_CALM);
  });

  test("answers that nobody reads", () => {
    const wire = server({ limits: { unreadAnswers: 100 } });
    const pings = join(...Array.from({ length: 101 }, () => ping("floodflo")));
    wire.receive(pings.subarray(0, 100 * 17));
    expect(wire.goaway).toBeUndefined();
    wire.receive(pings);
    expect(wire.goaway).toBe(ErrorCode.ENHANCE_YOUR_CALM);
  });
});

describe("rates", () => {
  test("a burst, then so many a second", () => {
    let time = 0;
    const guard = new RateGuard({ burst: 5, perSecond: 2 }, 0);
    const now = () => time;
    const taken = (tries: number) => Array.from({ length: tries }, () => guard.take(now)).filter(Boolean).length;
    expect(taken(10)).toBe(5);
    time = 1000;
    expect(taken(10)).toBe(2);
    time = 1400;
    expect(taken(10)).toBe(0);
    time = 1500;
    expect(taken(10)).toBe(1);
    time = 1_000_000;
    expect(taken(10)).toBe(5);
  });

  test("the defaults leave room for what a good peer does", () => {
    // A client whose process ends takes back all of its streams, and another begins at once.
    expect(DEFAULT_LIMITS.peerResets.burst).toBeGreaterThanOrEqual(2 * 200);
  });
});

describe("header lists that are too large", () => {
  const large: [string, string][] = [...GET, ["x-large", "v".repeat(3000)]];

  test("the request is refused and the connection goes on", () => {
    const wire = server({ maxHeaderListSize: 2000 }).receive(headers(1, 5, ...large));
    expect(wire.reset(1)).toBe(ErrorCode.REFUSED_STREAM);
    expect(wire.recorder.events).toEqual([]);
    expect(wire.receive(headers(3, 5, ...GET)).headerLists(3)).toEqual([[[":status", "200"]]]);
    expect(wire.goaway).toBeUndefined();
  });

  test("the dynamic table stays in step with a refused list", () => {
    const wire = server({ maxHeaderListSize: 200 });
    const indexed = join([0x40, 3], "x-a", [1], "b");
    const filler = literals(...Array.from({ length: 20 }, (): [string, string] => ["x-fill", "v".repeat(30)]));
    wire.receive(frame(HEADERS, 5, 1, join(base, filler, indexed)));
    expect(wire.reset(1)).toBe(ErrorCode.REFUSED_STREAM);
    wire.receive(frame(HEADERS, 5, 3, join(literals([":method", "GET"], [":scheme", "http"], [":path", "/"]), [0xbe])));
    expect(wire.recorder.events[0]).toBe("headers 3 :method=GET :scheme=http :path=/ x-a=b true");
  });

  test("a bomb of references costs no more than the limit", () => {
    const wire = server();
    const entry = join(
      [0x40, 4],
      "bomb",
      [0x7f, 0x80 | (3000 - 127) % 128, Math.floor((3000 - 127) / 128)],
      "v".repeat(3000),
    );
    wire.receive(frame(HEADERS, 5, 1, join(base, entry, new Uint8Array(12_000).fill(0xbe))));
    expect(wire.reset(1)).toBe(ErrorCode.REFUSED_STREAM);
    expect(wire.receive(headers(3, 5, ...GET)).headerLists(3).length).toBe(1);
  });
});
