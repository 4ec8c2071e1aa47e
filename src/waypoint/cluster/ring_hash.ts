/** RING_HASH: hosts own points on a circle, a request goes to the owner of the next point (ketama). */
import { keyWords, pointPosition } from "./hash.ts";
import type { Host } from "./host.ts";
import type { Picker } from "./picker.ts";
import type { WeightedHost } from "./weighted_host.ts";

/**
 * Points for each host, in proportion to weights: at least `minimum` in all, at most `maximum`. Shares are scaled so
 * that the lightest host has a whole number of points (Envoy's RingHashLoadBalancer). Unlike there, that number is a
 * power of two: when a host comes or goes the others mostly keep their points, and with them their requests.
 */
export function pointsPerHost(weights: readonly number[], minimum: number, maximum: number): number[] {
  let total = 0;
  let lightest = Infinity;
  for (const weight of weights) {
    total += weight;
    lightest = Math.min(lightest, weight);
  }
  const share = lightest / total;
  const points = 2 ** Math.ceil(Math.log2(Math.max(1, share * minimum)));
  const scale = Math.min(points / share, maximum);
  const counts: number[] = [];
  // Fractions are carried over from host to host, so that the sum is right.
  let target = 0;
  let placed = 0;
  for (const weight of weights) {
    target += (weight / total) * scale;
    // A product of divisions may fall short of a whole number by its last bits.
    const count = Math.max(0, Math.ceil(target - placed - 1e-9));
    counts.push(count);
    placed += count;
  }
  return counts;
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
    this.#positions = new Float64Array(size);
    this.#owners = new Uint32Array(size);
    let at = 0;
    this.#eachPoint(points, (position) => this.#positions[at++] = position);
    this.#positions.sort();
    this.#eachPoint(points, (position, owner) => this.#owners[this.#search(position)] = owner);
  }

  #eachPoint(points: readonly number[], visit: (position: number, owner: number) => void): void {
    for (const [owner, { host }] of this.#hosts.entries()) {
      const words = keyWords(host.key);
      for (let n = 0; n < points[owner]!; n++) visit(pointPosition(words, n), owner);
    }
  }

  pick(position: number, attempt: number): Host {
    const index = (this.#search(position) + attempt) % this.#positions.length;
    return this.#hosts[this.#owners[index]!]!.host;
  }

  /** The first point that is not before a position; the number of points when there is none. */
  #search(position: number): number {
    const positions = this.#positions;
    let low = 0;
    let high = positions.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (positions[middle]! < position) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
