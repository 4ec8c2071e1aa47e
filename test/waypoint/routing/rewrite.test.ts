import { describe, expect, test } from "bun:test";
import type { PathMatch } from "../../../src/matching/mod.ts";
import type { HeaderList } from "../../../src/http2/mod.ts";
import { CompiledRoutes, redirectResponse, rewriteRequest } from "../../../src/waypoint/routing/mod.ts";
import type { ForwardAction, PathRewrite, RedirectAction } from "../../../src/waypoint/snapshot/mod.ts";
import {
  cluster,
  configuration,
  exact,
  forward,
  match,
  prefix,
  request,
  route,
  separated,
  virtualHost,
} from "./fixtures.ts";

function compiled(path: PathMatch, action: ForwardAction | RedirectAction) {
  const routes = new CompiledRoutes(configuration([virtualHost([route("r", match(path), { action })])]));
  expect(routes.problems).toEqual([]);
  return routes;
}

const REMOVE_PREFIX: PathRewrite = { regex: { regex: "^/strip(/?)(.*)", substitution: "/\\2" } };

/** Rewrites; redirects change paths the same way. */
const PATHS: [PathMatch, PathRewrite, path: string, result: string][] = [
  [separated("/old"), { prefix: "/new" }, "/old", "/new"],
  [separated("/old"), { prefix: "/new" }, "/old/a?b=/c", "/new/a?b=/c"],
  [separated("/old"), { prefix: "/new/" }, "/old/a", "/new/a"],
  [separated("/old"), { prefix: "/" }, "/old/a/b", "/a/b"],
  [separated("/old"), { prefix: "/" }, "/old", "/"],
  [separated("/old"), { prefix: "/" }, "/old?a", "/?a"],
  [separated("/Old", false), { prefix: "/new" }, "/OLD/a", "/new/a"],
  [prefix("/"), { prefix: "/new" }, "/a/b", "/new/a/b"],
  [prefix("/"), { prefix: "/new" }, "/", "/new"],
  [prefix("/"), { prefix: "/new/" }, "/a", "/new/a"],
  [prefix("/"), { prefix: "/" }, "/a", "/a"],
  [prefix("/old/"), { prefix: "/" }, "/old/a", "/a"],
  [prefix("/v1"), { prefix: "/v2" }, "/v1beta/a", "/v2beta/a"],
  [exact("/old"), { prefix: "/new" }, "/old?a", "/new?a"],
  [{ kind: "regex", regex: "/o.*" }, { prefix: "/new" }, "/old/a", "/new"],
  [prefix("/"), { full: "/one" }, "/a/b?c", "/one?c"],
  [prefix("/"), { full: "one" }, "/a", "/one"],
  [prefix("/"), { full: "/one?d" }, "/a?c", "/one?d"],
  [separated("/strip"), REMOVE_PREFIX, "/strip/a/b?c", "/a/b?c"],
  [separated("/strip"), REMOVE_PREFIX, "/strip", "/"],
  [prefix("/"), { regex: { regex: "/user/([0-9]+)", substitution: "/u-\\1" } }, "/user/42/x", "/u-42/x"],
  [prefix("/"), {}, "/a?b", "/a?b"],
];

describe("path rewrites", () => {
  for (const [path, rewrite, before, after] of PATHS) {
    test(`${JSON.stringify(path)} ${JSON.stringify(rewrite)}: ${before} → ${after}`, () => {
      const action = forward({ rewrite });
      const routes = compiled(path, action);
      const head = request(before);
      rewriteRequest(head, action, cluster("web"), routes.choose(head)!, true);
      expect(head.path).toBe(after);
      const changes = Object.keys(rewrite).length > 0;
      expect(head.fields).toEqual(changes ? [["x-envoy-original-path", before]] : []);
    });
  }

  test("originals only where they are wanted", () => {
    const action = forward({ rewrite: { full: "/b" }, hostRewrite: "other" });
    const head = request("/a");
    rewriteRequest(head, action, cluster("web"), compiled(prefix("/"), action).choose(head)!, false);
    expect(head).toMatchObject({ path: "/b", authority: "other", fields: [] });
  });
});

