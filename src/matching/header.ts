/** HeaderMatch as predicates of a request. */
import { joinedField, pseudoField } from "../http/message.ts";
import type { HeaderList } from "../http2/mod.ts";
import { octetsOf } from "./octets.ts";
import type { HeaderMatch } from "./string_match.ts";
import { compileValueMatch, type TextPredicate } from "./text.ts";

/** The part of a request that header and query matches look at. */
export interface MatchedHead {
  readonly method: string;
  readonly scheme: string;
  readonly authority: string;
  readonly path: string;
  readonly fields: HeaderList;
}

export type HeadPredicate = (head: MatchedHead) => boolean;

function isPseudo(name: string): boolean {
  return name.startsWith(":") || name === "host";
}

/** Reads one field of any request; several values of it are joined by `,`. */
export function fieldReader(name: string): (head: MatchedHead) => string | undefined {
  return isPseudo(name) ? (head) => pseudoField(head, name) : (head) => joinedField(head.fields, name);
}

/**
 * For routes: several fields of one name are one value, joined by `,` (spec/waypoint.md §7, header matching). An absent
 * field fails the match even when it is inverted, unless it counts as empty (envoy.config.route.v3.HeaderMatcher).
 * @throws MatchError
 */
export function compileHeaderMatch(match: HeaderMatch): HeadPredicate {
  const { invert } = match;
  const read = fieldReader(match.name);
  if (match.match.kind === "present") {
    return (head) => (match.treatMissingAsEmpty || read(head) !== undefined) !== invert;
  }
  const test = compileValueMatch(match.match);
  const missing = match.treatMissingAsEmpty && test("") !== invert;
  return (head) => {
    const value = read(head);
    return value === undefined ? missing : test(value) !== invert;
  };
}

/**
 * For authorization: any one value of several fields of the name is enough, or their joined form (spec/waypoint.md §7).
 * Inverted: none of them matches.
 * @throws MatchError
 */
export function compileAnyHeaderMatch(match: HeaderMatch): HeadPredicate {
  const { name, invert } = match;
  if (isPseudo(name)) return compileHeaderMatch(match);
  if (match.match.kind === "present") return compileHeaderMatch(match);
  const test = compileValueMatch(match.match);
  const missing = match.treatMissingAsEmpty && test("") !== invert;
  return (head) => {
    const found = matchesAny(head.fields, name, test);
    return found === undefined ? missing : found !== invert;
  };
}

/** undefined: there is no such field. */
function matchesAny(fields: HeaderList, name: string, test: TextPredicate): boolean | undefined {
  let values = 0;
  for (const field of fields) {
    if (field[0] !== name) continue;
    if (test(field[1])) return true;
    values++;
  }
  if (values === 0) return undefined;
  return values > 1 && test(joinedField(fields, name)!);
}

/** The one value that a field must have for the match to hold, for indexes; undefined: it is not that simple. */
export function exactHeaderValue(match: HeaderMatch): string | undefined {
  if (match.invert || match.match.kind !== "exact" || match.match.ignoreCase === true) return undefined;
  // An empty value may be that of an absent field.
  return match.match.value === "" ? undefined : octetsOf(match.match.value);
}
