import { describe, expect, test } from "bun:test";
import { FrameType, readUint32 } from "../../src/http2/frames.ts";
import { ErrorCode } from "../../src/http2/mod.ts";
import { ReceiveWindow } from "../../src/http2/flow_control.ts";
import { client, data, frame, GET, headers, HOLD, POST, server, settings, SETTINGS_ACK, uint32, Wire } from "./wire.ts";

const { WINDOW_UPDATE, DATA } = FrameType;
const windowUpdate = (stream: number, increment: number) => frame(WINDOW_UPDATE, 0, stream, uint32(increment));
const increments = (wire: Wire, stream: number) =>
  wire.of(WINDOW_UPDATE).filter((f) => f.streamId === stream).map((f) => readUint32(f.payload, 0));

describe("receiving", () => {
  test("a receive window announces halves, and eighths to a peer that has little left", () => {
    const window = new ReceiveWindow(800);
    window.available -= 500;
    expect(window.consume(399)).toBe(0);
    expect(window.consume(1)).toBe(400);
    expect(window.available).toBe(700);
    window.available -= 600;
    expect(window.consume(99)).toBe(0);
    expect(window.consume(1)).toBe(100);
  });

  test("our connection window is raised at the start", () => {
    const wire = new Wire("server", { connectionWindowSize: 16 << 20 }).read();
    expect(wire.summary[0]).toStartWith("SETTINGS 0 0 ");
    expect(increments(wire, 0)).toEqual([(16 << 20) - 65_535]);
  });

  test("DATA beyond the connection window is a connection error", () => {
    const wire = server({ connectionWindowSize: 65_535 });
    wire.recorder.onData = () => {}; // nothing is consumed
    for (let i = 0; i < 4; i++) {
      wire.receive(headers(2 * i + 1, 4, ...HOLD));
      expect(wire.goaway).toBeUndefined();
      wire.receive(data(2 * i + 1, 0, new Uint8Array(16_384)));
    }
    expect(wire.goaway).toBe(ErrorCode.FLOW_CONTROL_ERROR);
  });

  test("DATA beyond the stream window is a stream error, and its bytes are credit again", () => {
    const wire = server({ initialWindowSize: 20_000, connectionWindowSize: 65_535 });
    wire.recorder.onData = () => {};
    wire.receive(headers(1, 4, ...HOLD)).receive(data(1, 0, new Uint8Array(16_384)));
    wire.receive(data(1, 0, new Uint8Array(3617)));
    expect(wire.reset(1)).toBe(ErrorCode.FLOW_CONTROL_ERROR);
    for (let i = 0; i < 10; i++) {
      const id = 3 + 2 * i;
      wire.receive(headers(id, 4, ...HOLD)).receive(data(id, 0, new Uint8Array(16_384)));
      wire.recorder.streams.get(id)!.reset(8);
    }
    expect(wire.read().goaway).toBeUndefined();
  });

  test("before our SETTINGS are acknowledged a peer may use the default window", () => {
    const wire = new Wire("client", { initialWindowSize: 1000 }).receive(settings());
    const stream = wire.connection.request(GET, true, undefined)!;
    wire.receive(headers(1, 4, [":status", "200"])).receive(data(1, 0, new Uint8Array(16_384)));
    expect(wire.reset(stream.id)).toBeUndefined();
    wire.receive(SETTINGS_ACK).receive(data(1, 0, new Uint8Array(1001)));
    expect(wire.reset(stream.id)).toBe(ErrorCode.FLOW_CONTROL_ERROR);
  });

  test("padding is credit at once", () => {
    const wire = server({ initialWindowSize: 1000 });
    wire.receive(headers(1, 4, ...HOLD));
    const padded = new Uint8Array(255).fill(0);
    padded[0] = 254;
    for (let i = 0; i < 40; i++) wire.receive(frame(DATA, 8, 1, padded));
    expect(wire.goaway).toBeUndefined();
    expect(wire.reset(1)).toBeUndefined();
  });

  test("what a reset stream left unconsumed is credit for the connection, once", () => {
    const wire = server({ connectionWindowSize: 65_535 });
    wire.recorder.onData = () => {};
    for (let i = 0; i < 50; i++) {
      const id = 1 + 2 * i;
      wire.receive(headers(id, 4, ...HOLD)).receive(data(id, 0, new Uint8Array(16_000)));
      const stream = wire.recorder.streams.get(id)!;
      stream.consume(5000);
      stream.reset(8);
      stream.consume(16_000);
    }
    const given = increments(wire.read(), 0).reduce((sum, n) => sum + n, 0);
    expect(given).toBeLessThanOrEqual(50 * 16_000);
    expect(given).toBeGreaterThan(50 * 16_000 - 32_768);
  });

  test("a closed stream still gives its credit to the connection, by consume or reset", () => {
    const wire = server({ connectionWindowSize: 65_535 });
    wire.recorder.onData = (stream, _chunk, end) => {
      if (end) stream.respond([[":status", "200"]], true);
    };
    for (let i = 0; i < 20; i++) {
      const id = 1 + 2 * i;
      wire.receive(headers(id, 4, ...HOLD)).receive(data(id, 1, new Uint8Array(16_000)));
      const stream = wire.recorder.streams.get(id)!;
      expect(stream.state).toBe("closed");
      if (i % 2 === 0) stream.consume(16_000);
      else stream.reset(8);
    }
    expect(wire.read().goaway).toBeUndefined();
    expect(wire.of(FrameType.RST_STREAM)).toEqual([]);
  });

  test("bytes for a stream that we have reset are credit", () => {
    const wire = server({ connectionWindowSize: 65_535 });
    wire.receive(headers(1, 4, ...HOLD));
    wire.recorder.streams.get(1)!.reset(8);
    for (let i = 0; i < 20; i++) wire.receive(data(1, 0, new Uint8Array(16_000)));
    expect(wire.goaway).toBeUndefined();
    expect(increments(wire, 0).length).toBeGreaterThan(5);
  });
});

