/** Errands at their rates, at random times, until they are told to pause. */
import { type Errand, ERRANDS, stand, STANDING } from "./errands.ts";
import type { Random } from "./random.ts";
import type { Scene } from "./scene.ts";

export interface Count {
  done: number;
  failed: number;
}

/** A failure with its place and time, for the report. */
export interface Failure {
  readonly errand: string;
  /** Wall clock. */
  readonly at: Date;
  readonly error: string;
}

/** Failures that are told in full; all are counted. */
const FAILURES_KEPT = 50;
/** Errands that took longer are told, ms. */
const SLOW_MS = 5_000;
/** A proxy that hangs must not fill our memory with errands that wait, each. */
const MOST_AT_ONCE = 200;

export class Traffic {
  readonly counts = new Map<string, Count>();
  readonly failures: Failure[] = [];
  /** Errands that were left out because too many of their kind waited. */
  held = 0;
  readonly #scene: Scene;
  readonly #random: Random;
  readonly #pace: number;
  readonly #note: (line: string) => void;
  #running = false;
  /** Resolves when no more is to begin. */
  #ending = Promise.withResolvers<void>();
  #loops: Promise<void>[] = [];

  constructor(scene: Scene, random: Random, pace: number, note: (line: string) => void) {
    this.#note = note;
    this.#scene = scene;
    this.#random = random;
    this.#pace = pace;
  }

  get failed(): number {
    let sum = 0;
    for (const count of this.counts.values()) sum += count.failed;
    return sum;
  }

  get done(): number {
    let sum = 0;
    for (const count of this.counts.values()) sum += count.done;
    return sum;
  }

  start(): void {
    this.#running = true;
    this.#ending = Promise.withResolvers<void>();
    for (const errand of ERRANDS) this.#loops.push(this.#repeat(errand));
    for (let i = 0; i < STANDING.count; i++) this.#loops.push(this.#stand());
  }

  /** Begins nothing more; resolves when everything that runs has ended. */
  async pause(): Promise<void> {
    this.#running = false;
    this.#ending.resolve();
    await Promise.all(this.#loops);
    this.#loops = [];
  }

  /** Runs one piece of work and counts how it went; never throws. */
  async attempt(name: string, work: () => Promise<unknown>): Promise<boolean> {
    const count = this.counts.get(name) ?? { done: 0, failed: 0 };
    this.counts.set(name, count);
    const start = performance.now();
    try {
      await work();
      count.done++;
      const took = performance.now() - start;
      if (took > SLOW_MS && name !== STANDING.name) {
        this.#note(`${new Date().toISOString()} errand ${name} took ${Math.round(took)} ms`);
      }
      return true;
    } catch (error) {
      count.failed++;
      const at = new Date();
      const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
      if (this.failures.length < FAILURES_KEPT) this.failures.push({ errand: name, at, error: text });
      this.#note(`${at.toISOString()} errand ${name} failed: ${text}`);
      return false;
    }
  }

  async #repeat(errand: Errand): Promise<void> {
    const open = new Set<Promise<unknown>>();
    while (this.#running) {
      // Rare ones would keep everybody waiting at the end.
      await Promise.race([Bun.sleep(this.#random.pause(errand.perSecond * this.#pace)), this.#ending.promise]);
      if (!this.#running) break;
      if (open.size >= MOST_AT_ONCE) {
        this.held++;
        continue;
      }
      const work = this.attempt(errand.name, () => errand.run(this.#scene, this.#random));
      open.add(work);
      work.then(() => open.delete(work));
    }
    await Promise.all(open);
  }

  async #stand(): Promise<void> {
    while (this.#running) {
      const ok = await this.attempt(
        "standing connection",
        () => stand(this.#scene, this.#random, () => !this.#running),
      );
      // What is broken for good must not be tried as fast as it fails.
      if (!ok) await Bun.sleep(this.#random.pause(1));
    }
  }
}
