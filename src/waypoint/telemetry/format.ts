/** Envoy's substitution format strings: access logs and header values (spec/waypoint.md §4.4, §1.14). */
import type { JsonFormat } from "../snapshot/mod.ts";
import type { StreamInfo } from "../stream_info.ts";
import { FormatError, parseFormat } from "./format_syntax.ts";
import { lineSafe, octetsToText, quoteJson, textToOctets } from "./octets.ts";
import { compileOperator, type FormatValue, type Operator } from "./operators.ts";

/** A format string made ready, or why it is refused: the operator and its place. */
export type Compiled<T> = { readonly ok: true; readonly format: T } | { readonly ok: false; readonly error: string };

/** Text of one request or connection. */
export type TextFormat = (info: StreamInfo) => string;

type Part = string | Operator;

function compileParts(text: string): Part[] {
  return parseFormat(text).map((part) => typeof part === "string" ? part : compileOperator(part));
}

function attempt<T>(compile: () => T): Compiled<T> {
  try {
    return { ok: true, format: compile() };
  } catch (error) {
    if (error instanceof FormatError) return { ok: false, error: error.message };
    throw error;
  }
}

/** A value that is there, as text (or as octets where the operator has them). */
function textOf(value: NonNullable<FormatValue>): string {
  if (typeof value === "string") return value;
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

/** In a line of plain text. */
function lineText(operator: Operator, info: StreamInfo): string {
  const value = operator.evaluate(info);
  if (value === null) return "-";
  return typeof value === "number" ? String(value) : lineSafe(textOf(value), operator.octets);
}

/** In a text of JSON, before it is quoted. */
function logText(operator: Operator, info: StreamInfo): string {
  const value = operator.evaluate(info);
  if (value === null) return "-";
  const text = textOf(value);
  return operator.octets ? octetsToText(text) : text;
}

/** All parts in order, with `convert` for what operators give. */
function join(parts: readonly Part[], convert: (operator: Operator, info: StreamInfo) => string): TextFormat {
  return (info) => {
    let text = "";
    for (const part of parts) text += typeof part === "string" ? part : convert(part, info);
    return text;
  };
}

/** For log lines: an operator without a value is `-`; control characters of a value are escaped. */
export function compileFormat(text: string): Compiled<TextFormat> {
  return attempt(() => join(compileParts(text), lineText));
}

/**
 * For header values, as octets: an operator without a value is nothing. A result of no characters means that the header
 * is not added (Envoy's `keep_empty_value: false`).
 */
export function compileHeaderFormat(text: string): Compiled<TextFormat> {
  return attempt(() => {
    const parts = compileParts(text).map((part) => typeof part === "string" ? textToOctets(part) : part);
    const only = parts[0] ?? "";
    if (parts.length <= 1 && typeof only === "string") return () => only;
    return join(parts, (operator, info) => {
      const value = operator.evaluate(info);
      if (value === null) return "";
      return operator.octets ? textOf(value) : textToOctets(textOf(value));
    });
  });
}

/** A text of JSON for each request. */
function compileJsonValue(format: string | JsonFormat): TextFormat {
  if (typeof format !== "string") return compileJsonObject(format);
  const parts = compileParts(format);
  const only = parts[0] ?? "";
  if (parts.length > 1) {
    const text = join(parts, logText);
    return (info) => quoteJson(text(info));
  }
  if (typeof only === "string") {
    const text = JSON.stringify(only);
    return () => text;
  }
  return (info) => {
    const value = only.typed === undefined ? only.evaluate(info) : only.typed(info);
    if (typeof value !== "string") return typeof value === "number" ? String(value) : JSON.stringify(value);
    return quoteJson(only.octets ? octetsToText(value) : value);
  };
}

function compileJsonObject(fields: JsonFormat): TextFormat {
  const members = Object.keys(fields).sort().map((key, index) => {
    try {
      const value = compileJsonValue(fields[key] as string | JsonFormat);
      return { lead: `${index === 0 ? "{" : ","}${JSON.stringify(key)}:`, value };
    } catch (error) {
      if (error instanceof FormatError) throw new FormatError(`${key}: ${error.message}`);
      throw error;
    }
  });
  if (members.length === 0) return () => "{}";
  return (info) => {
    let text = "";
    for (const member of members) text += member.lead + member.value(info);
    return `${text}}`;
  };
}

/**
 * One line of JSON with its line feed: a lone operator keeps its type, one without a value is null. Fields are sorted by
 * name, as there; an error names the field.
 */
export function compileJsonFormat(fields: JsonFormat): Compiled<TextFormat> {
  return attempt(() => {
    const object = compileJsonObject(fields);
    return (info) => `${object(info)}\n`;
  });
}
