/** One sample line. */
export interface ParsedSample {
  readonly name: string;
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

function unescape(text: string, line: number): string {
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
    if (!LABEL_NAME.test(name)) fail(line, `bad label name ${name}`);
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
 * Reads OpenMetrics 1.0 text (counters and gauges), strictly: metadata once and before the samples, in order
 * HELP, TYPE, UNIT; families contiguous and each once; counters `_total` and not negative; no series twice; `# EOF` last.
 */
export function parseExposition(text: string): Map<string, ParsedFamily> {
  if (!text.endsWith("# EOF\n")) throw new Error("the text does not end with '# EOF' and a line feed");
  const lines = text.slice(0, -1).split("\n");
  const families = new Map<string, ParsedFamily & { samples: ParsedSample[]; unit: string | undefined }>();
  let current: (ParsedFamily & { samples: ParsedSample[]; unit: string | undefined }) | undefined;
  let help: { name: string; text: string } | undefined;
  let series = new Set<string>();
  for (const [index, line] of lines.entries()) {
    const number = index + 1;
    if (line === "# EOF") {
      if (number !== lines.length) fail(number, "# EOF before the end");
      if (current?.samples.length === 0) fail(number, `family ${current.name} has no samples`);
      break;
    }
    if (line.startsWith("#")) {
      const [, keyword, name = "", rest = ""] = /^# (HELP|TYPE|UNIT) (\S+) ?(.*)$/.exec(line) ??
        fail(number, `not a comment of OpenMetrics: ${line}`);
      if (!METRIC_NAME.test(name)) fail(number, `bad name ${name}`);
      if (keyword === "HELP") {
        if (current?.samples.length === 0) fail(number, `family ${current.name} has no samples`);
        if (help !== undefined) fail(number, "HELP twice");
        help = { name, text: unescape(rest, number) };
      } else if (keyword === "TYPE") {
        if (help?.name !== name) fail(number, `TYPE of ${name} does not follow its HELP`);
        if (families.has(name)) fail(number, `family ${name} is there twice`);
        if (rest !== "counter" && rest !== "gauge") fail(number, `type ${rest}`);
        if (rest === "counter" && name.endsWith("_total")) fail(number, "a counter family's name has no _total");
        current = { name, help: help.text, type: rest, unit: undefined, samples: [] };
        families.set(name, current);
        help = undefined;
        series = new Set();
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
    if (name !== wanted) fail(number, `sample ${name} in family ${current.name}`);
    const labels = parseLabels(labelText, number);
    const key = [...labels].sort().join("\u0000");
    if (series.has(key)) fail(number, "the series is there twice");
    series.add(key);
    const parsed = parseNumber(value, number);
    if (current.type === "counter" && !(parsed >= 0)) fail(number, `counter ${parsed}`);
    current.samples.push({ name, labels, value: parsed });
  }
  return families;
}
