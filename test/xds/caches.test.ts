/** What is shared between records is what was there, whatever else came in between. */
import { expect, test } from "bun:test";
import { Buffer } from "node:buffer";
import { TextCache } from "../../src/xds/text_cache.ts";
import { sameItems } from "../../src/mesh/same_items.ts";
import { hashText, ValueCache } from "../../src/xds/value_cache.ts";
import { Random } from "../http2/random.ts";

test("a text that is kept is found by its bytes, inside others too", () => {
  const texts = new TextCache();
  const text = texts.keep(["name", "space"].join(""));
  const bytes = Buffer.from(`before ${text} after`);
  expect(texts.find(bytes, 7, 7 + text.length)).toBe(text);
  expect(texts.find(bytes, 7, 6 + text.length)).toBeUndefined();
  expect(texts.find(bytes, 6, 7 + text.length)).toBeUndefined();
});

test("what is not ASCII is found by no bytes", () => {
  const texts = new TextCache();
  texts.keep("Ã©"); // its characters are the bytes of é
  texts.keep("é");
  for (const text of ["é", "Ã©"]) {
    const bytes = Buffer.from(text);
    expect(texts.find(bytes, 0, bytes.length)).toBeUndefined();
  }
});

test("never another text, with many more than there are places", () => {
  const texts = new TextCache();
  const random = new Random(7);
  let found = 0;
  for (let i = 0; i < 100_000; i++) {
    // Long ones that end alike, and are told apart by what their hash does not see.
    const text = `${random.below(50_000)}${random.chance(50) ? "x".repeat(random.below(100)) : ""}`;
    const bytes = Buffer.from(text);
    const known = texts.find(bytes, 0, bytes.length);
    if (known === undefined) texts.keep(text);
    else if (known !== text) throw new Error(`${known} for ${text}`);
    else found++;
  }
  expect(found).toBeGreaterThan(10_000);
});

test("what is not ASCII takes one place, however often it comes", () => {
  const texts = new TextCache();
  const names = Array.from({ length: 40 }, (_, i) => texts.keep(`namespace-${i}`));
  for (let i = 0; i < 400; i++) expect(texts.keep(`Köln-${i % 20}`)).toBe(`Köln-${i % 20}`);
  // Else they would have pushed out others of their buckets.
  for (const name of names) expect(texts.find(Buffer.from(name), 0, name.length)).toBe(name);
});

test("long texts are not kept", () => {
  const texts = new TextCache();
  const long = texts.keep("x".repeat(513));
  expect(texts.find(Buffer.from(long), 0, long.length)).toBeUndefined();
});

const lists = () => new ValueCache<readonly string[]>(sameItems, (list) => list.slice());

test("equal values become one, unequal ones of the same hash do not", () => {
  const values = lists();
  const draft = ["a", "b"];
  const a = values.share(draft, 1);
  expect(a).toEqual(["a", "b"]);
  expect(a).not.toBe(draft);
  expect(values.share(["a", "b"], 1)).toBe(a);
  draft[1] = "c";
  const c = values.share(draft, 1);
  expect(c).toEqual(["a", "c"]);
  expect(values.share(["a", "b"], 1)).toBe(a);
  expect(values.share(["a", "b"], 2)).not.toBe(a);
  // A fifth of one hash takes the place of one of the others.
  for (const other of ["d", "e", "f"]) values.share(["a", other], 1);
  expect(values.share(["a", "b"], 1)).not.toBe(a);
});

test("never another value, with many more than there are places", () => {
  const values = lists();
  const random = new Random(9);
  const seen = new Set<readonly string[]>();
  for (let i = 0; i < 100_000; i++) {
    const value = [String(random.below(3000)), "common"];
    const shared = values.share(value, hashText(value[0]!, hashText(value[1]!, 0)));
    if (shared[0] !== value[0] || shared.length !== 2) throw new Error(`${shared} for ${value}`);
    seen.add(shared);
  }
  expect(seen.size).toBeLessThan(15_000); // mostly the same few thousand
});
