/** What must be so for a condition to hold, as far as a lookup can tell: a text of the request, or a field's value. */
import type { RequestHead } from "../http/message.ts";
import {
  exactHeaderValue,
  type HeaderMatch,
  lowerAscii,
  octetsOf,
  pathKey,
  type PathMatch,
  type StringMatch,
} from "../matching/mod.ts";
import type { RequestFacts } from "./request_facts.ts";

/** A text of which a request has one or none. */
export interface Subject {
  readonly name: string;
  readonly read: (facts: RequestFacts) => string | undefined;
  /** The more requests differ in it, the higher: which need of several is looked up. */
  readonly rank: number;
}

/** A field of which a request may have several values: one of `values` must be among them. */
export interface FieldNeed {
  readonly kind: "field";
  readonly field: string;
  readonly values: readonly string[];
}

/** The subject must be one of `values`, or begin with one. */
export interface TextNeed {
  readonly kind: "exact" | "prefix";
  readonly subject: Subject;
  readonly values: readonly string[];
  /** And that is all it takes. */
  readonly enough: boolean;
}

export type Need = TextNeed | FieldNeed;

export const PATH: Subject = {
  name: "path",
  read: (facts) => facts.head === undefined ? undefined : facts.path,
  rank: 5,
};
export const PEER: Subject = { name: "peer identity", read: (facts) => facts.peerPrincipal, rank: 4 };
export const SERVER_NAME: Subject = { name: "server name", read: (facts) => facts.serverName ?? "", rank: 2 };

function pseudo(name: string, read: (head: RequestHead) => string, rank: number): Subject {
  return { name, read: (facts) => facts.head === undefined ? undefined : read(facts.head), rank };
}

const AUTHORITY = pseudo(":authority", (head) => head.authority, 2);
/** For hosts, which are compared without case. */
const LOWER_AUTHORITY = pseudo(":authority", (head) => lowerAscii(head.authority), 2);
export const PSEUDO_HEADERS: ReadonlyMap<string, Subject> = new Map([
  [":method", pseudo(":method", (head) => head.method, 1)],
  [":authority", AUTHORITY],
  ["host", AUTHORITY],
  [":path", pseudo(":path", (head) => head.path, 5)],
  [":scheme", pseudo(":scheme", (head) => head.scheme, 0)],
]);
const FIELD_RANK = 3;

/** What the subject must be or begin with. */
export function needOf(subject: Subject, match: StringMatch | PathMatch): TextNeed | undefined {
  if (match.kind === "regex" || match.kind === "suffix" || match.kind === "contains") return undefined;
  if (match.kind === "template") {
    return { kind: "prefix", subject, values: [pathKey(match).value], enough: false };
  }
  const kind = match.kind === "exact" ? "exact" : "prefix";
  const ignoresCase = "caseSensitive" in match ? !match.caseSensitive : match.ignoreCase === true;
  const enough = match.kind !== "path-separated-prefix";
  if (!ignoresCase) return { kind, subject, values: [octetsOf(match.value)], enough };
  if (subject !== AUTHORITY) return undefined;
  return { kind, subject: LOWER_AUTHORITY, values: [lowerAscii(octetsOf(match.value))], enough };
}

/** A value with a comma may also be made of several fields joined. */
export function fieldNeed(wanted: HeaderMatch): FieldNeed | undefined {
  const value = exactHeaderValue(wanted);
  return value === undefined || value.includes(",")
    ? undefined
    : { kind: "field", field: wanted.name, values: [value] };
}

function rankOf(need: Need): number {
  return need.kind === "field" ? FIELD_RANK : need.subject.rank + (need.kind === "exact" ? 0.5 : 0);
}

/** Of needs that all have to be met, the one that the fewest requests meet. */
export function best(conditions: readonly { readonly need: Need | undefined }[]): Need | undefined {
  let chosen: Need | undefined;
  for (const { need } of conditions) {
    if (need !== undefined && (chosen === undefined || rankOf(need) > rankOf(chosen))) chosen = need;
  }
  // Of several conditions one alone is not enough.
  return chosen === undefined || chosen.kind === "field" ? chosen : { ...chosen, enough: false };
}

/** What alternatives have in common: each needs the same subject. */
export function union(conditions: readonly { readonly need: Need | undefined }[]): Need | undefined {
  let common: Need | undefined;
  for (const { need } of conditions) {
    if (need === undefined) return undefined;
    if (common === undefined) common = need;
    else if (common.kind === "field" || need.kind === "field") {
      if (common.kind !== "field" || need.kind !== "field" || common.field !== need.field) return undefined;
      common = { ...common, values: [...common.values, ...need.values] };
    } else {
      if (common.subject !== need.subject) return undefined;
      const kind = common.kind === "exact" ? need.kind : common.kind;
      common = { ...common, kind, values: [...common.values, ...need.values], enough: common.enough && need.enough };
    }
  }
  return common;
}
