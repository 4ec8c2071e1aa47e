/** Reading the proxy's plain log lines back: `time \t level \t scope \t message \t key=value …`. */

export interface LogLine {
  readonly time: number;
  readonly level: string;
  readonly scope: string;
  readonly message: string;
  readonly fields: Readonly<Record<string, string>>;
}

const FIELD = /([A-Za-z_][\w.]*)=("(?:[^"\\]|\\.)*"|\S+)/g;

export function parseLogLine(line: string): LogLine | undefined {
  const [time = "", level, scope, message, fieldText = ""] = line.split("\t");
  if (level === undefined || scope === undefined || message === undefined) return undefined;
  const at = Date.parse(time);
  if (Number.isNaN(at)) return undefined;
  const fields: Record<string, string> = {};
  for (const match of fieldText.matchAll(FIELD)) {
    const [, key = "", value = ""] = match;
    fields[key] = value.startsWith('"') ? value.slice(1, -1).replaceAll('\\"', '"') : value;
  }
  return { time: at, level, scope, message, fields };
}

export function isAccessLine(line: LogLine | undefined): line is LogLine {
  return line !== undefined && line.scope === "access";
}
