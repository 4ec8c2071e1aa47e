import { type Histogram, HistogramFamily } from "./histogram.ts";
import type { LabelSet } from "./labels.ts";
import type { Family, MetricRegistry } from "./metrics.ts";

/** Characters of one piece of output; about half a millisecond of work. */
const PIECE_CHARACTERS = 128 << 10;

function formatValue(value: number): string {
  if (value === Infinity) return "+Inf";
  if (value === -Infinity) return "-Inf";
  return String(value);
}

function escapeHelp(text: string): string {
  return text.replace(/[\\"\n]/g, (c) => (c === "\n" ? "\\n" : `\\${c}`));
}

function header(type: string, { name, help, unit }: { name: string; help: string; unit?: string }): string {
  const lines = `# HELP ${name} ${escapeHelp(help)}\n# TYPE ${name} ${type}\n`;
  return unit === undefined ? lines : `${lines}# UNIT ${name} ${unit}\n`;
}

/** The lines of each series of a metric with one value. */
function* valueLines(family: Family): Generator<string, void> {
  const { name, type } = family.options;
  const sampleName = type === "counter" ? `${name}_total` : name;
  for (const [labels, sample] of family.samples) yield `${sampleName}${labels.text} ${formatValue(sample.value)}\n`;
}

/** The last labels of each bucket's line, e.g. `le="0.5"} `. */
function bucketTails(bounds: readonly number[]): string[] {
  return [...bounds, Infinity].map((bound) => `le="${formatValue(bound)}"} `);
}

function distribution(name: string, tails: readonly string[], labels: LabelSet, histogram: Histogram): string {
  const lead = labels.text === "" ? `${name}_bucket{` : `${name}_bucket${labels.text.slice(0, -1)},`;
  let text = "";
  let count = 0;
  for (let bucket = 0; bucket < tails.length; bucket++) {
    count += histogram.counts[bucket] as number;
    text += `${lead}${tails[bucket]}${count}\n`;
  }
  return `${text}${name}_sum${labels.text} ${formatValue(histogram.sum)}\n${name}_count${labels.text} ${count}\n`;
}

/** The lines of each distribution: cumulated buckets, sum and count. */
function* distributionLines(family: HistogramFamily): Generator<string, void> {
  const { name, buckets } = family.options;
  const tails = bucketTails(buckets);
  for (const [labels, histogram] of family.samples) yield distribution(name, tails, labels, histogram);
}

/**
 * OpenMetrics 1.0 text of a registry, in pieces so that a scrape of very many series can let other work in between.
 * Families without series are left out.
 */
export function* exposition(registry: MetricRegistry): Generator<string, void> {
  registry.refresh();
  let piece = "";
  for (const family of registry.families) {
    if (family.samples.size === 0) continue;
    const distributions = family instanceof HistogramFamily;
    piece += header(distributions ? "histogram" : family.options.type, family.options);
    for (const lines of distributions ? distributionLines(family) : valueLines(family)) {
      piece += lines;
      if (piece.length >= PIECE_CHARACTERS) {
        yield piece;
        piece = "";
      }
    }
  }
  yield `${piece}# EOF\n`;
}
