/** One sample line. */
export interface ParsedSample {
  readonly name: string;
  /** Of a histogram's bucket with its `le`. */
  readonly labels: ReadonlyMap<string, string>;
  readonly value: number;
}
export interface ParsedFamily {
  readonly name: string;
  readonly help: string;
  readonly type: string;
  readonly unit: string | undefined;
  readonly samples: readonly ParsedSample[];
}

const METRIC_NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;
const LABEL_NAME = /^[a-zA-Z_][a-zA-Z0-9_]*$/;
const NUMBER = /^(?:[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[+-]Inf|NaN)$/;
const ESCAPES: Readonly<Record<string, string>> = { "\\": "\\", '"': '"', n: "\n" };

function fail(line: number, message: string): never {
  throw new Error(`line ${line}: ${message}`);
}

/** Names that the samples of a family may have (OpenMetrics 1.0, MetricFamily), with the family's own. */
const SUFFIXES: Readonly<Record<string, readonly string[]>> = {
  counter: ["_total", "_created"],
  gauge: [],
  histogram: ["_bucket", "_sum", "_count", "_created"],
};

function unescape(text: string, line: number): string {
  if (/(?<!\\)(?:\\\\)*"/.test(text)) fail(line, `a quote that is not escaped: ${text}`);
  return text.replace(/\\(.?)/gs, (_, character: string) => {
    return ESCAPES[character] ?? fail(line, `unknown escape \\${character}`);
  });
}

/** `name="value",…` without the braces. */
function parseLabels(text: string, line: number): Map<string, string> {
  const labels = new Map<string, string>();
  let rest = text;
  while (rest !== "") {
    const match = /^([^=]+)="((?:[^"\\\n]|\\.)*)"(,(?=.)|$)/.exec(rest) ?? fail(line, `bad labels at: ${rest}`);
    const [whole, name = "", value = ""] = match;
    if (!LABEL_NAME.test(name) || name.startsWith("__")) fail(line, `bad label name ${name}`);
    if (labels.has(name)) fail(line, `label ${name} is there twice`);
    labels.set(name, unescape(value, line));
    rest = rest.slice(whole.length);
  }
  return labels;
}

function parseNumber(text: string, line: number): number {
  if (!NUMBER.test(text)) fail(line, `bad number ${text}`);
  return Number(text.replace("Inf", "Infinity"));
}

/**
 * The buckets, sum and count of a histogram's series, complete and in their order, as they are written one after another.
 */
class DistributionCheck {
  readonly #family: string;
  #key: string | undefined;
  #bound = -Infinity;
  #count = 0;
  #next: "bucket" | "sum" | "count" = "bucket";

  constructor(family: string) {
    this.#family = family;
  }

