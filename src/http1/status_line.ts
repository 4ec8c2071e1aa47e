import { CR, LF, SPACE, VALUE } from "./characters.ts";
import { Details, type Problem, problem } from "./errors.ts";

/** The parts of a status line that matter. One object is enough for a thread. */
export const statusLine: { status: number; http10: boolean; end: number } = { status: 0, http10: false, end: 0 };

function bad(text: string): Problem {
  return problem(502, Details.CODEC_ERROR, text);
}

/**
 * Reads `HTTP-version SP status-code SP [reason] CRLF` (RFC 9112 §4) at `start` into `statusLine`. The space before an
 * absent reason may be absent too, as servers have always written it.
 */
export function readStatusLine(bytes: Uint8Array, start: number): Problem | undefined {
  let at = start;
  const minor = bytes[at + 7];
  const known = bytes[at] === 0x48 && bytes[at + 1] === 0x54 && bytes[at + 2] === 0x54 && bytes[at + 3] === 0x50 &&
    bytes[at + 4] === 0x2f && bytes[at + 5] === 0x31 && bytes[at + 6] === 0x2e && (minor === 0x31 || minor === 0x30);
  if (!known || bytes[at + 8] !== SPACE) return bad("status line does not begin with HTTP/1.1 or HTTP/1.0");
  at += 9;
  let status = 0;
  for (let i = 0; i < 3; i++) {
    const digit = bytes[at + i]! - 0x30;
    if (!(digit >= 0 && digit <= 9)) return bad("status is not a number of three digits");
    status = status * 10 + digit;
  }
  if (status < 100) return bad("status is below 100");
  at += 3;
  if (bytes[at] === SPACE) { while (VALUE[bytes[at]!] === 1) at++; }
  if (bytes[at] !== CR || bytes[at + 1] !== LF) return bad("status line does not end as it should");
  statusLine.status = status;
  statusLine.http10 = minor === 0x30;
  statusLine.end = at + 2;
  return undefined;
}
