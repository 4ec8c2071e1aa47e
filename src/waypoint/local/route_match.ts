/** Matches of HTTPRoute and GRPCRoute, and which of two comes first (Gateway API; spec/waypoint.md §1.14). */
import type { GrpcRule, HttpRule, LocalObject, ValuePath } from "../../config/objects/mod.ts";
import { type HeaderMatch, MatchError, type PathMatch, type QueryMatch, regexOf } from "../../matching/mod.ts";
import type { RouteMatch } from "../snapshot/mod.ts";
import { byAge, type Report } from "./input.ts";

type HttpMatchYaml = NonNullable<HttpRule["matches"]>[number];
type GrpcMatchYaml = NonNullable<GrpcRule["matches"]>[number];
type TextMatchYaml = NonNullable<HttpMatchYaml["headers"]>[number];

/** Numbers to compare one by one, the greater first: kind of path, its length, method, headers, query parameters. */
export type Rank = readonly [path: number, length: number, method: number, headers: number, query: number];

export interface RankedMatch {
  readonly match: RouteMatch;
  readonly rank: Rank;
  /** What of the path matches, for the operation's name: `/cart*`, `/cart`, a regular expression. */
  readonly pattern: string;
}

/** As istiod ranks them: exact, prefix, regular expression; a GRPCRoute's match without method comes last. */
const PATH_RANK = { exact: 3, prefix: 2, regex: 1, any: 0 };

/** Whether a regular expression can be compiled; if not it is reported. */
function checkRegex(object: LocalObject, path: ValuePath, regex: string, report: Report): void {
  try {
    regexOf(regex);
  } catch (error) {
    if (!(error instanceof MatchError)) throw error;
    report.error(object, path, error.message);
  }
}

function texts(
  object: LocalObject,
  at: ValuePath,
  yaml: readonly TextMatchYaml[] | undefined,
  lowerCase: boolean,
  report: Report,
): QueryMatch[] {
  const matches = new Map<string, QueryMatch>();
  for (const [i, { type, name: written, value }] of (yaml ?? []).entries()) {
    const name = lowerCase ? written.toLowerCase() : written;
    if (matches.has(name)) {
      report.warn(object, [...at, i, "name"], `a second match of ${written}: only the first counts`);
      continue;
    }
    if (type === "RegularExpression") checkRegex(object, [...at, i, "value"], value, report);
    const match = type === "RegularExpression"
      ? { kind: "regex", regex: value } as const
      : { kind: "exact", value } as const;
    matches.set(name, { name, match });
  }
  return [...matches.values()];
}

function headers(object: LocalObject, at: ValuePath, yaml: HttpMatchYaml["headers"], report: Report): HeaderMatch[] {
  return texts(object, at, yaml, true, report).map((match) => ({
    ...match,
    invert: false,
    treatMissingAsEmpty: false,
  }));
}

interface RankedPath {
  readonly path: PathMatch;
  readonly rank: number;
  readonly length: number;
  readonly pattern: string;
}

function exact(value: string): RankedPath {
  return {
    path: { kind: "exact", value, caseSensitive: true },
    rank: PATH_RANK.exact,
    length: value.length,
    pattern: value,
  };
}

function regex(value: string): RankedPath {
  return { path: { kind: "regex", regex: value }, rank: PATH_RANK.regex, length: value.length, pattern: value };
}

/** A trailing slash is ignored: `/foo/` is `/foo`, which matches `/foo` and all below it. */
function prefix(value: string): RankedPath {
  const trimmed = value.length > 1 && value.endsWith("/") ? value.slice(0, -1) : value;
  const kind = trimmed === "/" ? "prefix" : "path-separated-prefix";
  return {
    path: { kind, value: trimmed, caseSensitive: true },
    rank: PATH_RANK.prefix,
    length: trimmed.length,
    pattern: `${trimmed}*`,
  };
}

export function httpMatch(object: LocalObject, at: ValuePath, yaml: HttpMatchYaml, report: Report): RankedMatch {
  const value = yaml.path?.value ?? "/";
  const type = yaml.path?.type ?? "PathPrefix";
  if (type === "RegularExpression") checkRegex(object, [...at, "path", "value"], value, report);
  const { path, rank, length, pattern } = type === "Exact"
    ? exact(value)
    : type === "PathPrefix"
    ? prefix(value)
    : regex(value);
  const fields = headers(object, [...at, "headers"], yaml.headers, report);
  const query = texts(object, [...at, "queryParams"], yaml.queryParams, false, report);
  const method: HeaderMatch[] = yaml.method === undefined ? [] : [{
    name: ":method",
    match: { kind: "exact", value: yaml.method },
    invert: false,
    treatMissingAsEmpty: false,
  }];
  return {
    match: { path, headers: [...method, ...fields], query, metadata: [] },
    rank: [rank, length, method.length, fields.length, query.length],
    pattern,
  };
}

/** The path of gRPC is `/package.Service/Method`. */
function grpcPath(object: LocalObject, at: ValuePath, yaml: GrpcMatchYaml["method"], report: Report): RankedPath {
  if (yaml === undefined) return { ...prefix("/"), rank: PATH_RANK.any };
  const { type, service, method } = yaml;
  if (type === "RegularExpression") {
    if (service !== undefined) checkRegex(object, [...at, "method", "service"], service, report);
    if (method !== undefined) checkRegex(object, [...at, "method", "method"], method, report);
    return regex(`/${service ?? "[^/]+"}/${method ?? ".+"}`);
  }
  if (method === undefined) {
    // Not path-separated: the slash is part of it.
    const value = `/${service}/`;
    return {
      path: { kind: "prefix", value, caseSensitive: true },
      rank: PATH_RANK.prefix,
      length: value.length,
      pattern: `${value}*`,
    };
  }
  if (service === undefined) return regex(`/[^/]+/${method.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")}`);
  return exact(`/${service}/${method}`);
}

export function grpcMatch(object: LocalObject, at: ValuePath, yaml: GrpcMatchYaml, report: Report): RankedMatch {
  const { path, rank, length, pattern } = grpcPath(object, at, yaml.method, report);
  const fields = headers(object, [...at, "headers"], yaml.headers, report);
  return {
    match: { path, headers: fields, query: [], metadata: [] },
    rank: [rank, length, 0, fields.length, 0],
    pattern,
  };
}

/** Which of two matches is tried first: the more specific, then the older object's, then as written. */
export function compareRanked(
  a: { readonly rank: Rank; readonly object: LocalObject },
  b: { readonly rank: Rank; readonly object: LocalObject },
): number {
  for (const [i, value] of a.rank.entries()) {
    const difference = (b.rank[i] as number) - value;
    if (difference !== 0) return difference;
  }
  return byAge(a.object, b.object);
}
