/** Syntax of Envoy's substitution format strings: what is text, what is an operator, and where each begins. */

/** `%NAME(argument):length%` */
export interface OperatorCall {
  readonly name: string;
  /** undefined: there were no parentheses. */
  readonly argument: string | undefined;
  /** Bytes that are kept of the value. */
  readonly length: number | undefined;
  /** Of its `%`, from 1. */
  readonly position: number;
}

export type FormatPart = string | OperatorCall;

/** A format string that cannot be read; the message names the operator and its place. */
export class FormatError extends Error {}

function isNameCharacter(code: number): boolean {
  return (code >= 65 && code <= 90) || (code >= 48 && code <= 57) || code === 95;
}

/** End of `:digits%` or `%` at `at`, behind its percent sign; -1 when there is neither. */
function callEnd(text: string, at: number): number {
  let end = at;
  if (text[end] === ":") {
    end++;
    const digits = end;
    while (end < text.length && text.charCodeAt(end) >= 48 && text.charCodeAt(end) <= 57) end++;
    if (end === digits) return -1;
  }
  return text[end] === "%" ? end + 1 : -1;
}

/** The operator whose `%` is at `start`, and where the text goes on. */
function readCall(text: string, start: number): { call: OperatorCall; end: number } {
  const position = start + 1;
  let at = start + 1;
  while (at < text.length && isNameCharacter(text.charCodeAt(at))) at++;
  const name = text.slice(start + 1, at);
  if (name === "") throw new FormatError(`"%" at character ${position} begins no operator; a percent sign is "%%"`);
  let argument: string | undefined;
  if (text[at] === "(") {
    // An argument may hold ")" and "%" itself (times, JSON): it ends at the ")" behind which the operator can end.
    let close = text.indexOf(")", at);
    while (close >= 0 && callEnd(text, close + 1) < 0) close = text.indexOf(")", close + 1);
    if (close < 0) {
      throw new FormatError(`%${name}( at character ${position} has no ")" with "%" or ":length%" behind it`);
    }
    argument = text.slice(at + 1, close);
    at = close + 1;
  }
  const end = callEnd(text, at);
  if (end < 0) throw new FormatError(`%${name} at character ${position} does not end with "%"`);
  const length = text[at] === ":" ? Number(text.slice(at + 1, end - 1)) : undefined;
  return { call: { name, argument, length, position }, end };
}

/** Text and operators in order, without empty texts. Throws FormatError. */
export function parseFormat(text: string): FormatPart[] {
  const parts: FormatPart[] = [];
  let literal = "";
  let at = 0;
  for (;;) {
    const percent = text.indexOf("%", at);
    literal += percent < 0 ? text.slice(at) : text.slice(at, percent);
    if (percent < 0) break;
    if (text[percent + 1] === "%") {
      literal += "%";
      at = percent + 2;
      continue;
    }
    const { call, end } = readCall(text, percent);
    if (literal !== "") parts.push(literal);
    literal = "";
    parts.push(call);
    at = end;
  }
  if (literal !== "") parts.push(literal);
  return parts;
}
