/** However octets are split, the same events come. */
import { describe, expect, test } from "bun:test";
import { octets, type Read, readRequests, readResponses, splitAt } from "./recorder.ts";
import { REQUESTS, RESPONSES } from "./samples.ts";

function told(read: Read): unknown[] {
  return [...read.recorder.events, read.eof, read.used];
}

describe.each<[string, readonly string[], (pieces: readonly Uint8Array[]) => Read]>([
  ["requests", REQUESTS, (pieces) => readRequests(pieces, { acceptHttp10: true, keepCase: true })],
  ["responses", RESPONSES, (pieces) => readResponses(pieces, ["UPGRADE"])],
])("%s", (_name, samples, read) => {
  test.each(samples.map((sample) => [sample]))("%p", (sample) => {
    const bytes = octets(sample);
    const whole = read([bytes]);
    expect(whole.recorder.error).toBeUndefined();
    const expected = told(whole);
    for (let at = 1; at < bytes.length; at++) expect(told(read(splitAt(bytes, [at])))).toEqual(expected);
    for (let size = 1; size <= 5; size++) {
      const places = Array.from({ length: Math.ceil(bytes.length / size) - 1 }, (_, i) => (i + 1) * size);
      expect(told(read(splitAt(bytes, places)))).toEqual(expected);
    }
  });
});
