import { LabelSchema, type LabelSet } from "./labels.ts";

export interface HistogramOptions {
  /** With the unit as its last part. */
  readonly name: string;
  /** One sentence with its period. */
  readonly help: string;
  /** e.g. `bytes`: prints a `# UNIT` line. */
  readonly unit?: string;
  readonly labelNames?: readonly string[];
  /** Upper bounds of the buckets, ascending and finite; the bucket without a bound is added. */
  readonly buckets: readonly number[];
}

/** One distribution. */
export class Histogram {
  readonly #bounds: readonly number[];
  /** Observations by bucket, not cumulated; the last one has no bound. */
  readonly counts: Float64Array;
  sum = 0;

  constructor(bounds: readonly number[]) {
    this.#bounds = bounds;
    this.counts = new Float64Array(bounds.length + 1);
  }

  /** Counts a value, which must not be negative: the sum of a distribution never falls (OpenMetrics 1.0, Histogram). */
  observe(value: number): void {
    const bounds = this.#bounds;
    let bucket = 0;
    while (bucket < bounds.length && value > (bounds[bucket] as number)) bucket++;
    (this.counts[bucket] as number)++;
    this.sum += value;
  }
}

/** A distribution with all its series. */
export class HistogramFamily {
  readonly options: HistogramOptions;
  readonly #samples = new Map<LabelSet, Histogram>();
  readonly #schema: LabelSchema;

  constructor(options: HistogramOptions) {
    const { buckets } = options;
    if (!buckets.every((bound, n) => Number.isFinite(bound) && (n === 0 || bound > (buckets[n - 1] as number)))) {
      throw new Error(`the buckets of ${options.name} do not ascend`);
    }
    this.options = options;
    this.#schema = new LabelSchema(options.labelNames ?? []);
  }

  /** The distribution of these label values, made empty when new. Keep the result. */
  labels(values: readonly string[] = []): Histogram {
    return this.with(this.#schema.intern(values));
  }

  /** As labels, for a set that several families share. */
  with(set: LabelSet): Histogram {
    let histogram = this.#samples.get(set);
    if (histogram === undefined) this.#samples.set(set, histogram = new Histogram(this.options.buckets));
    return histogram;
  }

  get samples(): ReadonlyMap<LabelSet, Histogram> {
    return this.#samples;
  }
}
