import { Buffer } from "node:buffer";

/** Whether every character is ASCII: then text and its octets are the same string. */
export function isAscii(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 0x7f) return false;
  return true;
}

/** A text of the configuration as fields carry it: one character for each octet of its UTF-8 form. */
export function octetsOf(text: string): string {
  return isAscii(text) ? text : Buffer.from(text, "utf8").toString("latin1");
}

/** The other way round, for patterns that speak of characters beyond ASCII. */
export function textOf(octets: string): string {
  return isAscii(octets) ? octets : Buffer.from(octets, "latin1").toString("utf8");
}

/** Lower case of ASCII letters alone, as Envoy compares; other octets stay what they are. */
export function lowerAscii(text: string): string {
  return isAscii(text) ? text.toLowerCase() : text.replace(/[A-Z]+/g, (letters) => letters.toLowerCase()); // a constant pattern of one class: linear
}
