/** One time series. The hot path only does `handle.value += n`. */
export interface Sample {
  value: number;
}
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

const SEPARATOR = "\u0000";

function escapeLabel(value: string): string {
  return /[\\"\n]/.test(value) ? value.replace(/[\\"\n]/g, (c) => (c === "\n" ? "\\n" : `\\${c}`)) : value;
}

/** Names with values, rendered once and shared by every family that counts for them. */
export class LabelSet {
  /** `{a="1",b="2"}`, or empty. */
  readonly text: string;

  constructor(names: readonly string[], values: readonly string[]) {
    if (names.length !== values.length) throw new Error(`${names.length} label names, ${values.length} values`);
    const pairs = names.map((name, index) => `${name}="${escapeLabel(values[index] as string)}"`);
    this.text = pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
  }
}

/** Finds the one LabelSet of given values. Families that share labels share this. */
export class LabelSchema {
  readonly names: readonly string[];
  readonly #sets = new Map<string, LabelSet>();

  constructor(names: readonly string[]) {
    this.names = names;
  }

  intern(values: readonly string[]): LabelSet {
    const key = values.join(SEPARATOR);
    let set = this.#sets.get(key);
    if (set === undefined) {
      set = new LabelSet(this.names, values);
      this.#sets.set(key, set);
    }
    return set;
  }
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
  readonly #families = new Map<string, Family>();
  readonly #refreshers: (() => void)[] = [];

  /** Throws when the name is taken: two places that count the same thing is a bug. */
  family(options: FamilyOptions): Family {
    if (this.#families.has(options.name)) throw new Error(`metric ${options.name} is registered twice`);
    const family = new Family(options);
    this.#families.set(options.name, family);
    return family;
  }

  /** Called before each scrape, for values that are looked up then rather than kept. */
  beforeScrape(refresh: () => void): void {
    this.#refreshers.push(refresh);
  }

  refresh(): void {
    for (const refresh of this.#refreshers) refresh();
  }

  get families(): Iterable<Family> {
    return this.#families.values();
  }
}
