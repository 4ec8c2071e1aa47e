/** Whether a Referer may go on (RFC 9110 §10.1.3): Envoy takes one out that has a fragment, user information or no form. */

/** Octets of a path or query (RFC 3986 §3.3, §3.4). */
const OCTETS = new Uint8Array(256);
for (const character of "!$%&'()*+,-./0123456789:;=?@ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~") {
  OCTETS[character.charCodeAt(0)] = 1;
}

export function isValidReferer(value: string): boolean {
  const scheme = /^https?:\/\//i.exec(value)?.[0];
  let at = 0;
  if (scheme !== undefined) {
    at = scheme.length;
    while (at < value.length && value[at] !== "/" && value[at] !== "?") {
      if (value[at] === "@" || value[at] === "#") return false;
      at++;
    }
    if (at === scheme.length) return false;
    return !value.includes("#", at);
  }
  let segment = true; // the first one of a relative reference has no colon
  for (; at < value.length; at++) {
    const code = value.charCodeAt(at);
    if (code === 0x3a && segment) return false;
    if (code === 0x2f) segment = false;
    else if (OCTETS[code] !== 1) return false;
  }
  return true;
}
