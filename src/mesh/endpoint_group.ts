/** Endpoints among which capacity alone decides. Changed in place: one more or less costs the same in any group. */
import type { Choice } from "./decision.ts";
import type { PortMap, Workload } from "./workload.ts";

/** Uniform in [0, 1); injected, so that choices can be repeated. */
export type Random = () => number;

/** An endpoint whose workload is known. */
export interface Candidate {
  readonly workload: Workload;
  readonly ports: PortMap;
}

/** Those of one capacity: a number is all that it takes to choose among them. */
interface Bucket {
  readonly capacity: number;
  readonly members: Candidate[];
}

export class EndpointGroup {
  /** By capacity, of which there are few kinds; none is empty. */
  readonly #buckets: Bucket[] = [];
  /** Where each member is in its bucket. */
  readonly #positions = new Map<Candidate, number>();
  /** Sum of all capacities. */
  #weight = 0;

  get size(): number {
    return this.#positions.size;
  }

  add(candidate: Candidate): void {
    const { capacity } = candidate.workload;
    let bucket = this.#buckets.find((other) => other.capacity === capacity);
    if (bucket === undefined) this.#buckets.push(bucket = { capacity, members: [] });
    this.#positions.set(candidate, bucket.members.length);
    bucket.members.push(candidate);
    this.#weight += capacity;
  }

  remove(candidate: Candidate): void {
    const position = this.#positions.get(candidate);
    const at = this.#buckets.findIndex(({ capacity }) => capacity === candidate.workload.capacity);
    const bucket = this.#buckets[at];
    if (position === undefined || bucket === undefined) return;
    this.#positions.delete(candidate);
    this.#weight -= bucket.capacity;
    const last = bucket.members.pop()!;
    if (last !== candidate) {
      bucket.members[position] = last;
      this.#positions.set(last, position);
    }
    if (bucket.members.length === 0) this.#buckets.splice(at, 1);
  }

  /** Weighted choice; undefined when there is no weight at all. */
  pick(random: Random): Candidate | undefined {
    if (this.#weight === 0) return undefined;
    const only = this.#buckets[0]!;
    if (this.#buckets.length === 1) return only.members[Math.floor(random() * only.members.length)];
    let point = random() * this.#weight;
    let last: Candidate | undefined;
    for (const { capacity, members } of this.#buckets) {
      if (capacity === 0) continue;
      const weight = capacity * members.length;
      if (point < weight) return members[Math.min(Math.floor(point / capacity), members.length - 1)];
      point -= weight;
      last = members[members.length - 1];
    }
    return last;
  }

  /** Weighted choice among those that are not avoided; undefined when they have no weight. Looks at every member. */
  pickOther(random: Random, avoid: NonNullable<Choice["avoid"]>): Candidate | undefined {
    const others: Candidate[] = [];
    let weight = 0;
    for (const { capacity, members } of this.#buckets) {
      if (capacity === 0) continue;
      for (const candidate of members) {
        if (avoid(candidate.workload)) continue;
        others.push(candidate);
        weight += capacity;
      }
    }
    let point = random() * weight;
    for (const candidate of others) {
      point -= candidate.workload.capacity;
      if (point < 0) return candidate;
    }
    return others[others.length - 1];
  }
}
