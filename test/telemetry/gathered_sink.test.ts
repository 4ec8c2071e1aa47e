import { expect, test } from "bun:test";
import { GatheredSink, Logger, type LogSink } from "../../src/telemetry/mod.ts";

/** Tells of each write as it comes. */
class Watched implements LogSink {
  readonly writes: [text: string, lines: number][] = [];
  flushes = 0;
  onWrite: () => void = () => {};
  write(text: string, lines: number): void {
    this.writes.push([text, lines]);
    this.onWrite();
  }
  flush(): void {
    this.flushes++;
  }
}

test("lines of a log and of others leave together, in the order of their coming", () => {
  const sink = new Watched();
  const gathered = new GatheredSink(sink);
  const logger = new Logger(gathered);
  gathered.write("first\n", 1);
  logger.info("access", "second");
  gathered.write("third\n", 1);
  expect(sink.writes).toEqual([]);
  logger.flush();
  expect(sink.writes.map(([text, lines]) => [text.replace(/\S+Z\t/, ""), lines])).toEqual([
    ["first\ninfo\taccess\tsecond\t\nthird\n", 3],
  ]);
  expect(sink.flushes).toBe(1);
});

test("256 lines do not wait, and a few leave by themselves", async () => {
  const sink = new Watched();
  const gathered = new GatheredSink(sink);
  for (let n = 0; n < 256; n++) gathered.write("x\n", 1);
  expect(sink.writes).toEqual([["x\n".repeat(256), 256]]);
  const left = new Promise<void>((resolve) => sink.onWrite = resolve);
  gathered.write("y\n", 1);
  await left;
  expect(sink.writes[1]).toEqual(["y\n", 1]);
  gathered.flush();
  expect(sink.writes.length).toBe(2);
});
