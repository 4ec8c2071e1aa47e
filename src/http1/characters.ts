/** Classes of octets, as tables: one look for each octet of a head. */

export const TAB = 0x09;
export const LF = 0x0a;
export const CR = 0x0d;
export const SPACE = 0x20;
export const COLON = 0x3a;
export const SEMICOLON = 0x3b;

function table(members: string): Uint8Array {
  const entries = new Uint8Array(256);
  for (let i = 0; i < members.length; i++) entries[members.charCodeAt(i)] = 1;
  return entries;
}

const DIGITS = "0123456789";
const LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

/** tchar (RFC 9110 §5.6.2) in lower case; 0 for an octet that is none. */
export const TOKEN: Uint8Array = table("!#$%&'*+-.^_`|~" + DIGITS + LETTERS);
for (let octet = 0; octet < 128; octet++) {
  if (TOKEN[octet] === 1) TOKEN[octet] = String.fromCharCode(octet).toLowerCase().charCodeAt(0);
}

/** Octets of a field value (RFC 9110 §5.5): tab, space, visible ASCII and obs-text; no other control character. */
export const VALUE: Uint8Array = new Uint8Array(256).fill(1);
for (let octet = 0; octet < SPACE; octet++) VALUE[octet] = 0;
VALUE[TAB] = 1;
VALUE[0x7f] = 0;

/**
 * Octets of a request target: visible ASCII. Those that a URI should have percent-encoded (`"<>\^{|}` and the backtick)
 * pass, as in Envoy: clients send them. `#`, which no target has (RFC 9112 §3.2), is refused with the path.
 */
export const TARGET: Uint8Array = new Uint8Array(256).fill(1, 0x21, 0x7f);

/** Octets of host and port in a target (RFC 3986 §3.2.2, §3.2.3); `@` is none of them (RFC 9110 §4.2.4). */
export const AUTHORITY: Uint8Array = table("-._~%!$&'()*+,;=:[]" + DIGITS + LETTERS);

/** Octets of a Host field that Envoy passes on; what they mean is for who compares them. */
export const HOST: Uint8Array = AUTHORITY.slice();
HOST[0x40] = 1;

/** Values of hexadecimal digits plus one; 0 for an octet that is none. */
export const HEX: Uint8Array = new Uint8Array(256);
for (let value = 0; value < 16; value++) {
  HEX[value.toString(16).charCodeAt(0)] = value + 1;
  HEX[value.toString(16).toUpperCase().charCodeAt(0)] = value + 1;
}
