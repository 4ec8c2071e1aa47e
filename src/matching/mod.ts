/** Comparing texts, headers, queries and paths of requests. Everything that compiles throws MatchError for bad patterns. */
export type * from "./string_match.ts";
export { MatchError } from "./match_error.ts";
export { isAscii, lowerAscii, octetsOf } from "./octets.ts";
export { Regex, regexOf, type Substitution } from "./regex.ts";
export { compileStringMatch, compileValueMatch, type TextPredicate } from "./text.ts";
export {
  compileAnyHeaderMatch,
  compileHeaderMatch,
  exactHeaderValue,
  fieldReader,
  type HeadPredicate,
  type MatchedHead,
} from "./header.ts";
export { compileQueryMatch, queryParameter } from "./query.ts";
export { compilePathMatch, type PathKey, pathKey, pathOnly } from "./path.ts";
export { compileMetadataMatch, type Metadata } from "./metadata.ts";
