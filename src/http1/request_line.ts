import { CR, LF, SPACE, TARGET, TOKEN } from "./characters.ts";
import { Details, type Problem, problem } from "./errors.ts";
import { METHODS } from "./methods.ts";

/** The parts of a request line. One object is enough for a thread. */
export const requestLine: { method: string; target: string; http10: boolean; end: number } = {
  method: "",
  target: "",
  http10: false,
  end: 0,
};

function bad(text: string): Problem {
  return problem(400, Details.CODEC_ERROR, text);
}

const SLASH = 0x2f;

function isDigit(octet: number): boolean {
  return octet >= 0x30 && octet <= 0x39;
}

/**
 * Reads `method SP request-target SP HTTP-version CRLF` (RFC 9112 §3) at `start` into `requestLine`; `end` is where the
 * fields begin. Exactly one space each: lenient readings of this line are how requests are smuggled. `text` holds the
 * section as latin1 from `start` on.
 */
export function readRequestLine(bytes: Uint8Array, start: number, text: string): Problem | undefined {
  let at = start;
  while (TOKEN[bytes[at]!]! !== 0) at++;
  if (at === start || bytes[at] !== SPACE) return bad("request line does not begin with a method and one space");
  const sent = text.slice(0, at - start);
  const method = METHODS.get(sent);
  if (method === undefined) return bad(`unknown method ${JSON.stringify(sent.slice(0, 32))}`);
  const targetStart = ++at;
  while (TARGET[bytes[at]!] === 1) at++;
  if (at === targetStart) return bad("request line without a target");
  const octet = bytes[at];
  if (octet === LF || octet === CR && bytes[targetStart] !== SLASH) return bad("request line without a version");
  if (octet === CR) return problem(426, Details.LOW_VERSION, "request line without a version");
  if (octet !== SPACE) return problem(400, Details.INVALID_URL, "octet that no request target has");
  requestLine.target = text.slice(targetStart - start, at - start);
  at++;
  // HTTP-version, byte by byte: "HTTP/1." and one digit
  const major = bytes[at + 5]!;
  const minor = bytes[at + 7]!;
  const form = bytes[at] === 0x48 && bytes[at + 1] === 0x54 && bytes[at + 2] === 0x54 && bytes[at + 3] === 0x50 &&
    bytes[at + 4] === 0x2f && isDigit(major) && bytes[at + 6] === 0x2e && isDigit(minor);
  if (!form) return bad("no HTTP version");
  if (major !== 0x31 || minor > 0x31) {
    return problem(426, Details.LOW_VERSION, "version is neither HTTP/1.1 nor HTTP/1.0");
  }
  if (bytes[at + 8] !== CR || bytes[at + 9] !== LF) {
    return bad("request line does not end with CRLF behind the version");
  }
  requestLine.method = method;
  requestLine.http10 = minor === 0x30;
  requestLine.end = at + 10;
  return undefined;
}
