/** Header values are octets, one character each (latin1); logs are Unicode text. */
import { Buffer } from "node:buffer";

/** Whether all characters are printable ASCII. */
function isPlain(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < 32 || code > 126) return false;
  }
  return true;
}

// deno-lint-ignore no-control-regex -- control characters are exactly what must not reach a log line unescaped
const CONTROL = /[\u0000-\u001f\u007f]/g;

function escapeControl(character: string): string {
  return `\\x${character.charCodeAt(0).toString(16).padStart(2, "0")}`;
}

/** Octets read as UTF-8; what is not UTF-8 becomes U+FFFD. */
export function octetsToText(octets: string): string {
  return isPlain(octets) ? octets : Buffer.from(octets, "latin1").toString("utf8");
}

/** The UTF-8 octets of a text. */
export function textToOctets(text: string): string {
  return isPlain(text) ? text : Buffer.from(text, "utf8").toString("latin1");
}

/** For a line of plain text: nothing from outside may end the line or move a terminal's cursor. */
export function lineSafe(text: string): string {
  return isPlain(text) ? text : text.replace(CONTROL, escapeControl);
}
