/**
 * Seeded mutations of good messages, fed in random pieces: no exception, no endless loop, every octet accounted for, and
 * the same result as in one piece.
 */
import { describe, expect, test } from "bun:test";
import { Random } from "../http2/random.ts";
import { mutate } from "./mutation.ts";
import { octets, type Read, readRequests, readResponses, splitAt } from "./recorder.ts";
import { REQUESTS, RESPONSES } from "./samples.ts";

const CASES = 6000;

function pieces(random: Random, bytes: Uint8Array): Uint8Array[] {
  const places: number[] = [];
  const most = random.pick([1, 2, 7, 40]);
  for (let at = 1 + random.below(most); at < bytes.length; at += 1 + random.below(most)) places.push(at);
  return splitAt(bytes, places);
}

describe.each<[string, readonly string[], (pieces: readonly Uint8Array[]) => Read]>([
  ["requests", REQUESTS, (parts) => readRequests(parts, { acceptHttp10: true })],
  ["responses", RESPONSES, (parts) => readResponses(parts, ["UPGRADE", "GET", "HEAD"])],
])("%s", (_name, samples, read) => {
  test(`${CASES} mutations`, () => {
    let refused = 0;
    for (let seed = 1; seed <= CASES; seed++) {
      const random = new Random(seed);
      const bytes = octets(mutate(random, random.pick(samples), samples));
      const whole = read([bytes]);
      const split = read(pieces(random, bytes));
      if (whole.recorder.error !== undefined) refused++;
      // The seed is in the comparison so that a failure names it.
      expect([seed, split.eof, split.recorder.events]).toEqual([seed, whole.eof, whole.recorder.events]);
      expect([seed, whole.used + whole.recorder.data]).toEqual([seed, bytes.length]);
      expect([seed, split.used + split.recorder.data]).toEqual([seed, bytes.length]);
      // Nothing follows an error.
      const errors = whole.recorder.events.findIndex((event) => event.kind === "error");
      if (errors >= 0) expect(errors).toBe(whole.recorder.events.length - 1);
    }
    // Both outcomes must be common, or the mutations are too wild or too tame to show anything.
    expect(refused).toBeGreaterThan(CASES / 5);
    expect(refused).toBeLessThan((CASES * 19) / 20);
  }, 30_000);

  test("noise", () => {
    for (let seed = 1; seed <= 300; seed++) {
      const random = new Random(seed);
      const bytes = random.bytes(1 + random.below(3000));
      const whole = read([bytes]);
      expect(whole.recorder.error !== undefined || whole.eof === "truncated" || bytes[0] === 0x0d).toBe(true);
      expect(whole.used + whole.recorder.data).toBe(bytes.length);
    }
  });
});
