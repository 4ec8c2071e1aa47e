/** How many ms others get for each one that they needed in the turn after a slice. */
const GENEROSITY = 20;
/** The part of the time that slices get however busy others are: 70 000 workloads take 10 s at most. */
const LEAST_SHARE = 0.1;
/** What a turn of the event loop takes in which nobody else does anything, ms. */
const EMPTY_TURN_MS = 0.03;
/** Timers count in these. A rest is put off until there is so much of it. */
const SHORTEST_MS = 1;

/**
 * How long to leave the event loop to others between two slices. A node without traffic needs no rests; where connections
 * are busy, each of their turns would meet a slice, twice on either side, and a request would take as long as four of them.
 * No I/O.
 */
export class Rests {
  #owed = 0;

  /** After a slice of so many ms, others took so many ms of the turn. */
  after(slice: number, others: number): void {
    const wish = Math.max(0, others - EMPTY_TURN_MS) * GENEROSITY;
    this.#owed += Math.min(wish, slice * (1 / LEAST_SHARE - 1));
  }

  /** How long to rest now, ms; 0: not at all yet. */
  get due(): number {
    return this.#owed < SHORTEST_MS ? 0 : Math.floor(this.#owed);
  }

  /** A rest has taken so many ms. */
  had(ms: number): void {
    this.#owed = Math.max(0, this.#owed - ms);
  }

  /** There is no more work: what comes next has nothing to do with it. */
  forget(): void {
    this.#owed = 0;
  }
}
