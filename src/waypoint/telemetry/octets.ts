/** Header values are octets, one character each (latin1); logs are Unicode text. */
import { Buffer } from "node:buffer";

/** Anything but printable ASCII. */
const NOT_PLAIN = /[^ -~]/;
// deno-lint-ignore no-control-regex -- control characters are exactly what must not reach a log line unescaped
const CONTROL = /[\u0000-\u0008\u000a-\u001f\u007f]/g;

function escapeControl(character: string): string {
  return `\\x${character.charCodeAt(0).toString(16).padStart(2, "0")}`;
}

/** Plain text that needs no escapes between quotes. */
const NEEDS_ESCAPE = /[^ !#-[\]-~]/;

/** A text as JSON. */
export function quoteJson(text: string): string {
  return NEEDS_ESCAPE.test(text) ? JSON.stringify(text) : `"${text}"`;
}

/** Octets read as UTF-8; what is not UTF-8 becomes U+FFFD. */
export function octetsToText(octets: string): string {
  return NOT_PLAIN.test(octets) ? Buffer.from(octets, "latin1").toString("utf8") : octets;
}

/** The UTF-8 octets of a text. */
export function textToOctets(text: string): string {
  return NOT_PLAIN.test(text) ? Buffer.from(text, "utf8").toString("latin1") : text;
}

/** Text or octets for a line of plain text: nothing from outside may end the line or move a terminal's cursor. */
export function lineSafe(text: string, octets: boolean): string {
  if (!NOT_PLAIN.test(text)) return text;
  return (octets ? octetsToText(text) : text).replace(CONTROL, escapeControl);
}
