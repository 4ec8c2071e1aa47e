import { describe, expect, test } from "bun:test";
import type { RequestHead } from "../../../src/http/message.ts";
import { CompiledRoutes } from "../../../src/waypoint/routing/mod.ts";
import type { RouteConfiguration, RouteMatch } from "../../../src/waypoint/snapshot/mod.ts";
import {
  cluster,
  configuration,
  exact,
  exactHeader,
  exactQuery,
  forward,
  match,
  NO_CHANGE,
  prefix,
  request,
  route,
  separated,
  virtualHost,
} from "./fixtures.ts";

function chosen(config: RouteConfiguration, head: RequestHead, namespace?: string): string | undefined {
  return new CompiledRoutes(config).choose(head, namespace)?.route.name;
}

function onlyRoutes(...matches: RouteMatch[]): RouteConfiguration {
  return configuration([virtualHost(matches.map((each, i) => route(`r${i}`, each)))]);
}

describe("choice of a route", () => {
  test("the first that matches, however special a later one is", () => {
    const config = onlyRoutes(match(separated("/a")), match(exact("/a/b")), match(prefix("/")));
    expect(chosen(config, request("/a/b"))).toBe("r0");
    expect(chosen(config, request("/ab"))).toBe("r2");
  });

  test("nothing matches", () => expect(chosen(onlyRoutes(match(exact("/a"))), request("/b"))).toBeUndefined());

  test("the query is no part of the path", () => {
    expect(chosen(onlyRoutes(match(exact("/a"))), request("/a?b=c"))).toBe("r0");
  });

  test("all conditions of a match count", () => {
    const all = match(prefix("/"), {
      headers: [exactHeader("x", "1"), exactHeader(":method", "GET")],
      query: [exactQuery("q", "2")],
    });
    const config = onlyRoutes(all);
    expect(chosen(config, request("/?q=2", [["x", "1"]]))).toBe("r0");
    expect(chosen(config, request("/?q=3", [["x", "1"]]))).toBeUndefined();
    expect(chosen(config, request("/?q=2", [["x", "2"]]))).toBeUndefined();
    expect(chosen(config, request("/?q=2", [["x", "1"]], { method: "PUT" }))).toBeUndefined();
  });

  test("a consumer route is for its namespace", () => {
    const config = onlyRoutes(match(prefix("/"), { sourceNamespace: "shop" }), match(prefix("/")));
    expect(chosen(config, request("/"), "shop")).toBe("r0");
    expect(chosen(config, request("/"), "bank")).toBe("r1");
    expect(chosen(config, request("/"))).toBe("r1");
  });

  test("a gRPC route is for gRPC", () => {
    const config = onlyRoutes(match(prefix("/"), { grpc: true }), match(prefix("/")));
    expect(chosen(config, request("/", [["content-type", "application/grpc+proto"]]))).toBe("r0");
    expect(chosen(config, request("/", [["content-type", "application/grpc-web"]]))).toBe("r1");
  });

  test("claims match only once they are verified", () => {
    const filter = "envoy.filters.http.jwt_authn";
    const claim = {
      filter,
      path: ["payload", "role"],
      match: { kind: "exact", value: "admin" },
      invert: false,
    } as const;
    const routes = new CompiledRoutes(
      onlyRoutes(
        match(prefix("/"), { metadata: [claim] }),
        match(prefix("/"), { metadata: [{ ...claim, invert: true }] }),
      ),
    );
    expect(routes.choose(request("/"), "shop")).toBeUndefined();
    expect(routes.choose(request("/"), "shop", new Map([[filter, { payload: { role: "admin" } }]]))?.route.name).toBe(
      "r0",
    );
    expect(routes.choose(request("/"), "shop", new Map([[filter, { payload: {} }]]))?.route.name).toBe("r1");
  });
});

describe("virtual hosts", () => {
  const domains: string[][] = [
    ["web.shop", "web.shop:8080"],
    ["*.shop"],
    ["*.east.shop"],
    ["web.*"],
    ["[::1]", "UPPER.example"],
    ["*"],
  ];
  const config = configuration(
    domains.map((names, i) => virtualHost([route(`h${i}`, match(prefix("/")))], { domains: names })),
  );
  const cases: [authority: string, host: string][] = [
    ["web.shop", "h0"],
    ["web.shop:8080", "h0"],
    ["web.shop:9999", "h0"],
    ["WEB.shop", "h0"],
    ["a.shop", "h1"],
    ["a.shop:80", "h1"],
    ["a.east.shop", "h2"],
    [".shop", "h5"],
    ["web.bank", "h3"],
    ["web.", "h5"],
    ["[::1]:80", "h4"],
    ["[::1]", "h4"],
    ["upper.EXAMPLE:1", "h4"],
    ["other", "h5"],
    ["", "h5"],
  ];
  for (const [authority, host] of cases) {
    test(`${authority} belongs to ${host}`, () => expect(chosen(config, request("/", [], { authority }))).toBe(host));
  }

  test("an authority of no host has no route", () => {
    const only = configuration([virtualHost([route("r", match(prefix("/")))], { domains: ["web"] })]);
    expect(chosen(only, request("/", [], { authority: "other" }))).toBeUndefined();
  });

  test("a domain with a port is for that port", () => {
    const ports = configuration([
      virtualHost([route("a", match(prefix("/")))], { domains: ["web:81"] }),
      virtualHost([route("b", match(prefix("/")))], { domains: ["web"] }),
    ]);
    expect(chosen(ports, request("/", [], { authority: "web:81" }))).toBe("a");
    expect(chosen(ports, request("/", [], { authority: "web:82" }))).toBe("b");
  });
});

