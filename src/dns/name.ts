/** Domain names between their wire form (RFC 1035 §3.1) and their text. */
import type { DomainName } from "./types.ts";

const DOT = 46;
const BACKSLASH = 92;
/** Longest label and longest name, with its length bytes and the root (RFC 1035 §2.3.4). */
const MAX_LABEL = 63; // bytes
export const MAX_NAME = 255; // bytes

/** One label's bytes as text. */
export function labelText(bytes: Uint8Array, start: number, end: number): string {
  let text = "";
  for (let i = start; i < end; i++) {
    const byte = bytes[i] as number;
    if (byte === DOT || byte === BACKSLASH) text += `\\${String.fromCharCode(byte)}`;
    else if (byte > 32 && byte < 127) text += String.fromCharCode(byte);
    else text += `\\${String(byte).padStart(3, "0")}`;
  }
  return text;
}

/**
 * Writes the label of `name` that begins at `start` to `target` at `at`: length byte, then bytes.
 * @returns where the label's dot is in the text; -1 when this is no label of at most 63 bytes
 */
export function writeLabel(name: DomainName, start: number, target: Uint8Array, at: number): number {
  let to = at + 1;
  let i = start;
  for (; i < name.length; i++) {
    let code = name.charCodeAt(i);
    if (code === DOT) break;
    if (code > 126) return -1; // our texts are ASCII
    if (code === BACKSLASH) {
      code = name.charCodeAt(++i);
      if (code >= 48 && code <= 57) {
        code = Number(name.slice(i, i + 3));
        i += 2;
      }
    }
    if (!(code <= 255) || to - at > MAX_LABEL) return -1;
    target[to++] = code;
  }
  const length = to - at - 1;
  if (length === 0 || i >= name.length) return -1;
  target[at] = length;
  return i;
}

const scratch = new Uint8Array(512);

/** Whether the text is a domain name in our form: final dot, labels of 1 to 63 bytes, 255 bytes in all. */
export function isDomainName(text: string): boolean {
  if (text === ".") return true;
  let wire = 1; // the root
  for (let i = 0; i < text.length; i++) {
    i = writeLabel(text, i, scratch, 0);
    if (i < 0) return false;
    wire += (scratch[0] as number) + 1;
    if (wire > MAX_NAME) return false;
  }
  return text.length > 0;
}

/** Whether two names are the same (case of ASCII letters does not count, RFC 4343). */
export function sameName(a: DomainName, b: DomainName): boolean {
  return a === b || (a.length === b.length && lowerName(a) === lowerName(b));
}

/** The name in lower case. Only ASCII occurs in our texts. */
export function lowerName(name: DomainName): DomainName {
  return name.toLowerCase();
}

/** Whether the name, in lower case, with or without its final dot, is `localhost` or below it (RFC 6761 §6.3). */
export function isLocalhost(name: string): boolean {
  const text = name.endsWith(".") ? name.slice(0, -1) : name;
  return text === "localhost" || text.endsWith(".localhost");
}
