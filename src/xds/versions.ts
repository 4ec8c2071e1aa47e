import { scatter } from "./scatter.ts";
import { hashText } from "./value_cache.ts";

/**
 * A Map that grows beyond its room is built anew, which takes 6 ms with 98 000 names, and connections would wait for that
 * long: so there are some that hold a part each. A power of two.
 */
const SHARDS = 64;

/** What is known of many names: names → versions. In no particular order. */
export class Versions implements Iterable<readonly [name: string, version: string]> {
  readonly #shards = Array.from({ length: SHARDS }, () => new Map<string, string>());
  #size = 0;

  get size(): number {
    return this.#size;
  }

  has(name: string): boolean {
    return this.#shard(name).has(name);
  }

  set(name: string, version: string): void {
    const shard = this.#shard(name);
    const before = shard.size;
    shard.set(name, version);
    this.#size += shard.size - before;
  }

  delete(name: string): void {
    if (this.#shard(name).delete(name)) this.#size--;
  }

  *[Symbol.iterator](): Generator<readonly [name: string, version: string]> {
    for (const shard of this.#shards) yield* shard;
  }

  #shard(name: string): Map<string, string> {
    return this.#shards[scatter(hashText(name, 0)) & (SHARDS - 1)]!;
  }
}