describe("routes that cannot be compiled", () => {
  const good = route("good", match(prefix("/")));

  test("a match that cannot be understood never matches; the others serve", () => {
    const routes = new CompiledRoutes(
      configuration([virtualHost([route("bad", match({ kind: "regex", regex: "/(" })), good])]),
    );
    expect(routes.choose(request("/("))?.route.name).toBe("good");
    expect(routes.problems).toEqual([
      { route: "bad", reason: expect.stringContaining('regex "/("'), effect: "never-matches" },
    ]);
  });

  const value = (text: string) => ({ add: [{ name: "x", value: text, action: "append" as const }], remove: [] });
  const refused: [what: string, more: Parameters<typeof route>[2], reason: string][] = [
    ["a lone % in a header value", { requestHeaders: value("100%") }, "request header x"],
    ["the same on a response", { responseHeaders: value("%NO_SUCH_OPERATOR%") }, "response header x"],
    ["a line feed in a header value", { requestHeaders: value("a\nb") }, "request header x"],
    ["removing Host", { requestHeaders: { add: [], remove: ["host"] } }, "host"],
    ["setting framing", {
      requestHeaders: { add: [{ name: "content-length", value: "1", action: "overwrite" }], remove: [] },
    }, "content-length"],
    ["setting :status", {
      responseHeaders: { add: [{ name: ":status", value: "1", action: "overwrite" }], remove: [] },
    }, ":status"],
    ["a name that is no token", {
      requestHeaders: { add: [{ name: "a b", value: "1", action: "overwrite" }], remove: [] },
    }, "a b"],
    ["a substitution of a group that is not there", {
      action: forward({ rewrite: { regex: { regex: "a", substitution: "\\1" } } }),
    }, "substitution"],
    ["a space in a path", { action: forward({ rewrite: { prefix: "/a b" } }) }, "path"],
    ["no cluster", { action: forward({ clusters: [] }) }, "cluster"],
    [
      "a cluster's header value",
      { action: forward({ clusters: [cluster("a", { requestHeaders: value("%") })] }) },
      "x",
    ],
    ["a retry's expression", {
      action: forward({
        retry: {
          on: ["5xx"],
          count: 1,
          perTryTimeoutMs: undefined,
          statusCodes: [],
          requestHeaders: [{
            name: "x",
            match: { kind: "regex", regex: "[" },
            invert: false,
            treatMissingAsEmpty: false,
          }],
          otherHostAttempts: 0,
          otherPriorities: false,
          backOffBaseMs: 25,
          backOffMaxMs: 250,
        },
      }),
    }, "regex"],
    ["an origin", {
      cors: {
        allowOrigins: [{ kind: "regex", regex: "*" }],
        allowMethods: "",
        allowHeaders: "",
        exposeHeaders: "",
        maxAge: "",
        allowCredentials: false,
        forwardNotMatchingPreflights: false,
      },
    }, "regex"],
  ];
  for (const [what, more, reason] of refused) {
    test(`${what}: that route answers 500, and no wider one takes its requests`, () => {
      const bad = route("bad", match(exact("/bad")), { source: "HTTPRoute shop/bad rule 1", ...more });
      const routes = new CompiledRoutes(configuration([virtualHost([bad, good])]));
      expect(routes.choose(request("/bad"))?.route).toMatchObject({
        name: "bad",
        action: { kind: "direct-response", status: 500 },
        requestHeaders: NO_CHANGE,
      });
      expect(routes.choose(request("/"))?.route).toBe(good);
      expect(routes.problems).toEqual([
        { route: "HTTPRoute shop/bad rule 1", reason: expect.stringContaining(reason), effect: "answers-500" },
      ]);
    });
  }

  test("changes of a virtual host concern all its routes", () => {
    const routes = new CompiledRoutes(configuration([virtualHost([good], { requestHeaders: value("%") })]));
    expect(routes.choose(request("/"))?.route.action).toMatchObject({ status: 500 });
    expect(routes.problems).toHaveLength(1);
  });
});
