import { PAUSE, SortedEntries, SortedList } from "./sorted_items.ts";

/** Characters of one piece of output; about a millisecond of work. */
const PIECE_CHARACTERS = 64 << 10;

type Entry = [key: string, value: unknown];

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

function isList(value: object): boolean {
  return value instanceof SortedList || (!(value instanceof Map) && isIterable(value));
}

/** Own keys or a Map's, with their values, in alphabetical order; absent values left out. */
function sortedEntries(value: object): Entry[] {
  const entries: Entry[] = value instanceof Map
    ? [...value].map(([key, entry]) => [String(key), entry])
    : Object.entries(value);
  return entries.filter(([, entry]) => entry !== undefined).sort(([a], [b]) => (a < b ? -1 : 1));
}

function open(value: object): Container {
  if (value instanceof SortedList) return { isObject: false, members: value.items(), empty: true };
  if (value instanceof SortedEntries) return { isObject: true, members: value.entries(), empty: true };
  const isObject = !isList(value);
  const members = isObject ? sortedEntries(value) : value as Iterable<unknown>;
  return { isObject, members: members[Symbol.iterator](), empty: true };
}

function closing(container: Container, depth: number): string {
  const bracket = container.isObject ? "}" : "]";
  return container.empty ? bracket : `\n${"  ".repeat(depth)}${bracket}`;
}

/**
 * JSON with two spaces of indentation and keys in alphabetical order at every level (an object of JavaScript would put
 * "80" before "443"), in pieces of about a millisecond's work, some of them empty, so that a dump of a large mesh can let
 * other work in between. Takes plain data; a Map is written as an object, any other iterable as an array, SortedList and
 * SortedEntries are made as they are written.
 */
export function* sortedJson(value: unknown): Generator<string, void> {
  const containers: Container[] = [];
  let piece = "";
  const begin = (item: unknown): void => {
    if (item === null || typeof item !== "object") {
      piece += JSON.stringify(item) ?? "null";
      return;
    }
    const container = open(item);
    piece += container.isObject ? "{" : "[";
    containers.push(container);
  };
  begin(value);
  for (let container = containers.at(-1); container !== undefined; container = containers.at(-1)) {
    const { done, value: member } = container.members.next();
    if (done) {
      containers.pop();
      piece += closing(container, containers.length);
      continue;
    }
    if (member === PAUSE || piece.length >= PIECE_CHARACTERS) {
      yield piece;
      piece = "";
    }
    if (member === PAUSE) continue;
    piece += `${container.empty ? "" : ","}\n${"  ".repeat(containers.length)}`;
    container.empty = false;
    if (container.isObject) {
      const [key, entry] = member as Entry;
      piece += `${JSON.stringify(key)}: `;
      begin(entry);
    } else {
      begin(member);
    }
  }
  yield piece;
}
