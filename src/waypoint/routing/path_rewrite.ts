/** New paths and authorities for requests (RouteAction's rewrites) and for redirects. */
import { octetsOf, pathOnly, type Regex, regexOf, type Substitution } from "../../matching/mod.ts";
import type { PathRewrite, RouteMatch } from "../snapshot/mod.ts";

/** Gives the new path without a query; undefined: it stays. */
export type PathChange = (pathname: string) => string | undefined;

/** A rewrite that cannot be done; the message says why. */
export class RewriteError extends Error {}

/**
 * @returns undefined: the path is never changed
 * @throws MatchError, RewriteError
 */
export function compilePathChange(rewrite: PathRewrite, match: RouteMatch): PathChange | undefined {
  if (rewrite.full !== undefined) {
    const full = withSlash(checked(rewrite.full));
    return () => full;
  }
  if (rewrite.regex !== undefined) {
    const regex: Regex = regexOf(rewrite.regex.regex);
    checked(rewrite.regex.substitution);
    const substitution: Substitution = regex.substitution(rewrite.regex.substitution);
    return (pathname) => {
      const changed = regex.replaceAll(pathname, substitution);
      return changed === "" ? undefined : withSlash(changed); // nothing is no path
    };
  }
  return rewrite.prefix === undefined ? undefined : prefixChange(checked(rewrite.prefix), match);
}

/** What matched is replaced: the prefix, or for other kinds of match the whole path. */
function prefixChange(replacement: string, { path }: RouteMatch): PathChange {
  if (path.kind !== "prefix" && path.kind !== "path-separated-prefix") {
    const full = withSlash(replacement);
    return () => full;
  }
  const { length } = octetsOf(path.value);
  const root = path.value === "/";
  return (pathname) => {
    if (pathname.length < length) return undefined; // a header change put another path there
    const rest = pathname.slice(length);
    // No `//` where what matched is taken away, and no slash missing where it was all that matched.
    if (
      (replacement === "/" || path.kind === "path-separated-prefix" && replacement.endsWith("/")) &&
      rest.startsWith("/")
    ) return withSlash(replacement + rest.slice(1));
    if (root && rest !== "" && !replacement.endsWith("/")) return withSlash(`${replacement}/${rest}`);
    return withSlash(replacement + rest);
  };
}

function withSlash(pathname: string): string {
  return pathname.startsWith("/") ? pathname : `/${pathname}`;
}

/** As octets, if it may stand in a request line. */
function checked(text: string): string {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code <= 0x20 || code === 0x7f) throw new RewriteError(`a path cannot have ${JSON.stringify(text[i])}`);
  }
  return octetsOf(text);
}

/** The path with its query after a change. A new path that brings a query of its own replaces the old one. */
export function changedPath(path: string, change: PathChange, keepQuery: boolean): string {
  const pathname = pathOnly(path);
  const changed = change(pathname);
  if (changed === undefined) return path;
  return keepQuery ? withQueryOf(path, changed) : changed;
}

/** A new path with the query of the old one, unless it brings one. */
export function withQueryOf(path: string, changed: string): string {
  return changed.includes("?") ? changed : changed + path.slice(pathOnly(path).length);
}