describe("sending", () => {
  const open = (initialWindow: number) => {
    const wire = client();
    wire.receive(settings([4, initialWindow]));
    const stream = wire.connection.request(POST, false, undefined)!;
    return { wire: wire.clear(), stream };
  };

  test("no more than the stream's window, then what is granted", () => {
    const { wire, stream } = open(1000);
    stream.sendData(new Uint8Array(1500), true);
    expect(wire.read().dataLength(1)).toBe(1000);
    expect(stream.pendingBytes).toBe(500);
    expect(wire.connection.hasOutput).toBe(false);
    expect(wire.receive(windowUpdate(1, 200)).dataLength(1)).toBe(1200);
    expect(stream.state).toBe("open");
    wire.receive(windowUpdate(1, 300));
    expect(wire.dataLength(1)).toBe(1500);
    expect(wire.of(DATA).map((f) => f.flags)).toEqual([0, 0, 1]);
    expect(stream.state).toBe("half-closed-local");
  });

  test("no more than the connection's window", () => {
    const { wire, stream } = open(1 << 20);
    stream.sendData(new Uint8Array(100_000), false);
    expect(wire.read().dataLength(1)).toBe(65_535);
    expect(wire.receive(windowUpdate(1, 50_000)).dataLength(1)).toBe(65_535);
    expect(wire.receive(windowUpdate(0, 10)).dataLength(1)).toBe(65_545);
  });

  test("a window that SETTINGS make negative must be filled first (RFC 9113 §6.9.2)", () => {
    const { wire, stream } = open(1000);
    stream.sendData(new Uint8Array(3000), false);
    wire.read();
    wire.receive(settings([4, 400]));
    wire.receive(windowUpdate(1, 600));
    expect(wire.dataLength(1)).toBe(1000);
    expect(wire.receive(windowUpdate(1, 1)).dataLength(1)).toBe(1001);
    expect(wire.receive(settings([4, 500])).dataLength(1)).toBe(1101);
  });

  test("an empty END_STREAM needs no window", () => {
    const { wire, stream } = open(0);
    stream.sendData(new Uint8Array(0), true);
    expect(wire.read().of(DATA).map((f) => f.flags)).toEqual([1]);
  });

  test("frames are as large as the peer takes", () => {
    const { wire, stream } = open(1 << 20);
    stream.sendData(new Uint8Array(40_000), false);
    expect(wire.read().of(DATA).map((f) => f.payload.length)).toEqual([16_384, 16_384, 7232]);
    const large = open(1 << 20);
    large.wire.receive(settings([5, 100_000]));
    large.stream.sendData(new Uint8Array(60_000), false);
    expect(large.wire.read().of(DATA).map((f) => f.payload.length)).toEqual([60_000]);
  });

  test("small chunks that waited share frames, and their bytes do not change", () => {
    const { wire, stream } = open(0);
    const sent: number[] = [];
    for (let i = 0; i < 1000; i++) {
      const chunk = Uint8Array.of(i & 255, (i * 3) & 255, (i * 5) & 255);
      sent.push(...chunk);
      stream.sendData(chunk, false);
    }
    stream.sendTrailers([["x-end", "yes"]]);
    wire.receive(windowUpdate(1, 100_000));
    const frames = wire.of(DATA);
    expect(frames.length).toBe(1);
    expect([...frames[0]!.payload]).toEqual(sent);
    expect(wire.sent.at(-1)!.type).toBe(FrameType.HEADERS);
    expect(wire.sent.at(-1)!.flags).toBe(5);
  });

  test("sendData asks to stop above maxSendBuffer; onWritable comes at half of it", () => {
    const wire = client({ maxSendBuffer: 10_000 });
    wire.receive(settings([4, 0]));
    const stream = wire.connection.request(POST, false, undefined)!;
    expect(stream.sendData(new Uint8Array(10_000), false)).toBe(true);
    expect(stream.sendData(new Uint8Array(1), false)).toBe(false);
    wire.receive(windowUpdate(1, 5000));
    expect(wire.recorder.events).not.toContain("writable 1");
    wire.receive(windowUpdate(1, 1));
    expect(wire.recorder.events.filter((e) => e === "writable 1").length).toBe(1);
  });
});

