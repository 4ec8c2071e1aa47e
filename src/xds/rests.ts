/** How a push shares the time with connections. */
interface Manner {
  /** How many ms others get for each one that they needed in the turn after a slice. */
  readonly generosity: number;
  /** The part of the time that slices get however busy others are. */
  readonly leastShare: number;
}

/** 70 000 workloads take 10 s at most. */
const PATIENT: Manner = { generosity: 100, leastShare: 0.05 };
/** Where another push waits, which may be a policy: 3 s. */
const HURRIED: Manner = { generosity: 20, leastShare: 0.2 };
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

  /**
   * After a slice of so many ms, others took so many ms of the turn.
   *
   * @param more there is other work behind that which is being done
   */
  after(slice: number, others: number, more: boolean): void {
    const { generosity, leastShare } = more ? HURRIED : PATIENT;
    const wish = Math.max(0, others - EMPTY_TURN_MS) * generosity;
    this.#owed += Math.min(wish, slice * (1 / leastShare - 1));
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
