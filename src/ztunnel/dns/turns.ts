/**
 * Who may answer questions in this turn of the event loop. A pod can send questions faster than they are answered, and
 * its socket would be read for as long as it does; so what is answered in one turn is bounded, and who has more waits
 * and gets a little in every turn, one after the other.
 */

/** Questions answered in one turn of the loop, of all pods together: 2 to 4 ms. */
const PER_TURN = 256;
/** And of one of those who wait. */
const PER_MEMBER = 16;
/**
 * How long answering may go on in one turn, ms. Most questions cost 10 µs; one of a hundred labels, or one that 60 KB
 * answer, a hundred times that, and a pod can choose to ask no others.
 */
const TURN_MS = 3;

/** A source of questions that has more than it may answer now. */
export interface Waiting {
  /** Answers one question, and up to `most` while the turn is not over; whether there are more. */
  serve(most: number): boolean;
}

export class Turns {
  readonly #perTurn: number;
  readonly #turnMs: number;
  #left: number;
  /** When the first question of this turn was taken; ms of performance.now(). */
  #began = 0;
  #scheduled = false;
  /** In the order in which they are served. */
  readonly #waiting = new Set<Waiting>();

  constructor(perTurn: number = PER_TURN, turnMs: number = TURN_MS) {
    this.#perTurn = perTurn;
    this.#turnMs = turnMs;
    this.#left = perTurn;
  }

  /** Whether this turn has been long enough: what is not answered yet is left for the next. */
  get over(): boolean {
    return performance.now() - this.#began >= this.#turnMs;
  }

  /** Whether one question more may be answered now. */
  take(): boolean {
    if (!this.#scheduled) this.#began = performance.now();
    else if (this.#left <= 0 || this.over) return false;
    this.#left--;
    this.#schedule();
    return true;
  }

  /** Puts the member into the line, if it does not stand there. */
  wait(member: Waiting): void {
    this.#waiting.add(member);
    this.#schedule();
  }

  leave(member: Waiting): void {
    this.#waiting.delete(member);
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => this.#next());
  }

  #next(): void {
    this.#scheduled = false;
    this.#left = this.#perTurn;
    this.#began = performance.now();
    for (const member of [...this.#waiting]) {
      if (this.#left <= 0 || this.over) break;
      if (!this.#waiting.delete(member)) continue; // gone meanwhile
      const most = Math.min(PER_MEMBER, this.#left);
      this.#left -= most;
      if (member.serve(most)) this.#waiting.add(member);
    }
    if (this.#waiting.size > 0) this.#schedule();
  }
}

/** Those of this process' one event loop. */
export const turns: Turns = new Turns();
