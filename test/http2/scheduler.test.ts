import { describe, expect, test } from "bun:test";
import { FrameType } from "../../src/http2/frames.ts";
import { OutputQueue } from "../../src/http2/output.ts";
import { writeData } from "../../src/http2/frame_writer.ts";
import { Random } from "./random.ts";
import { client, frame, join, POST, settings, uint32 } from "./wire.ts";

const windowUpdate = (stream: number, increment: number) =>
  frame(FrameType.WINDOW_UPDATE, 0, stream, uint32(increment));

/** A client with open streams of unlimited stream windows; the connection's window is 65 535. */
function manyStreams(count: number) {
  const wire = client({ maxSendBuffer: 1 << 30 });
  wire.receive(settings([4, 2 ** 31 - 1]));
  const streams = Array.from({ length: count }, () => wire.connection.request(POST, false, undefined)!);
  return { wire: wire.read().clear(), streams };
}

describe("fairness", () => {
  test("streams that wait get equal shares of the connection's window", () => {
    const { wire, streams } = manyStreams(20);
    for (const stream of streams) stream.sendData(new Uint8Array(1 << 20), false);
    wire.receive(windowUpdate(0, 20 * 100_000));
    const shares = streams.map((stream) => wire.dataLength(stream.id));
    expect(shares.reduce((sum, n) => sum + n, 0)).toBe(65_535 + 20 * 100_000);
    // The first one had the window to itself when it began.
    expect(Math.max(...shares.slice(1)) - Math.min(...shares)).toBeLessThanOrEqual(2 * 16_384);
  });

  test("a small stream does not wait behind a large one", () => {
    const { wire, streams } = manyStreams(2);
    wire.receive(windowUpdate(0, 1 << 30));
    streams[0]!.sendData(new Uint8Array(32 << 20), true);
    streams[1]!.sendData(new Uint8Array(100), true);
    let before = 0;
    for (let piece = wire.connection.nextOutput(); piece !== undefined; piece = wire.connection.nextOutput()) {
      if (streams[1]!.state === "half-closed-local") break;
      before += piece.length;
    }
    expect(before).toBeLessThan(1 << 20);
  });

  test("no stream starves while others always have more", () => {
    const random = new Random(3);
    const { wire, streams } = manyStreams(50);
    wire.receive(windowUpdate(0, 1 << 30));
    for (let round = 0; round < 40; round++) {
      // The same greedy half keeps its queues full; the others want little, from time to time.
      for (const stream of streams.slice(0, 25)) {
        if (stream.pendingBytes < 500_000) stream.sendData(new Uint8Array(500_000), false);
      }
      const modest = streams[25 + random.below(25)]!;
      modest.sendData(new Uint8Array(5000), false);
      let taken = 0;
      while (modest.pendingBytes > 0) taken += wire.connection.nextOutput()!.length;
      expect(taken).toBeLessThan(3 << 20); // less than a turn of all and what was gathered before
    }
  });

  test("a stream that is reset while it waits leaves the others their turns", () => {
    const { wire, streams } = manyStreams(5);
    for (const stream of streams) stream.sendData(new Uint8Array(100_000), true);
    streams[1]!.reset(8);
    streams[4]!.reset(8);
    wire.receive(windowUpdate(0, 1 << 20));
    expect(streams.map((stream) => wire.dataLength(stream.id))).toEqual([100_000, 0, 100_000, 100_000, 0]);
    expect(wire.connection.hasOutput).toBe(false);
  });
});

describe("announcement of output", () => {
  test("once until it was taken", () => {
    const { wire, streams } = manyStreams(1);
    let announced = 0;
    wire.recorder.onOutput = () => void announced++;
    streams[0]!.sendData(new Uint8Array(10), false);
    streams[0]!.sendData(new Uint8Array(10), false);
    expect(announced).toBe(1);
    wire.read();
    streams[0]!.sendData(new Uint8Array(10), false);
    expect(announced).toBe(2);
    wire.read();
    streams[0]!.sendData(new Uint8Array(100_000), false);
    wire.read();
    expect(announced).toBe(3);
    wire.connection.receive(windowUpdate(0, 1 << 20));
    expect(announced).toBe(4);
  });
});

describe("the output queue", () => {
  test("pieces in order, each unchanged until the next is taken", () => {
    for (let seed = 1; seed <= 20; seed++) {
      const random = new Random(seed);
      const queue = new OutputQueue();
      const expected: Uint8Array[] = [];
      const taken: Uint8Array[] = [];
      let held: Uint8Array | undefined;
      let copy: Uint8Array | undefined;
      const take = () => {
        if (held !== undefined) expect(Bun.hash(held)).toBe(Bun.hash(copy!));
        held = queue.take();
        copy = held?.slice();
        if (copy !== undefined) taken.push(copy);
        return held !== undefined;
      };
      let written = 0;
      for (let i = 0; i < 300; i++) {
        if (random.chance(40)) take();
        const payload = new Uint8Array(random.pick([0, 10, 1000, 20_000, 40_000])).fill(i);
        writeData(queue, 1, payload, 0, payload.length, false);
        written += 9 + payload.length;
        expected.push(frame(FrameType.DATA, 0, 1, payload));
      }
      while (take());
      expect(queue.pending).toBe(0);
      const all = join(...taken);
      expect(all.length).toBe(written);
      expect(Bun.hash(all)).toBe(Bun.hash(join(...expected)));
    }
  });
});
