/** Filters of HTTPRoute and GRPCRoute as parts of a route. */
import type {
  CorsFilter,
  HeaderModifier,
  PathModifier,
  RequestMirror,
  RequestRedirect,
} from "../../config/objects/mod.ts";
import type { StringMatch } from "../../matching/mod.ts";
import type {
  CorsPolicy,
  Fraction,
  HeaderAddition,
  HeaderMutation,
  PathRewrite,
  RedirectAction,
} from "../snapshot/mod.ts";

export const NO_MUTATION: HeaderMutation = { add: [], remove: [] };

/** Header values of a route are literal: a percent sign of theirs begins no operator. */
function literal(value: string): string {
  return value.replaceAll("%", "%%");
}

function additions(
  list: HeaderModifier["set"],
  action: HeaderAddition["action"],
): HeaderAddition[] {
  const names = new Set<string>();
  const result: HeaderAddition[] = [];
  for (const { name: written, value } of list ?? []) {
    const name = written.toLowerCase();
    // "Subsequent entries with an equivalent header name MUST be ignored."
    if (names.has(name)) continue;
    names.add(name);
    result.push({ name, value: literal(value), action });
  }
  return result;
}

export function mutationOf(modifier: HeaderModifier | undefined): HeaderMutation {
  if (modifier === undefined) return NO_MUTATION;
  return {
    add: [...additions(modifier.set, "overwrite"), ...additions(modifier.add, "append")],
    remove: (modifier.remove ?? []).map((name) => name.toLowerCase()),
  };
}

/** A prefix without its trailing slash; `/` takes the matched prefix away. */
export function rewriteOf(modifier: PathModifier | undefined): PathRewrite {
  if (modifier === undefined) return {};
  if (modifier.type === "ReplaceFullPath") return { full: modifier.replaceFullPath };
  return { prefix: (modifier.replacePrefixMatch ?? "").replace(/\/$/, "") || "/" };
}

export function redirectOf({ scheme, hostname, port, path, statusCode }: RequestRedirect): RedirectAction {
  return {
    kind: "redirect",
    host: hostname,
    scheme,
    port,
    path: rewriteOf(path),
    status: statusCode ?? 302,
    stripQuery: false,
  };
}

const MILLION = 1_000_000;

export function fractionOf({ percent, fraction }: RequestMirror): Fraction {
  if (fraction !== undefined) return Math.round(MILLION * fraction.numerator / (fraction.denominator ?? 100));
  return percent === undefined ? MILLION : percent * (MILLION / 100);
}

/** `*` is any origin, `*.` in a host any labels in front. */
function originMatch(origin: string): StringMatch {
  if (origin === "*") return { kind: "prefix", value: "" };
  if (!origin.includes("*")) return { kind: "exact", value: origin };
  return {
    kind: "regex",
    regex: origin.split("*").map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join("[^/]+"),
  };
}

const MAX_AGE = 5; // seconds, Gateway API's default

export function corsOf(yaml: CorsFilter): CorsPolicy {
  const maxAge = yaml.maxAge ?? MAX_AGE;
  return {
    allowOrigins: (yaml.allowOrigins ?? []).map(originMatch),
    allowMethods: (yaml.allowMethods ?? []).join(","),
    allowHeaders: (yaml.allowHeaders ?? []).join(","),
    exposeHeaders: (yaml.exposeHeaders ?? []).join(","),
    maxAge: maxAge === 0 ? "" : String(maxAge),
    allowCredentials: yaml.allowCredentials ?? false,
    forwardNotMatchingPreflights: false,
  };
}
