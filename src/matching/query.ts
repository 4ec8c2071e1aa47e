/** QueryMatch as predicates of a request's path. */
import { octetsOf } from "./octets.ts";
import type { QueryMatch } from "./string_match.ts";
import { compileValueMatch } from "./text.ts";

/** First value of a parameter in the query of a path, as it is written (no percent-decoding, as Envoy compares). */
export function queryParameter(path: string, name: string): string | undefined {
  let at = path.indexOf("?");
  while (at >= 0) {
    const start = at + 1;
    at = path.indexOf("&", start);
    const end = at < 0 ? path.length : at;
    if (!path.startsWith(name, start)) continue;
    const after = start + name.length;
    if (after === end) return "";
    if (after < end && path.charCodeAt(after) === 0x3d /* = */) return path.slice(after + 1, end);
  }
  return undefined;
}

/** Of the path with its query. @throws MatchError */
export function compileQueryMatch(match: QueryMatch): (path: string) => boolean {
  const name = octetsOf(match.name);
  const test = compileValueMatch(match.match);
  return (path) => {
    const value = queryParameter(path, name);
    return value !== undefined && test(value);
  };
}