  sample(line: number, name: string, labels: ReadonlyMap<string, string>, value: number): void {
    const key = [...labels].filter(([label]) => label !== "le").sort().join("\u0000");
    if (this.#key !== undefined && key !== this.#key) fail(line, "another series before this one was complete");
    this.#key = key;
    if (name !== `${this.#family}_${this.#next}`) fail(line, `${name} where ${this.#family}_${this.#next} should be`);
    if (this.#next === "bucket") {
      const bound = parseNumber(labels.get("le") ?? fail(line, "a bucket without le"), line);
      if (!(bound > this.#bound)) fail(line, `bound ${bound} after ${this.#bound}`);
      if (!(value >= this.#count)) fail(line, "a bucket holds less than the one before");
      if (!Number.isInteger(value)) fail(line, `a bucket holds ${value}`);
      this.#bound = bound;
      this.#count = value;
      if (bound === Infinity) this.#next = "sum";
      return;
    }
    if (labels.has("le")) fail(line, `${name} with le`);
    if (this.#next === "sum") {
      if (!(value >= 0)) fail(line, `sum ${value}`);
      this.#next = "count";
      return;
    }
    if (value !== this.#count) fail(line, `count ${value}, last bucket ${this.#count}`);
    this.#key = undefined;
    this.#bound = -Infinity;
    this.#count = 0;
    this.#next = "bucket";
  }

  end(line: number): void {
    if (this.#key !== undefined) fail(line, `a series of ${this.#family} is not complete`);
  }
}

/**
 * Reads OpenMetrics 1.0 text (counters, gauges and histograms), strictly: metadata once and before the samples, in order
 * HELP, TYPE, UNIT; families contiguous and each once, no name that two could claim; counters `_total` and not negative; histograms with ascending
 * buckets up to +Inf, sum and count that agree; no series twice; `# EOF` last.
 */
export function parseExposition(text: string): Map<string, ParsedFamily> {
  if (!text.endsWith("# EOF\n")) throw new Error("the text does not end with '# EOF' and a line feed");
  const lines = text.slice(0, -1).split("\n");
  const families = new Map<string, ParsedFamily & { samples: ParsedSample[]; unit: string | undefined }>();
  let current: (ParsedFamily & { samples: ParsedSample[]; unit: string | undefined }) | undefined;
  let help: { name: string; text: string } | undefined;
  const taken = new Map<string, string>();
  let series = new Set<string>();
  let distribution: DistributionCheck | undefined;
  for (const [index, line] of lines.entries()) {
    const number = index + 1;
    if (line === "# EOF") {
      if (number !== lines.length) fail(number, "# EOF before the end");
      if (current?.samples.length === 0) fail(number, `family ${current.name} has no samples`);
      distribution?.end(number);
      break;
    }
    if (line.startsWith("#")) {
      const [, keyword, name = "", rest = ""] = /^# (HELP|TYPE|UNIT) (\S+) ?(.*)$/.exec(line) ??
        fail(number, `not a comment of OpenMetrics: ${line}`);
      if (!METRIC_NAME.test(name)) fail(number, `bad name ${name}`);
      if (keyword === "HELP") {
        if (current?.samples.length === 0) fail(number, `family ${current.name} has no samples`);
        if (help !== undefined) fail(number, "HELP twice");
        distribution?.end(number);
        help = { name, text: unescape(rest, number) };
      } else if (keyword === "TYPE") {
        if (help?.name !== name) fail(number, `TYPE of ${name} does not follow its HELP`);
        if (families.has(name)) fail(number, `family ${name} is there twice`);
        if (rest !== "counter" && rest !== "gauge" && rest !== "histogram") fail(number, `type ${rest}`);
        if (rest === "counter" && name.endsWith("_total")) fail(number, "a counter family's name has no _total");
        for (const suffix of ["", ...SUFFIXES[rest] as readonly string[]]) {
          const owner = taken.get(name + suffix);
          if (owner !== undefined) fail(number, `${name + suffix} belongs to family ${owner} already`);
          taken.set(name + suffix, name);
        }
        current = { name, help: help.text, type: rest, unit: undefined, samples: [] };
        families.set(name, current);
        help = undefined;
        series = new Set();
        distribution = rest === "histogram" ? new DistributionCheck(name) : undefined;
      } else {
        if (current?.name !== name || current.samples.length > 0) fail(number, `UNIT of ${name} out of place`);
        if (!name.endsWith(`_${rest}`)) fail(number, `${name} does not end with its unit ${rest}`);
        current.unit = rest;
      }
      continue;
    }
    const [, name = "", , labelText = "", value = ""] = /^([^\s{]+)(\{(.*)\})? (\S+)$/.exec(line) ??
      fail(number, `not a sample: ${line}`);
    if (current === undefined || help !== undefined) fail(number, "sample before TYPE");
    const wanted = current.type === "counter" ? `${current.name}_total` : current.name;
    if (distribution === undefined && name !== wanted) fail(number, `sample ${name} in family ${current.name}`);
    const labels = parseLabels(labelText, number);
    if (distribution === undefined && labels.has("le")) fail(number, `${name} with le`);
    const key = [name, ...[...labels].sort()].join("\u0000");
    if (series.has(key)) fail(number, "the series is there twice");
    series.add(key);
    const parsed = parseNumber(value, number);
    if (current.type === "counter" && !(parsed >= 0)) fail(number, `counter ${parsed}`);
    distribution?.sample(number, name, labels, parsed);
    current.samples.push({ name, labels, value: parsed });
  }
  return families;
}
