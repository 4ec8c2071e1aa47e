/** Encodes CPU profiles as pprof's profile.proto (github.com/google/pprof, proto/profile.proto), uncompressed. */
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";

/** A function as the runtime's profiler names it. Lines count from 0, -1: none. */
export interface CallFrame {
  readonly functionName: string;
  readonly url: string;
  readonly lineNumber: number;
}

/** A node of the tree of stacks. */
export interface ProfileNode {
  readonly id: number;
  readonly callFrame: CallFrame;
  /** Samples that found the program at this very place. */
  readonly hitCount?: number;
  readonly children?: readonly number[];
  /** Hits by line, counted from 1. */
  readonly positionTicks?: readonly { readonly line: number; readonly ticks: number }[];
}

export interface CpuProfile {
  /** The first one is the root, which stands for nothing. */
  readonly nodes: readonly ProfileNode[];
}

/** Field numbers of profile.proto. */
const PROFILE = {
  sampleType: 1,
  sample: 2,
  location: 4,
  function: 5,
  stringTable: 6,
  timeNanos: 9,
  durationNanos: 10,
  periodType: 11,
  period: 12,
} as const;
const NANOS_PER_SECOND = 1e9;

/** Texts are written once and meant by their index; 0 is the empty one. */
class StringTable {
  readonly #indexes = new Map<string, number>([["", 0]]);

  index(text: string): number {
    let index = this.#indexes.get(text);
    if (index === undefined) this.#indexes.set(text, index = this.#indexes.size);
    return index;
  }

  get texts(): Iterable<string> {
    return this.#indexes.keys();
  }
}

function message(writer: BinaryWriter, field: number, fill: (writer: BinaryWriter) => void): void {
  writer.tag(field, WireType.LengthDelimited).fork();
  fill(writer);
  writer.join();
}

function integer(writer: BinaryWriter, field: number, value: number): void {
  if (value !== 0) writer.tag(field, WireType.Varint).int64(value);
}

function integers(writer: BinaryWriter, field: number, values: readonly number[]): void {
  message(writer, field, (packed) => values.forEach((value) => packed.int64(value)));
}

/** The line that was hit most, else the function's own; 0: not known. */
function lineOf({ positionTicks = [], callFrame }: ProfileNode): number {
  let best = { line: callFrame.lineNumber + 1, ticks: 0 };
  for (const tick of positionTicks) if (tick.ticks > best.ticks) best = tick;
  return best.line;
}

/**
 * @param frequency samples per second
 * @param started ms since the epoch
 * @param durationMs how long the profile was taken
 */
export function encodePprof(profile: CpuProfile, frequency: number, started: number, durationMs: number): Uint8Array {
  const writer = new BinaryWriter();
  const strings = new StringTable();
  const period = Math.round(NANOS_PER_SECOND / frequency);
  const valueType = (field: number, type: string, unit: string) =>
    message(writer, field, (inner) => {
      integer(inner, 1, strings.index(type));
      integer(inner, 2, strings.index(unit));
    });
  valueType(PROFILE.sampleType, "samples", "count");
  valueType(PROFILE.sampleType, "cpu", "nanoseconds");

  const parents = new Map<number, number>();
  for (const { id, children = [] } of profile.nodes) for (const child of children) parents.set(child, id);
  const root = profile.nodes[0]?.id;
  const functions = new Map<string, number>();
  for (const node of profile.nodes) {
    if (node.id === root) continue;
    const { functionName, url, lineNumber } = node.callFrame;
    const name = functionName === "" ? "(anonymous)" : functionName;
    const key = `${name}\n${url}\n${lineNumber}`;
    let functionId = functions.get(key);
    if (functionId === undefined) {
      functions.set(key, functionId = functions.size + 1);
      const id = functionId;
      message(writer, PROFILE.function, (inner) => {
        integer(inner, 1, id);
        integer(inner, 2, strings.index(name));
        integer(inner, 3, strings.index(name));
        integer(inner, 4, strings.index(url));
        integer(inner, 5, lineNumber + 1);
      });
    }
    const id = functionId;
    message(writer, PROFILE.location, (inner) => {
      integer(inner, 1, node.id);
      message(inner, 4, (line) => {
        integer(line, 1, id);
        integer(line, 2, lineOf(node));
      });
    });
    const hits = node.hitCount ?? 0;
    if (hits === 0) continue;
    const stack: number[] = [];
    for (let at: number | undefined = node.id; at !== undefined && at !== root; at = parents.get(at)) stack.push(at);
    message(writer, PROFILE.sample, (inner) => {
      integers(inner, 1, stack);
      integers(inner, 2, [hits, hits * period]);
    });
  }
  integer(writer, PROFILE.timeNanos, started * 1e6);
  integer(writer, PROFILE.durationNanos, Math.round(durationMs * 1e6));
  valueType(PROFILE.periodType, "cpu", "nanoseconds");
  integer(writer, PROFILE.period, period);
  for (const text of strings.texts) writer.tag(PROFILE.stringTable, WireType.LengthDelimited).string(text);
  return writer.finish();
}
