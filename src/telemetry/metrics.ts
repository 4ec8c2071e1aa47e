import { HistogramFamily, type HistogramOptions } from "./histogram.ts";
import { LabelSchema, type LabelSet } from "./labels.ts";

/** One time series. The hot path only does `handle.value += n`. */
export interface Sample {
  value: number;
}
/** Kinds of metric with one value for each series; `histogram` has its own family. */
export type MetricType = "counter" | "gauge";

export interface FamilyOptions {
  /** Without `_total`; with the unit as its last part where there is one. */
  readonly name: string;
  readonly type: MetricType;
  /** One sentence with its period. */
  readonly help: string;
  /** e.g. `bytes`: prints a `# UNIT` line. */
  readonly unit?: string;
  readonly labelNames?: readonly string[];
}

/** A metric with all its series. */
export class Family {
  readonly options: FamilyOptions;
  readonly #samples = new Map<LabelSet, Sample>();
  readonly #schema: LabelSchema;

  constructor(options: FamilyOptions) {
    this.options = options;
    this.#schema = new LabelSchema(options.labelNames ?? []);
  }

  /** The series of these label values (in the order of labelNames), made at 0 when new. Keep the result. */
  labels(values: readonly string[] = []): Sample {
    return this.with(this.#schema.intern(values));
  }

  /** As labels, for a set that several families share. */
  with(set: LabelSet): Sample {
    let sample = this.#samples.get(set);
    if (sample === undefined) {
      sample = { value: 0 };
      this.#samples.set(set, sample);
    }
    return sample;
  }

  get samples(): ReadonlyMap<LabelSet, Sample> {
    return this.#samples;
  }
}

/** Every family of the process, in the order of registration. */
export class MetricRegistry {
  readonly #families = new Map<string, Family | HistogramFamily>();
  readonly #refreshers: (() => void)[] = [];

  /** Throws when the name is taken: two places that count the same thing is a bug. */
  family(options: FamilyOptions): Family {
    return this.#add(options.name, new Family(options));
  }

  /** As family, for distributions. */
  histogram(options: HistogramOptions): HistogramFamily {
    return this.#add(options.name, new HistogramFamily(options));
  }

  #add<F extends Family | HistogramFamily>(name: string, family: F): F {
    if (this.#families.has(name)) throw new Error(`metric ${name} is registered twice`);
    this.#families.set(name, family);
    return family;
  }

  /** Called before each scrape, for values that are looked up then rather than kept. */
  beforeScrape(refresh: () => void): void {
    this.#refreshers.push(refresh);
  }

  refresh(): void {
    for (const refresh of this.#refreshers) refresh();
  }

  get families(): Iterable<Family | HistogramFamily> {
    return this.#families.values();
  }
}
