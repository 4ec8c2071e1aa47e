import type { Level } from "./log_filter.ts";

/** A string is quoted in plain lines, a `display` is not; numbers and booleans are bare. */
export type FieldValue = string | number | boolean | { readonly display: string };
export type Field = readonly [key: string, value: FieldValue];
/** What a line happened within, e.g. `outbound{id=…}`. */
export interface Span {
  readonly name: string;
  readonly fields: readonly Field[];
}
export type LogFormat = "plain" | "json";

/** Scopes are written without this prefix in plain lines. */
const PLAIN_PREFIX = "ztunnel::";
// Control characters, C1 among them (a terminal obeys U+009B as it does ESC [), and what else some readers end a line at:
// U+0085, U+2028 and U+2029.
// deno-lint-ignore no-control-regex -- control characters are exactly what must not reach a log line unescaped
const CONTROL = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/;
// deno-lint-ignore no-control-regex -- as above
const CONTROL_ALL = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g;
// deno-lint-ignore no-control-regex -- as above
const QUOTED_UNSAFE = /["\\\u0000-\u001f\u007f-\u009f\u2028\u2029]/;
// deno-lint-ignore no-control-regex -- as above
const QUOTED_UNSAFE_ALL = /["\\\u0000-\u001f\u007f-\u009f\u2028\u2029]/g;
/** Of them, those that JSON allows in a string. */
const JSON_UNSAFE = /[\u007f-\u009f\u2028\u2029]/;
const JSON_UNSAFE_ALL = /[\u007f-\u009f\u2028\u2029]/g;

function escapeOne(character: string): string {
  switch (character) {
    case '"':
      return '\\"';
    case "\\":
      return "\\\\";
    case "\n":
      return "\\n";
    case "\r":
      return "\\r";
    case "\t":
      return "\\t";
    default:
      return `\\u{${character.charCodeAt(0).toString(16)}}`;
  }
}

function quote(text: string): string {
  return QUOTED_UNSAFE.test(text) ? `"${text.replace(QUOTED_UNSAFE_ALL, escapeOne)}"` : `"${text}"`;
}

/** A value in JSON. */
function json(value: string | number | boolean): string {
  const text = JSON.stringify(value);
  return JSON_UNSAFE.test(text)
    ? text.replace(JSON_UNSAFE_ALL, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`)
    : text;
}

/** Unquoted text; a line break from outside must not start a line of its own. */
function bare(text: string): string {
  return CONTROL.test(text) ? text.replace(CONTROL_ALL, escapeOne) : text;
}

/** `key=value`, or `"key":value` in JSON. */
export function formatField(format: LogFormat, key: string, value: FieldValue): string {
  if (format === "plain") {
    if (typeof value === "string") return `${key}=${quote(value)}`;
    return typeof value === "object" ? `${key}=${bare(value.display)}` : `${key}=${value}`;
  }
  return `"${key}":${json(typeof value === "object" ? value.display : value)}`;
}

/** Fields as one text, joined as the format wants. */
export function formatFields(format: LogFormat, fields: readonly Field[]): string {
  const separator = format === "plain" ? " " : ",";
  let text = "";
  for (const [key, value] of fields) {
    text += text === "" ? formatField(format, key, value) : separator + formatField(format, key, value);
  }
  return text;
}

/** One line with its end; `fields` is the text of formatFields. */
export function formatLine(
  format: LogFormat,
  time: string,
  level: Level,
  scope: string,
  message: string,
  fields: string,
  spans: readonly Span[],
): string {
  if (format === "plain") {
    let place = scope.startsWith(PLAIN_PREFIX) ? scope.slice(PLAIN_PREFIX.length) : scope;
    for (const span of spans) place += `:${span.name}{${formatFields("plain", span.fields)}}`;
    return `${time}\t${level}\t${place}\t${bare(message)}\t${fields}\n`;
  }
  let line = `{"level":"${level}","time":"${time}","scope":"${scope}","message":${json(message)}`;
  if (fields !== "") line += `,${fields}`;
  for (const span of spans) line += `,"${span.name}":{${formatFields("json", span.fields)}}`;
  return `${line}}\n`;
}
