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

function header({ name, type, help, unit }: Family["options"]): string {
  const lines = `# HELP ${name} ${escapeHelp(help)}\n# TYPE ${name} ${type}\n`;
  return unit === undefined ? lines : `${lines}# UNIT ${name} ${unit}\n`;
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
    piece += header(family.options);
    const sampleName = family.options.type === "counter" ? `${family.options.name}_total` : family.options.name;
    for (const [labels, sample] of family.samples) {
      piece += `${sampleName}${labels.text} ${formatValue(sample.value)}\n`;
      if (piece.length >= PIECE_CHARACTERS) {
        yield piece;
        piece = "";
      }
    }
  }
  yield `${piece}# EOF\n`;
}
