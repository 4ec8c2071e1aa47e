/** Envoy's substitution format strings: access logs and header values (spec/waypoint.md §4.4, §1.14). */
import type { JsonFormat } from "../snapshot/mod.ts";
import type { StreamInfo } from "../stream_info.ts";

/** A format string made ready, or why it is refused: the operator and its place. */
export type Compiled<T> = { readonly ok: true; readonly format: T } | { readonly ok: false; readonly error: string };

/** Text of one request or connection. */
export type TextFormat = (info: StreamInfo) => string;

/** For log lines: an operator without a value is `-`. */
export function compileFormat(text: string): Compiled<TextFormat> {
  return { ok: false, error: `not built yet: ${text}` };
}

/**
 * For header values: an operator without a value is nothing. A result of no characters means that the header is not
 * added (Envoy's `keep_empty_value: false`).
 */
export function compileHeaderFormat(text: string): Compiled<TextFormat> {
  return { ok: false, error: `not built yet: ${text}` };
}

/** One line of JSON with its line feed: a lone operator keeps its type, one without a value is null. */
export function compileJsonFormat(fields: JsonFormat): Compiled<TextFormat> {
  return { ok: false, error: `not built yet: ${Object.keys(fields)}` };
}