describe("stalls", () => {
  test("a stream without window is found, with the time since when", () => {
    let time = 1000;
    const wire = client({ now: () => time });
    wire.receive(settings([4, 1000]));
    const stream = wire.connection.request(POST, false, undefined)!;
    const stalled = (before: number) => {
      const found: [number, number][] = [];
      wire.connection.visitStalled(before, (s, since) => found.push([s.id, since]));
      return found;
    };
    stream.sendData(new Uint8Array(1000), false);
    wire.read();
    expect(stalled(9999)).toEqual([]);
    time = 2000;
    stream.sendData(new Uint8Array(5000), false);
    wire.read();
    time = 5000;
    expect(stalled(1999)).toEqual([]);
    expect(stalled(2000)).toEqual([[1, 2000]]);
    wire.receive(windowUpdate(1, 1)); // single bytes are no progress
    expect(stalled(4999)).toEqual([[1, 2000]]);
    wire.receive(windowUpdate(1, 2000));
    expect(stalled(4999)).toEqual([]);
    expect(stream.stalledSince).toBe(5000);
    wire.receive(windowUpdate(1, 9000));
    expect(stalled(9999)).toEqual([]);
  });

  test("the connection's window stalls streams too", () => {
    let time = 1000;
    const wire = client({ now: () => time });
    wire.receive(settings([4, 1 << 20]));
    const stream = wire.connection.request(POST, false, undefined)!;
    stream.sendData(new Uint8Array(100_000), false);
    wire.read();
    time = 3000;
    const found: [number, number][] = [];
    wire.connection.visitStalled(3000, (s, since) => found.push([s.id, since]));
    expect(found).toEqual([[stream.id, 1000]]);
  });
});
