/** Characters of one piece of output. */
const PIECE_CHARACTERS = 64 << 10;
/** Elements above this depth are written one by one; the list of workloads is at depth 1, so a unit is one workload. */
const SINGLE_DEPTH = 2;

type Entries = [key: string, value: unknown][];

function isIterable(value: object): value is Iterable<unknown> {
  return Symbol.iterator in value;
}

/** Own keys or a Map's, with their values, in alphabetical order; absent values left out. */
function sortedEntries(value: object): Entries {
  const entries: Entries = value instanceof Map
    ? [...value].map(([key, entry]) => [String(key), entry])
    : Object.entries(value);
  return entries.filter(([, entry]) => entry !== undefined).sort(([a], [b]) => (a < b ? -1 : 1));
}

function writeWhole(value: unknown, indent: string): string {
  if (value === null || typeof value !== "object") return JSON.stringify(value) ?? "null";
  const inner = `${indent}  `;
  if (!(value instanceof Map) && isIterable(value)) {
    const items = Array.from(value, (item) => inner + writeWhole(item, inner));
    return items.length === 0 ? "[]" : `[\n${items.join(",\n")}\n${indent}]`;
  }
  const items = sortedEntries(value).map(([key, entry]) =>
    `${inner}${JSON.stringify(key)}: ${writeWhole(entry, inner)}`
  );
  return items.length === 0 ? "{}" : `{\n${items.join(",\n")}\n${indent}}`;
}

function* write(value: unknown, depth: number): Generator<string, void> {
  const indent = "  ".repeat(depth);
  if (depth >= SINGLE_DEPTH || value === null || typeof value !== "object") {
    yield writeWhole(value, indent);
    return;
  }
  const list = !(value instanceof Map) && isIterable(value);
  const inner = `${indent}  `;
  let before = list ? `[\n${inner}` : `{\n${inner}`;
  let empty = true;
  for (const item of list ? value : sortedEntries(value)) {
    yield before;
    if (list) yield* write(item, depth + 1);
    else {
      const [key, entry] = item as Entries[number];
      yield `${JSON.stringify(key)}: `;
      yield* write(entry, depth + 1);
    }
    before = `,\n${inner}`;
    empty = false;
  }
  yield empty ? (list ? "[]" : "{}") : `\n${indent}${list ? "]" : "}"}`;
}

/**
 * JSON with two spaces of indentation and keys in alphabetical order at every level (an object of JavaScript would put
 * "80" before "443"), in pieces, so that a dump of a large mesh can let other work in between. Takes plain data; a Map is
 * written as an object, any other iterable as an array.
 */
export function* sortedJson(value: unknown): Generator<string, void> {
  let piece = "";
  for (const part of write(value, 0)) {
    piece += part;
    if (piece.length < PIECE_CHARACTERS) continue;
    yield piece;
    piece = "";
  }
  yield piece;
}
