/** MAGLEV: a table in which each host has slots in proportion to its weight; a request's hash picks a slot. */
import { keyWords, mix32, nextPosition } from "./hash.ts";
import type { Host } from "./host.ts";
import type { Picker } from "./picker.ts";
import type { WeightedHost } from "./weighted_host.ts";

const EMPTY = 0xffff_ffff;

/**
 * Hosts take slots in turn, each along its own permutation of the table (Eisenbud et al., Maglev, NSDI 2016, §3.4);
 * with weights, a host skips turns in proportion to how much lighter it is than the heaviest.
 */
function fill(hosts: readonly WeightedHost[], size: number): Uint32Array {
  const table = new Uint32Array(size).fill(EMPTY);
  const count = hosts.length;
  const slots = new Float64Array(count);
  const skips = new Float64Array(count);
  const owed = new Float64Array(count);
  let heaviest = 0;
  for (const [i, { host, weight }] of hosts.entries()) {
    const { high, low } = keyWords(host.key);
    slots[i] = low % size;
    skips[i] = (mix32(high) % (size - 1)) + 1;
    heaviest = Math.max(heaviest, weight);
  }
  for (let filled = 0; filled < size;) {
    for (let i = 0; i < count && filled < size; i++) {
      owed[i] = owed[i]! + hosts[i]!.weight / heaviest;
      if (owed[i]! < 1 - 1e-9) continue;
      owed[i] = owed[i]! - 1;
      let slot = slots[i]!;
      while (table[slot] !== EMPTY) slot = (slot + skips[i]!) % size;
      table[slot] = i;
      slots[i] = slot;
      filled++;
    }
  }
  return table;
}

export class Maglev implements Picker {
  readonly #hosts: readonly WeightedHost[];
  readonly #table: Uint32Array;

  /** @param tableSize a prime */
  constructor(hosts: readonly WeightedHost[], tableSize: number) {
    this.#hosts = hosts;
    this.#table = fill(hosts, tableSize);
  }

  pick(position: number, attempt: number): Host {
    return this.#hosts[this.#table[nextPosition(position, attempt) % this.#table.length]!]!.host;
  }
}
