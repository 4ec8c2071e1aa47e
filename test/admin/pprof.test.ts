import { expect, test } from "bun:test";
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { type CpuProfile, encodePprof } from "../../src/admin/pprof.ts";

type Fields = Map<number, (number | Uint8Array)[]>;

/** A message by field number; numbers and bytes as they came. */
function fieldsOf(bytes: Uint8Array): Fields {
  const reader = new BinaryReader(bytes);
  const fields: Fields = new Map();
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag();
    const value = type === WireType.Varint ? Number(reader.int64()) : reader.bytes();
    fields.set(field, [...fields.get(field) ?? [], value]);
  }
  return fields;
}

function messages(fields: Fields, field: number): Fields[] {
  return (fields.get(field) ?? []).map((bytes) => fieldsOf(bytes as Uint8Array));
}

function packed(bytes: number | Uint8Array | undefined): number[] {
  const reader = new BinaryReader(bytes as Uint8Array);
  const values: number[] = [];
  while (reader.pos < reader.len) values.push(Number(reader.int64()));
  return values;
}

const frame = (functionName: string, lineNumber: number, url = "file:///a.ts") => ({ functionName, url, lineNumber });
const PROFILE: CpuProfile = {
  nodes: [
    { id: 1, callFrame: frame("(root)", -1, ""), children: [2, 5] },
    { id: 2, callFrame: frame("outer", 0), hitCount: 1, children: [3, 4] },
    {
      id: 3,
      callFrame: frame("inner", 9),
      hitCount: 7,
      positionTicks: [{ line: 12, ticks: 2 }, { line: 14, ticks: 5 }],
    },
    { id: 4, callFrame: frame("", 19), hitCount: 0 },
    { id: 5, callFrame: frame("inner", 9), hitCount: 2 },
  ],
};

test("stacks from the leaf up, with hits and time, functions once, lines where they are known", () => {
  const fields = fieldsOf(encodePprof(PROFILE, 1000, 1_795_250_062_000, 1500.5));
  const strings = (fields.get(6) ?? []).map((bytes) => new TextDecoder().decode(bytes as Uint8Array));
  const text = (index: number | Uint8Array | undefined) => strings[index as number];
  expect(strings[0]).toBe("");

  const types = messages(fields, 1).map((type) => [text(type.get(1)?.[0]), text(type.get(2)?.[0])]);
  expect(types).toEqual([["samples", "count"], ["cpu", "nanoseconds"]]);
  const samples = messages(fields, 2).map((sample) => [packed(sample.get(1)?.[0]), packed(sample.get(2)?.[0])]);
  expect(samples).toEqual([[[2], [1, 1e6]], [[3, 2], [7, 7e6]], [[5], [2, 2e6]]]);

  const functions = new Map(
    messages(fields, 5).map((entry) => [
      entry.get(1)?.[0],
      [text(entry.get(2)?.[0]), text(entry.get(4)?.[0]), entry.get(5)?.[0]],
    ]),
  );
  expect([...functions.values()]).toEqual([
    ["outer", "file:///a.ts", 1],
    ["inner", "file:///a.ts", 10],
    ["(anonymous)", "file:///a.ts", 20],
  ]);
  const locations = messages(fields, 4).map((location) => {
    const [line] = messages(location, 4);
    return [location.get(1)?.[0], functions.get(line?.get(1)?.[0])?.[0], line?.get(2)?.[0]];
  });
  expect(locations).toEqual([[2, "outer", 1], [3, "inner", 14], [4, "(anonymous)", 20], [5, "inner", 10]]);
  expect([fields.get(9), fields.get(10), fields.get(12)]).toEqual([[1_795_250_062_000e6], [1500.5e6], [1e6]]);
});
