/** Comparing texts, headers, queries and paths of requests. */
export type * from "./string_match.ts";
