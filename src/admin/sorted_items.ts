/** Large lists and objects in order of a key, collected, sorted and made in steps that each take about a millisecond. */

/** Stands among the items where whoever reads them should let other work in. */
export const PAUSE: unique symbol = Symbol("pause");
type Pause = typeof PAUSE;

/** Items collected before a pause. */
const COLLECTED = 2048;
/** Length of the runs that are sorted at once. */
const RUN = 2048;
/** Items merged before a pause. */
const MERGED = 8192;

interface Keyed<T> {
  readonly key: string;
  readonly item: T;
}

/** Merges the sorted runs of `length` items that follow one another in `from`, two at a time, into `to`. */
function* mergePairs<T>(from: readonly Keyed<T>[], to: Keyed<T>[], length: number): Generator<Pause, void> {
  let written = 0;
  for (let start = 0; start < from.length; start += 2 * length) {
    let left = start;
    let right = Math.min(start + length, from.length);
    const [leftEnd, rightEnd] = [right, Math.min(start + 2 * length, from.length)];
    while (left < leftEnd || right < rightEnd) {
      const takeLeft = right >= rightEnd ||
        (left < leftEnd && (from[left] as Keyed<T>).key <= (from[right] as Keyed<T>).key);
      to[written++] = from[takeLeft ? left++ : right++] as Keyed<T>;
      if (written % MERGED === 0) yield PAUSE;
    }
  }
}

/** Sorts in steps. Equal keys keep their order. */
function* sorted<T>(items: Iterable<T>, keyOf: (item: T) => string): Generator<Pause, Keyed<T>[]> {
  let list: Keyed<T>[] = [];
  for (const item of items) {
    list.push({ key: keyOf(item), item });
    if (list.length % COLLECTED === 0) yield PAUSE;
  }
  for (let start = 0; start < list.length; start += RUN) {
    const run = list.slice(start, start + RUN).sort((a, b) => a.key < b.key ? -1 : a.key > b.key ? 1 : 0);
    for (let n = 0; n < run.length; n++) list[start + n] = run[n] as Keyed<T>;
    yield PAUSE;
  }
  let spare = list.slice();
  for (let length = RUN; length < list.length; length *= 2) {
    yield* mergePairs(list, spare, length);
    [list, spare] = [spare, list];
  }
  return list;
}

function* listItems<T>(
  source: Iterable<T>,
  keyOf: (item: T) => string,
  dump: (item: T) => unknown,
  distinct: boolean,
): Generator<unknown, void> {
  const list = yield* sorted(source, keyOf);
  for (let n = 0; n < list.length; n++) {
    const { key, item } = list[n] as Keyed<T>;
    if (distinct && list[n + 1]?.key === key) continue;
    const value = dump(item);
    if (value !== undefined) yield value;
  }
}

function* objectEntries<T>(
  source: Iterable<readonly [key: string, item: T]>,
  dump: (item: T, key: string) => unknown,
): Generator<[key: string, value: unknown] | Pause, void> {
  const list = yield* sorted(source, ([key]) => key);
  for (let n = 0; n < list.length; n++) {
    const { key, item: [, item] } = list[n] as Keyed<readonly [string, T]>;
    if (list[n + 1]?.key === key) continue;
    const value = dump(item, key);
    if (value !== undefined) yield [key, value];
  }
}

/** A list that sortedJson puts together while it writes it. */
export class SortedList {
  /** The items, and PAUSE between them. */
  readonly items: () => Iterator<unknown>;

  private constructor(items: () => Iterator<unknown>) {
    this.items = items;
  }

  /** `source` in the order of `keyOf`, each as what `dump` makes of it at that time; undefined leaves it out. */
  static of<T>(source: Iterable<T>, keyOf: (item: T) => string, dump: (item: T) => unknown): SortedList {
    return new SortedList(() => listItems(source, keyOf, dump, false));
  }

  /**
   * As `of`, of items with one key the last: for a Map that may change while it is read, where an entry that is taken out
   * and put back is met again.
   */
  static distinct<T>(source: Iterable<T>, keyOf: (item: T) => string, dump: (item: T) => unknown): SortedList {
    return new SortedList(() => listItems(source, keyOf, dump, true));
  }
}

/** As SortedList, an object. */
export class SortedEntries {
  /** The entries, and PAUSE between them. */
  readonly entries: () => Iterator<unknown>;

  private constructor(entries: () => Iterator<unknown>) {
    this.entries = entries;
  }

  /** Of entries with one key the last counts; each as what `dump` makes of it at that time, undefined leaves it out. */
  static of<T>(
    source: Iterable<readonly [key: string, item: T]>,
    dump: (item: T, key: string) => unknown,
  ): SortedEntries {
    return new SortedEntries(() => objectEntries(source, dump));
  }
}
