import { describe, expect, test } from "bun:test";
import { FrameType, MAX_STREAM_ID, readUint32 } from "../../src/http2/frames.ts";
import { ErrorCode } from "../../src/http2/mod.ts";
import { client, data, frame, GET, headers, HOLD, join, ping, POST, server, settings, uint32 } from "./wire.ts";

const goaway = (last: number, code = 0, debug = "") =>
  frame(FrameType.GOAWAY, 0, 0, join(uint32(last), uint32(code), debug));

describe("a server that ends gracefully (RFC 9113 §6.8)", () => {
  test("two steps: new streams are served after the first, ignored after the second", () => {
    const wire = server().receive(headers(1, 4, ...HOLD));
    wire.connection.goaway();
    wire.connection.goaway();
    wire.read();
    expect(wire.of(FrameType.GOAWAY).map((f) => [readUint32(f.payload, 0), readUint32(f.payload, 4)])).toEqual([
      [MAX_STREAM_ID, 0],
    ]);
    expect(wire.connection.closing).toBe(true);
    wire.receive(headers(3, 5, ...GET));
    expect(wire.headerLists(3)).toEqual([[[":status", "200"]]]);
    wire.connection.finalGoaway();
    wire.read();
    expect(readUint32(wire.of(FrameType.GOAWAY)[1]!.payload, 0)).toBe(3);
    wire.clear().receive(join(headers(5, 4, ...POST), data(5, 1, "ignored"), ping("stillok!")));
    expect(wire.recorder.events).toEqual([]);
    expect(wire.sent.map((f) => f.type)).toEqual([FrameType.PING]);
    expect(wire.connection.drained).toBe(false);
    wire.recorder.streams.get(1)!.respond([[":status", "200"]], true);
    wire.receive(data(1, 1, ""));
    expect(wire.connection.drained).toBe(true);
  });

  test("blocks of ignored streams still go through the decoder", () => {
    const wire = server();
    wire.connection.finalGoaway();
    const indexed = frame(FrameType.HEADERS, 5, 1, join([0x40, 3], "x-a", [1], "b"));
    wire.receive(join(indexed, frame(FrameType.HEADERS, 5, 3, [0xbe])));
    expect(wire.goaway).toBe(0);
    expect(wire.recorder.events).toEqual([]);
  });

  test("the last stream id of a second GOAWAY never rises", () => {
    const wire = server().receive(headers(1, 4, ...HOLD));
    wire.connection.finalGoaway();
    wire.receive(headers(3, 4, ...HOLD));
    wire.connection.finalGoaway(ErrorCode.ENHANCE_YOUR_CALM, "enough");
    wire.read();
    const last = wire.of(FrameType.GOAWAY)[1]!.payload;
    expect([readUint32(last, 0), readUint32(last, 4)]).toEqual([1, ErrorCode.ENHANCE_YOUR_CALM]);
    expect(new TextDecoder().decode(last.subarray(8))).toBe("enough");
  });
});

describe("a client that is told to go away", () => {
  test("streams above the id were not processed and may be retried; others go on", () => {
    const wire = client();
    const [one, two] = [1, 2].map(() => wire.connection.request(HOLD, true, undefined)!);
    wire.receive(goaway(1, 0, "maintenance"));
    expect(wire.recorder.events).toEqual(["reset 3 7 true", "closed 3", "goaway 1 0 maintenance"]);
    expect([one!.state, two!.state]).toEqual(["half-closed-local", "closed"]);
    expect(wire.connection.canRequest).toBe(false);
    expect(wire.connection.request(GET, true, undefined)).toBeUndefined();
    wire.clear().receive(headers(1, 5, [":status", "200"]));
    expect(wire.recorder.events).toEqual(["headers 1 :status=200 true", "closed 1"]);
    expect(wire.connection.drained).toBe(true);
  });

  test("the first step of a graceful end leaves all streams alone", () => {
    const wire = client();
    wire.connection.request(HOLD, true, undefined);
    wire.receive(goaway(MAX_STREAM_ID));
    expect(wire.recorder.events).toEqual([`goaway ${MAX_STREAM_ID} 0 `]);
    expect(wire.connection.openStreams).toBe(1);
    expect(wire.connection.canRequest).toBe(false);
  });

  test("an id above the one before is an error", () => {
    const wire = client().receive(goaway(1)).receive(goaway(3));
    expect(wire.goaway).toBe(ErrorCode.PROTOCOL_ERROR);
  });

  test("a large debug text is cut, not kept", () => {
    const wire = client().receive(join(goaway(0, 2, "x".repeat(10_000)), ping("stillok!")));
    expect(wire.recorder.events[0]!.length).toBeLessThan(300);
    expect(wire.of(FrameType.PING).length).toBe(1);
  });
});

describe("the end of a connection", () => {
  test("a connection error ends every stream, then says why", () => {
    const wire = server().receive(join(headers(1, 4, ...HOLD), headers(3, 4, ...HOLD)));
    wire.clear().receive(settings([2, 7]));
    expect(wire.recorder.events).toEqual([
      "reset 1 1 false",
      "closed 1",
      "reset 3 1 false",
      "closed 3",
      "failed 1 ENABLE_PUSH = 7",
    ]);
    expect(wire.goaway).toBe(ErrorCode.PROTOCOL_ERROR);
    expect(readUint32(wire.of(FrameType.GOAWAY)[0]!.payload, 0)).toBe(3);
    wire.clear().receive(ping("toolate!"));
    expect([wire.recorder.events, wire.sent]).toEqual([[], []]);
  });

  test("the end of I/O ends every stream, once", () => {
    const wire = client();
    const stream = wire.connection.request(POST, false, undefined)!;
    stream.sendData(new Uint8Array(100_000), true);
    wire.connection.transportClosed("the socket closed");
    wire.connection.transportClosed("again");
    expect(wire.connection.endReason).toBe("the socket closed");
    expect(wire.recorder.events).toEqual(["reset 1 10 true", "closed 1"]);
    expect(wire.connection.nextOutput()).toBeUndefined();
    expect(stream.sendData(new Uint8Array(10), false)).toBe(true);
    stream.sendTrailers([]);
    stream.reset(8);
    stream.consume(10);
    wire.connection.receive(ping("toolate!"));
    wire.connection.ping();
    wire.connection.goaway();
    expect(wire.connection.hasOutput).toBe(false);
    expect(wire.connection.canRequest).toBe(false);
    expect(stream.pendingBytes).toBe(0);
  });
});
