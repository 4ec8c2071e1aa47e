import { describe, expect, test } from "bun:test";
import { frameMessage, MessageReader } from "../../src/grpc/framing.ts";
import { HeldBytes } from "../../src/grpc/held_bytes.ts";
import { Random } from "../http2/random.ts";
import { joined } from "./bytes.ts";

/** Reads all of it in pieces of the given sizes, over and over. */
function readAll(reader: MessageReader, bytes: Uint8Array, sizes: readonly number[]): Uint8Array[] {
  const messages: Uint8Array[] = [];
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const piece = bytes.subarray(at, at + sizes[i % sizes.length]!);
    at += piece.length;
    for (let used = 0; used < piece.length;) {
      used = reader.read(piece, used);
      const message = reader.take();
      if (message !== undefined) messages.push(message);
    }
  }
  return messages;
}

describe("framing", () => {
  test("small messages leave with their prefix, large ones are not copied", () => {
    expect(frameMessage(Uint8Array.of(7, 8))).toEqual([Uint8Array.of(0, 0, 0, 0, 2, 7, 8)]);
    expect(frameMessage(new Uint8Array(0))).toEqual([Uint8Array.of(0, 0, 0, 0, 0)]);
    const large = new Uint8Array(0x012345);
    const [head, body] = frameMessage(large);
    expect(head).toEqual(Uint8Array.of(0, 0, 1, 0x23, 0x45));
    expect(body).toBe(large);
  });

  test("any messages survive any cut", () => {
    const random = new Random(42);
    for (let round = 0; round < 300; round++) {
      const messages = Array.from({ length: 1 + random.below(8) }, () => {
        const size = random.below(4) === 0 ? 0 : random.below(random.below(10) === 0 ? 60_000 : 300);
        return Uint8Array.from({ length: size }, () => random.below(256));
      });
      const bytes = joined(messages.flatMap((message) => frameMessage(message)));
      const sizes = Array.from(
        { length: 1 + random.below(5) },
        () => 1 + random.below(random.below(2) === 0 ? 7 : 5000),
      );
      const reader = new MessageReader(60_000);
      expect(readAll(reader, bytes, sizes)).toEqual(messages);
      expect(reader.inside).toBe(false);
      expect(reader.problem).toBeUndefined();
    }
  });

  test("garbage never throws, never takes more than the limit, and says one thing", () => {
    const random = new Random(7);
    for (let round = 0; round < 500; round++) {
      const bytes = Uint8Array.from({ length: random.below(400) }, () => random.below(3) === 0 ? random.below(256) : 0);
      const reader = new MessageReader(1000);
      for (const message of readAll(reader, bytes, [1 + random.below(20)])) {
        expect(message.length).toBeLessThanOrEqual(1000);
      }
      const { problem } = reader;
      if (problem === undefined) continue;
      reader.read(bytes, 0);
      expect(reader.problem).toBe(problem);
      expect(reader.take()).toBeUndefined();
    }
  });

  test.each<[string, number[], number, string]>([
    ["compressed", [1, 0, 0, 0, 1], 13, "a message is compressed (grpc-encoding gzip), and no compression was offered"],
    ["flags", [0x82, 0, 0, 0, 1], 13, "a message has unknown flags 0x82"],
    ["too large", [0, 0, 0, 3, 0xe9], 8, "a message of 1001 bytes is larger than the 1000 bytes that are taken"],
    ["huge", [0, 255, 255, 255, 255], 8, "a message of 4294967295 bytes is larger than the 1000 bytes that are taken"],
  ])("refused: %s", (_name, bytes, code, message) => {
    const reader = new MessageReader(1000);
    reader.encoding = "gzip";
    expect(reader.read(Uint8Array.from([...bytes, 1, 2, 3]), 0)).toBe(bytes.length + 3);
    expect(reader.problem).toMatchObject({ kind: "protocol", code, message });
    expect(reader.take()).toBeUndefined();
  });

  test("tells how far a message has come", () => {
    const reader = new MessageReader(1000);
    expect(reader.inside).toBe(false);
    reader.read(Uint8Array.of(0, 0), 0);
    expect([reader.inside, reader.progress]).toEqual([true, "2 of the 5 bytes of a prefix"]);
    reader.read(Uint8Array.of(0, 0, 9, 1), 0);
    expect([reader.inside, reader.progress]).toEqual([true, "1 of 9 bytes"]);
  });
});

test("held bytes come back in order, and their memory goes with the last of them", () => {
  const random = new Random(3);
  for (let round = 0; round < 40; round++) {
    const held = new HeldBytes();
    let model: number[] = [];
    for (let step = 0; step < 60; step++) {
      if (random.below(3) > 0) {
        const bytes = Uint8Array.from(
          { length: random.below(random.below(5) === 0 ? 5_000 : 50) },
          () => random.below(256),
        );
        held.push(bytes);
        model = [...model, ...bytes];
      } else {
        const size = random.below(4) === 0 ? held.length : random.below(held.length + 1);
        held.drop(size);
        model = model.slice(size);
      }
      expect(held.length).toBe(model.length);
    }
    expect([...held.view()]).toEqual(model);
  }
});
