export const ENTRY_OVERHEAD = 32; // bytes counted for each entry, RFC 7541 §4.1

const FIRST_CAPACITY = 8;

/**
 * The dynamic table (RFC 7541 §2.3.2): a ring of entries, newest first by relative index, evicted from the oldest when
 * the size exceeds the maximum. It allocates nothing before its first entry.
 */
export class DynamicTable {
  /** Bytes as counted by RFC 7541 §4.1. */
  size = 0;
  /** Entries that are in the table. */
  length = 0;
  /** Entries ever added: the newest one has this as its ordinal. */
  added = 0;
  maxSize: number;
  #names: string[] = [];
  #values: string[] = [];
  #mask = -1; // ring capacity - 1
  readonly #evicted: ((name: string, value: string, ordinal: number) => void) | undefined;

  /** `evicted` is told of each entry that leaves, with its ordinal. */
  constructor(maxSize: number, evicted?: (name: string, value: string, ordinal: number) => void) {
    this.maxSize = maxSize;
    this.#evicted = evicted;
  }

  /** Name of the entry that was added `back` entries before the newest; `back` must be below `length`. */
  name(back: number): string {
    return this.#names[(this.added - back) & this.#mask]!;
  }

  /** Value of the entry that was added `back` entries before the newest; `back` must be below `length`. */
  value(back: number): string {
    return this.#values[(this.added - back) & this.#mask]!;
  }

  /** Adds an entry; one larger than the table empties it (RFC 7541 §4.4). Returns whether it is in the table. */
  add(name: string, value: string): boolean {
    const size = name.length + value.length + ENTRY_OVERHEAD;
    this.#evictTo(this.maxSize - size);
    if (size > this.maxSize) return false;
    if (this.length > this.#mask) this.#grow();
    const slot = ++this.added & this.#mask;
    this.#names[slot] = name;
    this.#values[slot] = value;
    this.length++;
    this.size += size;
    return true;
  }

  /** Changes the maximum, evicting what no longer fits (RFC 7541 §4.3). */
  resize(maxSize: number): void {
    this.maxSize = maxSize;
    this.#evictTo(maxSize);
  }

  #evictTo(size: number): void {
    while (this.size > size && this.length > 0) {
      const ordinal = this.added - this.length + 1;
      const slot = ordinal & this.#mask;
      const name = this.#names[slot]!;
      const value = this.#values[slot]!;
      this.#names[slot] = this.#values[slot] = "";
      this.length--;
      this.size -= name.length + value.length + ENTRY_OVERHEAD;
      this.#evicted?.(name, value, ordinal);
    }
  }

  #grow(): void {
    const capacity = this.#mask < 0 ? FIRST_CAPACITY : (this.#mask + 1) * 2;
    const names = new Array<string>(capacity).fill("");
    const values = new Array<string>(capacity).fill("");
    for (let back = 0; back < this.length; back++) {
      const slot = (this.added - back) & (capacity - 1);
      names[slot] = this.name(back);
      values[slot] = this.value(back);
    }
    this.#names = names;
    this.#values = values;
    this.#mask = capacity - 1;
  }
}
