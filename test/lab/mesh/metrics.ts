/** Reading an OpenMetrics exposition back: enough for what the proxy writes, and strict about it. */

export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

const SAMPLE = /^([A-Za-z_:][\w:]*)(?:\{(.*)\})? (\S+)$/;
const LABEL = /([A-Za-z_]\w*)="((?:[^"\\]|\\.)*)"(?:,|$)/g;

/** @throws Error naming the line that is not OpenMetrics, or the missing end mark */
export function parseMetrics(text: string): Sample[] {
  const lines = text.trimEnd().split("\n");
  if (lines.at(-1) !== "# EOF") throw new Error("the exposition does not end with '# EOF'");
  const samples: Sample[] = [];
  for (const line of lines) {
    if (line.startsWith("#")) continue;
    const match = SAMPLE.exec(line);
    if (match === null) throw new Error(`not a sample: ${line}`);
    const [, name = "", labelText = "", value = ""] = match;
    const labels: Record<string, string> = {};
    for (const [, key = "", text = ""] of labelText.matchAll(LABEL)) labels[key] = text;
    samples.push({ name, labels, value: Number(value) });
  }
  return samples;
}

/** Sum of the samples of that name whose labels include all of `labels`. */
export function total(samples: readonly Sample[], name: string, labels: Readonly<Record<string, string>> = {}): number {
  let sum = 0;
  for (const sample of samples) {
    if (sample.name !== name) continue;
    if (Object.entries(labels).every(([key, value]) => sample.labels[key] === value)) sum += sample.value;
  }
  return sum;
}
