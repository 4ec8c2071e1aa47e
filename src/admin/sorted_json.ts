import { PAUSE, SortedEntries, SortedList } from "./sorted_items.ts";

/** Characters of one piece of output; about a millisecond of work. */
const PIECE_CHARACTERS = 64 << 10;
/** Members of a list or object that is written in one go. */
const FLAT = 256;

type Entry = readonly [key: string, value: unknown];
type Plain = Readonly<Record<string, unknown>>;

/** An object or list of which some members are written. */
interface Container {
  readonly isObject: boolean;
  /** Entries of an object, items of a list. */
  readonly members: Iterator<unknown>;
  empty: boolean;
}

function isIterable(value: object): value is Iterable<unknown> {
  return Symbol.iterator in value;
}

function isLeaf(value: unknown): boolean {
  return value === null || typeof value !== "object";
}

/** Text that stands in JSON as it is. */
const UNESCAPED = /^[ !#-[\]-~]*$/;

function quoted(text: string): string {
  return UNESCAPED.test(text) ? `"${text}"` : JSON.stringify(text);
}

function leaf(value: unknown): string {
  return typeof value === "string" ? quoted(value) : JSON.stringify(value) ?? "null";
}

/** A list of leaves; undefined when it is something else, or long. */
function flatList(value: object, indent: string): string | undefined {
  if (!Array.isArray(value) || value.length > FLAT) return undefined;
  let text = "";
  for (const item of value) {
    if (!isLeaf(item)) return undefined;
    text += `${text === "" ? "[" : ","}\n${indent}  ${leaf(item)}`;
  }
  return text === "" ? "[]" : `${text}\n${indent}]`;
}

/** An object's own keys in alphabetical order; those of absent values left out. */
function sortedKeys(value: Plain): string[] {
  return Object.keys(value).filter((key) => value[key] !== undefined).sort();
}

/** An object of leaves; undefined when it has others. */
function flatObject(value: Plain, keys: readonly string[], indent: string): string | undefined {
  if (keys.length > FLAT) return undefined;
  let text = "";
  for (const key of keys) {
    if (!isLeaf(value[key])) return undefined;
    text += `${text === "" ? "{" : ","}\n${indent}  ${quoted(key)}: ${leaf(value[key])}`;
  }
  return text === "" ? "{}" : `${text}\n${indent}}`;
}

function* entriesOf(value: Plain, keys: readonly string[]): Generator<Entry, void> {
  for (const key of keys) yield [key, value[key]];
}

/** Text of a small container, or what its members come from. */
function open(value: object, indent: string): string | Container {
  if (value instanceof SortedList) return { isObject: false, members: value.items(), empty: true };
  if (value instanceof SortedEntries) return { isObject: true, members: value.entries(), empty: true };
  if (!(value instanceof Map) && isIterable(value)) {
    return flatList(value, indent) ?? { isObject: false, members: value[Symbol.iterator](), empty: true };
  }
  const plain = (value instanceof Map ? Object.fromEntries(value) : value) as Plain;
  const keys = sortedKeys(plain);
  return flatObject(plain, keys, indent) ?? { isObject: true, members: entriesOf(plain, keys), empty: true };
}

function closing(container: Container, indent: string): string {
  const bracket = container.isObject ? "}" : "]";
  return container.empty ? `${container.isObject ? "{" : "["}${bracket}` : `\n${indent}${bracket}`;
}

/**
 * JSON with two spaces of indentation and keys in alphabetical order at every level (an object of JavaScript would put
 * "80" before "443"), in pieces of about a millisecond's work, some of them empty, so that a dump of a large mesh can let
 * other work in between. Takes plain data; a Map is written as an object, any other iterable as an array, SortedList and
 * SortedEntries are made as they are written.
 */
export function* sortedJson(value: unknown): Generator<string, void> {
  const containers: Container[] = [];
  let indent = "";
  let piece = "";
  const begin = (item: unknown): void => {
    if (isLeaf(item)) {
      piece += leaf(item);
      return;
    }
    const opened = open(item as object, indent);
    if (typeof opened === "string") {
      piece += opened;
      return;
    }
    containers.push(opened);
    indent += "  ";
  };
  begin(value);
  for (let container = containers.at(-1); container !== undefined; container = containers.at(-1)) {
    const { done, value: member } = container.members.next();
    if (done) {
      containers.pop();
      indent = indent.slice(2);
      piece += closing(container, indent);
      continue;
    }
    if (member === PAUSE || piece.length >= PIECE_CHARACTERS) {
      yield piece;
      piece = "";
    }
    if (member === PAUSE) continue;
    piece += container.empty ? (container.isObject ? "{\n" : "[\n") : ",\n";
    piece += indent;
    container.empty = false;
    if (container.isObject) {
      const [key, entry] = member as Entry;
      piece += `${quoted(key)}: `;
      begin(entry);
    } else {
      begin(member);
    }
  }
  yield piece;
}
