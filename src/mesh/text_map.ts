/**
 * A Map that grows beyond its room, or of which much has been deleted, is built anew at once: with 98 000 keys that takes
 * 6 ms, several maps that change alike do it in the same turn, and connections wait for all of them. So there are some that
 * hold a part each. A power of two.
 */
const SHARDS = 64;
/** Characters of a key that its hash is made of, from its end: keys of one kind begin alike. */
const HASHED = 12;

/** A Map of very many texts; in no particular order. */
export class TextMap<T> {
  readonly #shards = Array.from({ length: SHARDS }, () => new Map<string, T>());
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get(key: string): T | undefined {
    return this.#shard(key).get(key);
  }

  set(key: string, value: T): void {
    const shard = this.#shard(key);
    const before = shard.size;
    shard.set(key, value);
    this.#size += shard.size - before;
  }

  /** Whether it was there. */
  delete(key: string): boolean {
    const deleted = this.#shard(key).delete(key);
    if (deleted) this.#size--;
    return deleted;
  }

  /** Its parts, to see how keys are spread. */
  shards(): readonly ReadonlyMap<string, T>[] {
    return this.#shards;
  }

  *values(): Generator<T> {
    for (const shard of this.#shards) yield* shard.values();
  }

  #shard(key: string): Map<string, T> {
    let hash = key.length;
    for (let i = Math.max(0, key.length - HASHED); i < key.length; i++) {
      hash = (Math.imul(hash, 31) + key.charCodeAt(i)) | 0;
    }
    return this.#shards[(hash ^ (hash >>> 15)) & (SHARDS - 1)]!;
  }
}
