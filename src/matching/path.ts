/** PathMatch as predicates of a path without its query. */
import { lowerAscii, octetsOf } from "./octets.ts";
import { literalPrefix, regexOf } from "./regex.ts";
import type { PathMatch } from "./string_match.ts";
import { compileTemplate } from "./template.ts";
import type { TextPredicate } from "./text.ts";

/** The part before the query (and the fragment, which no server should be sent). */
export function pathOnly(path: string): string {
  for (let i = 0; i < path.length; i++) {
    const code = path.charCodeAt(i);
    if (code === 0x3f /* ? */ || code === 0x23 /* # */) return path.slice(0, i);
  }
  return path;
}

/** @throws MatchError */
export function compilePathMatch(match: PathMatch): TextPredicate {
  switch (match.kind) {
    case "regex": {
      const regex = regexOf(match.regex);
      return (path) => regex.test(path);
    }
    case "template":
      return compileTemplate(match.template).test;
    case "exact":
    case "prefix":
    case "path-separated-prefix": {
      const test = compareWith(match.kind, pathValue(match));
      return match.caseSensitive ? test : (path) => test(lowerAscii(path));
    }
  }
}

function pathValue(match: { readonly value: string; readonly caseSensitive: boolean }): string {
  const value = octetsOf(match.value);
  return match.caseSensitive ? value : lowerAscii(value);
}

function compareWith(kind: "exact" | "prefix" | "path-separated-prefix", value: string): TextPredicate {
  switch (kind) {
    case "exact":
      return (path) => path === value;
    case "prefix":
      return (path) => path.startsWith(value);
    case "path-separated-prefix":
      return (path) =>
        path.startsWith(value) && (path.length === value.length || path.charCodeAt(value.length) === 0x2f /* / */);
  }
}

/** What a path must be or begin with to match: what an index goes by before the predicate decides. */
export interface PathKey {
  readonly kind: "exact" | "prefix";
  readonly value: string;
  /** False: `value` is in lower case, and so must be what is looked up. */
  readonly caseSensitive: boolean;
}

/** @throws MatchError for a template that is none. */
export function pathKey(match: PathMatch): PathKey {
  switch (match.kind) {
    case "regex":
      return { kind: "prefix", value: literalPrefix(match.regex), caseSensitive: true };
    case "template":
      return { kind: "prefix", value: compileTemplate(match.template).literal, caseSensitive: true };
    case "exact":
      return { kind: "exact", value: pathValue(match), caseSensitive: match.caseSensitive };
    case "prefix":
    case "path-separated-prefix":
      return { kind: "prefix", value: pathValue(match), caseSensitive: match.caseSensitive };
  }
}
