/** StringMatch and ValueMatch as predicates. */
import { lowerAscii, octetsOf } from "./octets.ts";
import { regexOf } from "./regex.ts";
import type { StringMatch, ValueMatch } from "./string_match.ts";

/** Texts are octets, one character each, as in messages. */
export type TextPredicate = (text: string) => boolean;

/** @throws MatchError for a regular expression that is none. */
export function compileStringMatch(match: StringMatch): TextPredicate {
  if (match.kind === "regex") {
    const regex = regexOf(match.regex);
    return (text) => regex.test(text);
  }
  if (match.ignoreCase === true) {
    const value = lowerAscii(octetsOf(match.value));
    const compare = compareWith(match.kind, value);
    return (text) => compare(lowerAscii(text));
  }
  return compareWith(match.kind, octetsOf(match.value));
}

function compareWith(kind: "exact" | "prefix" | "suffix" | "contains", value: string): TextPredicate {
  switch (kind) {
    case "exact":
      return (text) => text === value;
    case "prefix":
      return (text) => text.startsWith(value);
    case "suffix":
      return (text) => text.endsWith(value);
    case "contains":
      return (text) => text.includes(value);
  }
}

/** As compileStringMatch; anything is present. */
export function compileValueMatch(match: ValueMatch): TextPredicate {
  return match.kind === "present" ? always : compileStringMatch(match);
}

function always(): boolean {
  return true;
}
