/** RING_HASH: hosts own points on a circle, a request goes to the owner of the next point (ketama). */
import { keyWords, pointPosition } from "./hash.ts";
import type { Host } from "./host.ts";
import type { Picker } from "./picker.ts";
import type { WeightedHost } from "./weighted_host.ts";

/**
 * Points for each host, in proportion to weights: at least `minimum` in all, each host at least one, at most `maximum`
 * in all. Shares are scaled so that the lightest host has a whole number of points (Envoy's RingHashLoadBalancer).
 */
export function pointsPerHost(weights: readonly number[], minimum: number, maximum: number): number[] {
  let total = 0;
  let lightest = Infinity;
  for (const weight of weights) {
    total += weight;
    lightest = Math.min(lightest, weight);
  }
  const scale = Math.min(Math.ceil((lightest / total) * minimum) / (lightest / total), maximum);
  const points: number[] = [];
  // Fractions are carried over from host to host, so that the sum is right.
  let target = 0;
  let placed = 0;
  for (const weight of weights) {
    target += (weight / total) * scale;
    // A product of divisions may fall short of a whole number by its last bits.
    const count = Math.max(0, Math.ceil(target - placed - 1e-9));
    points.push(count);
    placed += count;
  }
  return points;
}

export class RingHash implements Picker {
  readonly #hosts: readonly WeightedHost[];
  /** Ascending. */
  readonly #positions: Float64Array;
  readonly #owners: Uint32Array;

  constructor(hosts: readonly WeightedHost[], minimumSize: number, maximumSize: number) {
    this.#hosts = hosts;
    const points = pointsPerHost(hosts.map(({ weight }) => weight), minimumSize, maximumSize);
    const size = points.reduce((sum, count) => sum + count, 0);
    const positions = new Float64Array(size);
    const ownerOf = new Map<number, number>();
    let at = 0;
    for (const [index, { host }] of hosts.entries()) {
      const words = keyWords(host.key);
      for (let n = 0; n < points[index]!; n++) {
        const position = pointPosition(words, n);
        positions[at++] = position;
        ownerOf.set(position, index);
      }
    }
    positions.sort();
    this.#positions = positions;
    this.#owners = new Uint32Array(size);
    for (let i = 0; i < size; i++) this.#owners[i] = ownerOf.get(positions[i]!)!;
  }

  pick(position: number, attempt: number): Host {
    const positions = this.#positions;
    let low = 0;
    let high = positions.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (positions[middle]! < position) low = middle + 1;
      else high = middle;
    }
    return this.#hosts[this.#owners[(low + attempt) % positions.length]!]!.host;
  }
}
