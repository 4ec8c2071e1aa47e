/** Parts of routes, in few words. */
import type { HeaderMatch, PathMatch, StringMatch } from "../../../src/matching/mod.ts";
import type {
  CorsPolicy,
  Fault,
  ForwardAction,
  HeaderAddition,
  HeaderMutation,
  PathRewrite,
  RedirectAction,
  Route,
  RouteMatch,
} from "../../../src/waypoint/snapshot/mod.ts";
import { forward, retryPolicy, route } from "../../waypoint/harness.ts";

export const NONE: HeaderMutation = { add: [], remove: [] };
export const DEFAULT_RETRY = retryPolicy([
  "connect-failure",
  "refused-stream",
  "unavailable",
  "cancelled",
  "retriable-status-codes",
]);

export const prefix = (value: string): PathMatch => ({ kind: "prefix", value, caseSensitive: true });
export const exactPath = (value: string): PathMatch => ({ kind: "exact", value, caseSensitive: true });
export const separated = (value: string): PathMatch => ({ kind: "path-separated-prefix", value, caseSensitive: true });

export function to(name: string, more: Partial<ForwardAction> = {}): ForwardAction {
  return forward({
    clusters: [{ cluster: name, weight: 1, requestHeaders: NONE, responseHeaders: NONE }],
    retry: DEFAULT_RETRY,
    ...more,
  });
}

export function at(path: PathMatch, more: Omit<Partial<Route>, "match"> & { match?: Partial<RouteMatch> } = {}): Route {
  const name = "value" in path ? path.value.slice(1).replaceAll("/", "-") || "root" : "pattern";
  const match = { path, headers: [], query: [], metadata: [], ...more.match };
  return route({ name, action: to("h1"), ...more, match: { ...match, path } });
}

export const add = (name: string, value: string, action: HeaderAddition["action"] = "append"): HeaderAddition => ({
  name,
  value,
  action,
});
export const header = (name: string, match: HeaderMatch["match"], more: Partial<HeaderMatch> = {}): HeaderMatch => ({
  name,
  match,
  invert: false,
  treatMissingAsEmpty: false,
  ...more,
});
export const exact = (value: string, ignoreCase = false): StringMatch => ({ kind: "exact", value, ignoreCase });

export function redirect(more: Partial<RedirectAction>): RedirectAction {
  return {
    kind: "redirect",
    host: undefined,
    scheme: undefined,
    port: undefined,
    path: {},
    status: 302,
    stripQuery: false,
    ...more,
  };
}

export const cors = (more: Partial<CorsPolicy> = {}): CorsPolicy => ({
  allowOrigins: [exact("http://a.test"), { kind: "regex", regex: "https?://.*\\.b\\.test" }],
  allowMethods: "GET,POST",
  allowHeaders: "x-one,x-two",
  exposeHeaders: "x-out",
  maxAge: "300",
  allowCredentials: true,
  forwardNotMatchingPreflights: false,
  ...more,
});

export const fault = (more: Partial<Fault>): Fault => ({ delay: undefined, abort: undefined, ...more });
export const abort = (status: number | undefined, grpcStatus?: number): Fault =>
  fault({ abort: { status, grpcStatus, fraction: 1_000_000 } });

export const rewriting = (path: PathMatch, rewrite: PathRewrite, more: Partial<ForwardAction> = {}): Route =>
  at(path, { action: to("h1", { rewrite, ...more }) });