describe("host rewrites", () => {
  function rewritten(action: ForwardAction, fields: HeaderList = [], of = cluster("web")) {
    const head = request("/", fields, { authority: "a:80" });
    rewriteRequest(head, action, of, compiled(prefix("/"), action).choose(head)!, true);
    return head;
  }

  test("the original is kept beside", () => {
    const head = rewritten(forward({ hostRewrite: "other" }));
    expect(head.authority).toBe("other");
    expect(head.fields).toEqual([["x-envoy-original-host", "a:80"]]);
  });

  test("the cluster's goes before the route's", () => {
    expect(rewritten(forward({ hostRewrite: "other" }), [], cluster("web", { hostRewrite: "own" })).authority).toBe(
      "own",
    );
  });

  const forwarded: [before: HeaderList, value: string][] = [
    [[], "a:80"],
    [[["x-forwarded-host", "first"]], "first,a:80"],
    [[["x-forwarded-host", "first"], ["x-forwarded-host", "second"]], "first,second,a:80"],
    [[["x-forwarded-host", "first,a:80"]], "first,a:80"],
    [[["x-forwarded-host", "first, a:80"]], "first, a:80,a:80"],
  ];
  for (const [before, value] of forwarded) {
    test(`X-Forwarded-Host ${JSON.stringify(before)} becomes ${value}`, () => {
      const head = rewritten(forward({ hostRewrite: "other", appendForwardedHost: true }), before);
      expect(head.fields).toContainEqual(["x-forwarded-host", value]);
      expect(head.fields.filter(([name]) => name === "x-forwarded-host").at(-1)?.[1]).toBe(value);
    });
  }

  test("nothing to rewrite changes nothing", () => {
    const head = rewritten(forward({ appendForwardedHost: true }));
    expect(head).toMatchObject({ authority: "a:80", fields: [] });
  });
});

describe("redirects", () => {
  function location(
    action: Partial<RedirectAction>,
    authority: string,
    path = "/a?b",
    more = {},
    matched = prefix("/"),
  ) {
    const redirect: RedirectAction = {
      kind: "redirect",
      host: undefined,
      scheme: undefined,
      port: undefined,
      path: {},
      status: 302,
      stripQuery: false,
      ...action,
    };
    const head = request(path, [], { authority, ...more });
    const answer = redirectResponse(head, redirect, compiled(matched, redirect).choose(head)!);
    expect(answer.status).toBe(redirect.status);
    expect(answer.fields).toHaveLength(1);
    return answer.fields[0]![1];
  }

  const cases: [action: Partial<RedirectAction>, authority: string, location: string][] = [
    [{}, "web", "http://web/a?b"],
    [{ status: 301 }, "web:8080", "http://web:8080/a?b"],
    [{ scheme: "https", status: 307 }, "web", "https://web/a?b"],
    [{ scheme: "https" }, "web:8080", "https://web:8080/a?b"],
    [{ scheme: "https" }, "web:80", "https://web/a?b"],
    [{ scheme: "http" }, "web:80", "http://web:80/a?b"],
    [{ port: 8443 }, "web:8080", "http://web:8443/a?b"],
    [{ port: 8443 }, "[::1]:8080", "http://[::1]:8443/a?b"],
    [{ port: 80 }, "web:8080", "http://web/a?b"],
    [{ port: 443 }, "web", "http://web:443/a?b"],
    [{ port: 443, scheme: "https" }, "web:8080", "https://web/a?b"],
    [{ host: "other" }, "web:8080", "http://other/a?b"],
    [{ host: "other", port: 81 }, "web:8080", "http://other:81/a?b"],
    [{ stripQuery: true }, "web", "http://web/a"],
    [{ path: { full: "/x" }, status: 308 }, "web", "http://web/x?b"],
    [{ path: { full: "/x" }, stripQuery: true }, "web", "http://web/x"],
    [{ path: { full: "/x?y" } }, "web", "http://web/x?y"],
    [{}, "", "/a?b"],
  ];
  for (const [action, authority, expected] of cases) {
    test(`${JSON.stringify(action)} of ${authority || "no host"}: ${expected}`, () => {
      expect(location(action, authority)).toBe(expected);
    });
  }

  for (const [matched, change, before, after] of PATHS) {
    if ("full" in change && change.full!.includes("?")) continue;
    test(`${JSON.stringify(change)}: ${before} → ${after}`, () => {
      expect(location({ path: change }, "web", before, {}, matched as never)).toBe(`http://web${after}`);
    });
  }
});
