/**
 * One form for paths that mean the same (RFC 3986 §6.2.2), before anything matches them: Envoy's normalize_path,
 * merge_slashes and path_with_escaped_slashes_action, as its version 1.40 does it on the wire. The query is never touched.
 */
import type { HttpOptions } from "../snapshot/mod.ts";

export type PathOptions = Pick<HttpOptions, "normalizePath" | "mergeSlashes" | "escapedSlashes">;

const SLASH = 0x2f;
const BACKSLASH = 0x5c;
const PERCENT = 0x25;
const DOT = 0x2e;
const QUERY = 0x3f;
/** Characters that RFC 3986 does not have in paths: they are percent-encoded. */
const ENCODED: ReadonlyMap<number, string> = new Map(
  [...'"<>^`{|}'].map((character) => {
    const code = character.charCodeAt(0);
    return [code, `%${code.toString(16).toUpperCase()}`];
  }),
);
/** 1 for characters that may have to be replaced. */
const CHANGES = new Uint8Array(256);
for (const code of [PERCENT, BACKSLASH, ...ENCODED.keys()]) CHANGES[code] = 1;
CHANGES.fill(1, 0x80);

/**
 * @param sent with its query; a fragment, which is no part of a request target, is left out as Istio has Envoy do it
 * @returns undefined for paths that are refused with 400: an encoded NUL
 */
export function normalizePath(sent: string, options: PathOptions): string | undefined {
  const fragment = sent.indexOf("#");
  const path = fragment < 0 ? sent : sent.slice(0, fragment);
  if (path.charCodeAt(0) !== SLASH) return path; // `*`
  let end = path.length;
  let work = false;
  let previous = 0;
  for (let i = 0; i < end; i++) {
    const code = path.charCodeAt(i);
    if (code === QUERY) end = i;
    else if (CHANGES[code] === 1) work = true;
    else if (previous === SLASH && (code === DOT || code === SLASH)) work = true;
    previous = code;
  }
  if (!work) return path;
  let pathname = end === path.length ? path : path.slice(0, end);
  const decoded = decode(pathname, options);
  if (decoded === undefined) return undefined;
  pathname = options.normalizePath ? withoutDotSegments(decoded) : decoded;
  if (options.mergeSlashes) pathname = withMergedSlashes(pathname);
  return end === path.length ? pathname : pathname + path.slice(end);
}

/** Unreserved characters in the clear, backslashes as slashes, encoded slashes as the options say. */
function decode(pathname: string, options: PathOptions): string | undefined {
  const { normalizePath, escapedSlashes } = options;
  if (!normalizePath && escapedSlashes === "keep") return pathname;
  let decoded = "";
  let copied = 0;
  for (let i = 0; i < pathname.length; i++) {
    const code = pathname.charCodeAt(i);
    let length = 1;
    let replacement = "";
    if (code === BACKSLASH && normalizePath) replacement = "/";
    else if (normalizePath && ENCODED.has(code)) replacement = ENCODED.get(code) as string;
    else if (normalizePath && code > 0x7f) replacement = `%${code.toString(16).toUpperCase()}`; // HTTP/2 has them
    else if (code === PERCENT) {
      const octet = octetAt(pathname, i + 1);
      if (octet < 0) continue; // a percent sign that encodes nothing stays
      if (normalizePath && octet === 0) return undefined;
      if (octet === SLASH || octet === BACKSLASH) {
        if (escapedSlashes === "unescape") replacement = octet === SLASH || normalizePath ? "/" : "\\";
      } else if (normalizePath && isUnreserved(octet)) replacement = String.fromCharCode(octet);
      length = 3;
    }
    if (replacement !== "") {
      decoded += pathname.slice(copied, i) + replacement;
      copied = i + length;
    }
    i += length - 1;
  }
  return copied === 0 ? pathname : decoded + pathname.slice(copied);
}

/** The value of two hexadecimal digits, or -1. */
function octetAt(text: string, at: number): number {
  const high = hexDigit(text.charCodeAt(at));
  const low = hexDigit(text.charCodeAt(at + 1));
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

function hexDigit(code: number): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  const letter = code | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x61 + 10 : -1;
}

/** RFC 3986 §2.3 */
function isUnreserved(octet: number): boolean {
  const letter = octet | 0x20;
  return letter >= 0x61 && letter <= 0x7a || octet >= 0x30 && octet <= 0x39 ||
    octet === 0x2d || octet === DOT || octet === 0x5f || octet === 0x7e;
}

/** RFC 3986 §5.2.4 */
function withoutDotSegments(pathname: string): string {
  if (!pathname.includes("/.")) return pathname;
  const segments = pathname.split("/"); // the first is empty: a path begins with a slash
  const kept: string[] = [];
  for (let i = 1; i < segments.length; i++) {
    const segment = segments[i]!;
    const dots = dotsOf(segment);
    if (dots === 0) kept.push(segment);
    else {
      if (dots === 2) kept.pop();
      // A dot segment at the end leaves the slash before it.
      if (i === segments.length - 1) kept.push("");
    }
  }
  return `/${kept.join("/")}`;
}

/**
 * Dots of a dot segment, 0 for any other. One with parameters (`..;x`) counts: servers that know path parameters take it
 * for one.
 */
function dotsOf(segment: string): 0 | 1 | 2 {
  const semicolon = segment.indexOf(";");
  const name = semicolon < 0 ? segment : segment.slice(0, semicolon);
  return name === "." ? 1 : name === ".." ? 2 : 0;
}

function withMergedSlashes(pathname: string): string {
  if (!pathname.includes("//")) return pathname;
  let merged = "";
  let copied = 0;
  for (let i = 1; i < pathname.length; i++) {
    if (pathname.charCodeAt(i) !== SLASH || pathname.charCodeAt(i - 1) !== SLASH) continue;
    merged += pathname.slice(copied, i);
    copied = i + 1;
  }
  return merged + pathname.slice(copied);
}
