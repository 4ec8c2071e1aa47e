/** Of a first part, when nothing is known of the machine and nothing is compiled yet. */
const FIRST_WEIGHT = 8 << 10;
/** Some ten workloads: below that the price of a part itself would count for more than what is in it. */
const LEAST_WEIGHT = 4 << 10;
const MOST_WEIGHT = 1 << 20;
/** Most that one part can be larger than the one before, and smaller. */
const GROWTH = 1.5;
const SHRINKING = 4;

/** What a resource weighs beside its bytes: name, version, and the work that each one is. */
const RESOURCE_WEIGHT = 256;
/** What a name that is gone weighs. */
export const REMOVAL_WEIGHT = 512;

/** The weight of a resource of so many bytes: what the time that it takes is in proportion to. */
export function resourceWeight(bytes: number): number {
  return bytes + RESOURCE_WEIGHT;
}

/** How much of a push to take at a time, learnt from how long the parts before took. */
export class Pace {
  readonly #target: number;
  #weight = FIRST_WEIGHT;

  /** @param target how long a part may take, ms */
  constructor(target: number) {
    this.#target = target;
  }

  /** Of the next part. */
  get weight(): number {
    return this.#weight;
  }

  /** A part of this weight took so long, ms. Small parts, as most pushes are, teach only that more would be too much. */
  took(weight: number, ms: number): void {
    const fits = ms > 0 ? weight * this.#target / ms : Infinity;
    if (fits < this.#weight) this.#weight = Math.max(LEAST_WEIGHT, fits, this.#weight / SHRINKING);
    else if (weight >= this.#weight) this.#weight = Math.min(MOST_WEIGHT, fits, this.#weight * GROWTH);
  }
}
