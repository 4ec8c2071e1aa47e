import { describe, expect, test } from "bun:test";
import { errors, forward, route, routesOf, warnings } from "./fixture.ts";

const BACKEND = "backendRefs: [{name: web, port: 80}]";
const OWN = "inbound-vip|80|http|web.shop.svc.cluster.local";
const NONE = { add: [], remove: [] };

/** `exact /a` for each route, in order. */
function paths(objects: readonly string[], service = "web", port = 80): string[] {
  return routesOf(objects, service, port).map(({ match: { path, headers, query } }) => {
    const text = path.kind === "regex" ? path.regex : path.kind === "template" ? path.template : path.value;
    return `${path.kind} ${text}${headers.map(({ name }) => ` ${name}`).join("")}${
      query.map(({ name }) => ` ?${name}`).join("")
    }`;
  });
}

test("a service without routes has the default route", () => {
  expect(routesOf([])).toEqual([{
    name: "default",
    match: { path: { kind: "prefix", value: "/", caseSensitive: true }, headers: [], query: [], metadata: [] },
    action: {
      kind: "forward",
      clusters: [{ cluster: OWN, weight: 1, requestHeaders: NONE, responseHeaders: NONE }],
      clusterNotFoundStatus: 503,
      timeoutMs: 0,
      maxGrpcTimeoutMs: 0,
      retry: {
        on: ["connect-failure", "refused-stream", "unavailable", "cancelled", "retriable-status-codes"],
        count: 2,
        perTryTimeoutMs: undefined,
        statusCodes: [],
        requestHeaders: [],
        otherHostAttempts: 5,
        otherPriorities: false,
        backOffBaseMs: 25,
        backOffMaxMs: 250,
      },
      rewrite: {},
      hostRewrite: undefined,
      appendForwardedHost: false,
      mirrors: [],
      hashPolicies: [],
      idleTimeoutMs: 0,
      maxStreamDurationMs: 0,
    },
    requestHeaders: NONE,
    responseHeaders: NONE,
    fault: undefined,
    cors: undefined,
    decorator: "web.shop.svc.cluster.local:80/*",
    source: "",
  }]);
});

describe("precedence of matches", () => {
  const match = (text: string) => `{matches: [${text}], ${BACKEND}}`;
  const rules = (...matches: string[]) => route(`[${matches.map(match).join(", ")}]`);

  test("exact, then longer prefixes, then regular expressions", () => {
    expect(paths([rules(
      '{path: {type: RegularExpression, value: "/r.*"}}',
      "{path: {value: /}}",
      "{path: {value: /long/prefix}}",
      "{path: {value: /p/}}",
      "{path: {type: Exact, value: /e}}",
    )])).toEqual([
      "exact /e",
      "path-separated-prefix /long/prefix",
      "path-separated-prefix /p",
      "prefix /",
      "regex /r.*",
    ]);
  });

  test("at equal paths: method, number of headers, number of query parameters", () => {
    const header = (name: string) => `{name: ${name}, value: x}`;
    expect(paths([rules(
      "{}",
      `{queryParams: [${header("q")}]}`,
      `{headers: [${header("a")}]}`,
      `{headers: [${header("a")}, ${header("B")}]}`,
      "{method: GET}",
    )])).toEqual(["prefix / :method", "prefix / a b", "prefix / a", "prefix / ?q", "prefix /"]);
  });

  test("at equal matches: the older route, then by namespace and name, then as written", () => {
    const one = (name: string, created?: string) =>
      route(`[{name: ${name}1, ${BACKEND}}, {name: ${name}2, ${BACKEND}}]`, {
        name,
        ...(created === undefined ? {} : { created }),
      });
    const objects = [one("z"), one("b"), one("y", "2024-02-01T00:00:00Z"), one("x", "2025-01-01T00:00:00Z")];
    expect(routesOf(objects).map(({ name }) => name)).toEqual(["y1", "y2", "x1", "x2", "b1", "b2", "z1", "z2"]);
  });

  test("a GRPCRoute's methods are exact paths, services prefixes; a rule without method comes last", () => {
    const rule = (matches: string) => `{matches: [${matches}], backendRefs: [{name: web, port: 70}]}`;
    const grpc = route(
      `[${
        [
          "{headers: [{name: x, value: y}]}",
          "{method: {type: RegularExpression, service: a.+}}",
          "{method: {service: pkg.S}}",
          "{method: {method: M.x}}",
          "{method: {service: pkg.S, method: M}}",
        ].map(rule).join(", ")
      }]`,
      { kind: "GRPCRoute" },
    );
    expect(paths([grpc], "web", 70)).toEqual([
      "exact /pkg.S/M",
      "prefix /pkg.S/",
      "regex /[^/]+/M\\.x",
      "regex /a.+/.+",
      "prefix / x",
    ]);
  });
});

describe("where routes apply", () => {
  test("a parentRef's port", () => {
    const object = route(`[{name: only, ${BACKEND}}]`, { parent: '{group: "", kind: Service, name: web, port: 90}' });
    expect(routesOf([object], "web", 90).map(({ name }) => name)).toEqual(["only"]);
    expect(routesOf([object], "web", 80).map(({ name }) => name)).toEqual(["default"]);
  });

  test("without a port, all HTTP and undeclared ports", () => {
    const object = route(`[{name: all, ${BACKEND}}]`);
    for (const port of [80, 90, 70]) expect(routesOf([object], "web", port).map(({ name }) => name)).toEqual(["all"]);
  });

  test("a consumer's route: first, for its namespace, closed by a 404", () => {
    const consumer = route(`[{matches: [{path: {value: /c}}], ${BACKEND.replace("web", "web, namespace: shop")}}]`, {
      name: "c",
      namespace: "client",
    });
    const producer = route(`[{name: p, ${BACKEND}}]`, { name: "p" });
    const routes = routesOf([producer, consumer]);
    expect(routes.map(({ name, match }) => [name, match.sourceNamespace])).toEqual([
      ["client.c.0", "client"],
      ["client.not-found", "client"],
      ["p", undefined],
    ]);
    expect(forward(routes[0]).clusters.map(({ cluster }) => cluster)).toEqual([OWN]);
    expect(routes[1]!.action).toEqual({ kind: "direct-response", status: 404, body: "" });
    expect(routesOf([consumer]).map(({ name }) => name)).toEqual(["client.c.0", "client.not-found", "default"]);
  });

  test("what has no effect is told", () => {
    expect(warnings([
      route("[]", { name: "a", parent: '{group: "", kind: Service, name: gone}' }),
      route("[]", { name: "b", parent: "{name: ingress}" }),
      route("[]", { name: "c", parent: '{group: "", kind: Service, name: web, port: 81}' }),
      route("[]", { name: "d", parent: '{group: "", kind: Service, name: web, port: 60}' }),
    ])).toEqual([
      "b.yaml:5:54: HTTPRoute shop/a: spec.parentRefs[0].name: no service shop/gone in the mesh documents: no effect",
      "b.yaml:12:21: HTTPRoute shop/b: spec.parentRefs[0]: " +
      "a route at a Gateway is one into the mesh and has no effect here; a waypoint's is at a Service",
      "b.yaml:19:65: HTTPRoute shop/c: spec.parentRefs[0].port: service shop/web has no such port: no effect",
      "b.yaml:26:21: HTTPRoute shop/d: spec.parentRefs[0]: " +
      "no such port of service shop/web is for HTTPRoute, by its appProtocols: no effect",
    ]);
  });
});

describe("backends", () => {
  test("weights, those of zero left out", () => {
    const [only] = routesOf([
      route(
        "[{backendRefs: [{name: web, port: 80, weight: 90}, {name: api, port: 80, weight: 10}, {name: web, port: 90, weight: 0}]}]",
      ),
    ]);
    expect(forward(only).clusters.map(({ cluster, weight }) => [cluster, weight])).toEqual([
      [OWN, 90],
      ["inbound-vip|80|http|api.shop.svc.cluster.local", 10],
    ]);
    expect(forward(only).clusterNotFoundStatus).toBe(500);
  });

  test.each([["[{}]"], ["[{backendRefs: []}]"], ["[{backendRefs: [{name: web, port: 80, weight: 0}]}]"]])(
    "no backend at all is a 500: %s",
    (rules) => {
      expect(routesOf([route(rules)])[0]!.action).toEqual({ kind: "direct-response", status: 500, body: "" });
    },
  );

  test.each([
    ["{name: gone, port: 80}", "name: no service shop/gone in the mesh documents"],
    ["{name: web, port: 81}", "port: service shop/web has no port 81"],
    [
      "{name: far, namespace: other, port: 80}",
      "namespace: no ReferenceGrant in other lets HTTPRoute shop/r refer to far",
    ],
    ["{group: x, kind: Y, name: web, port: 80}", "kind: Y (x) is no kind of backend in this version"],
  ])("a reference that leads nowhere is a 500 and told: %s", (reference, warning) => {
    const object = route(`[{backendRefs: [${reference}]}]`);
    expect(forward(routesOf([object])[0]).clusters[0]!.cluster).toBe("UnknownService");
    const [told] = warnings([object]);
    expect(told).toContain("spec.rules[0].backendRefs[0].");
    expect(told).toEndWith(`${warning}: what goes there is answered with an error`);
  });

  test("a backend without endpoints is told", () => {
    const idle = "services: [{name: idle, namespace: shop, hostname: idle, vips: [], ports: {80: 80}}]";
    expect(warnings([idle, route("[{backendRefs: [{name: idle, port: 80}]}]")])).toEqual([
      "b.yaml:1:19: services[0].name: service shop/idle has no endpoint: no workload names it, connections to it fail",
      expect.stringContaining(
        "spec.rules[0].backendRefs[0].name: service shop/idle has no endpoint for port 80: " +
          "what goes there is answered with an error",
      ),
    ]);
  });

  test("a ReferenceGrant opens another namespace, for its kind and names", () => {
    const object = route("[{backendRefs: [{name: far, namespace: other, port: 80}]}]");
    const grant = (from: string, to: string) => `
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {name: g, namespace: other}
spec: {from: [{group: gateway.networking.k8s.io, ${from}}], to: [{group: "", ${to}}]}
`;
    const target = (from: string, to: string) => forward(routesOf([object, grant(from, to)])[0]).clusters[0]!.cluster;
    const far = "outbound|80||far.other.svc.cluster.local";
    expect(target("kind: HTTPRoute, namespace: shop", "kind: Service")).toBe(far);
    expect(target("kind: HTTPRoute, namespace: shop", "kind: Service, name: far")).toBe(far);
    expect(target("kind: GRPCRoute, namespace: shop", "kind: Service")).toBe("UnknownService");
    expect(target("kind: HTTPRoute, namespace: x", "kind: Service")).toBe("UnknownService");
    expect(target("kind: HTTPRoute, namespace: shop", "kind: Service, name: x")).toBe("UnknownService");
  });

  test("changes for one backend", () => {
    const [only] = routesOf([route(`[{backendRefs: [{name: web, port: 80, filters: [
      {type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: A, value: "1"}]}},
      {type: ResponseHeaderModifier, responseHeaderModifier: {remove: [B]}},
      {type: URLRewrite, urlRewrite: {hostname: h.example}}]}]}]`)]);
    expect(forward(only).clusters[0]).toEqual({
      cluster: OWN,
      weight: 1,
      requestHeaders: { add: [{ name: "a", value: "1", action: "overwrite" }], remove: [] },
      responseHeaders: { add: [], remove: ["b"] },
      hostRewrite: "h.example",
    });
  });
});

describe("filters", () => {
  const withFilter = (filter: string, matches = "[{path: {value: /x}}]") =>
    routesOf([route(`[{matches: ${matches}, filters: [${filter}], ${BACKEND}}]`)])[0]!;

  test("header changes: names in lower case, percent signs literal, a second of a name ignored", () => {
    const { requestHeaders } = withFilter(`{type: RequestHeaderModifier, requestHeaderModifier: {
      set: [{name: X-A, value: "100% %START_TIME%"}, {name: x-a, value: b}], add: [{name: X-B, value: c}], remove: [X-C]}}`);
    expect(requestHeaders).toEqual({
      add: [
        { name: "x-a", value: "100%% %%START_TIME%%", action: "overwrite" },
        { name: "x-b", value: "c", action: "append" },
      ],
      remove: ["x-c"],
    });
  });

  test.each([
    ["ReplacePrefixMatch, replacePrefixMatch: /", { prefix: "/" }],
    ["ReplacePrefixMatch, replacePrefixMatch: /y/", { prefix: "/y" }],
    ['ReplacePrefixMatch, replacePrefixMatch: ""', { prefix: "/" }],
    ["ReplaceFullPath, replaceFullPath: /y/", { full: "/y/" }],
  ])("rewrite of the path: %s", (path, rewrite) => {
    const action = forward(withFilter(`{type: URLRewrite, urlRewrite: {hostname: h, path: {type: ${path}}}}`));
    expect(action.rewrite).toEqual(rewrite);
    expect(action.hostRewrite).toBe("h");
  });

  test("redirects", () => {
    const redirect = (text: string) =>
      routesOf([route(`[{filters: [{type: RequestRedirect, requestRedirect: ${text}}]}]`)])[0]!.action;
    const base = {
      kind: "redirect",
      host: undefined,
      scheme: undefined,
      port: undefined,
      path: {},
      status: 302,
      stripQuery: false,
    } as const;
    expect(redirect("{hostname: h}")).toEqual({ ...base, host: "h" });
    expect(redirect("{scheme: https, statusCode: 308, port: 8443}")).toEqual({
      ...base,
      scheme: "https",
      status: 308,
      port: 8443,
    });
    expect(redirect("{path: {type: ReplaceFullPath, replaceFullPath: /f}}")).toEqual({ ...base, path: { full: "/f" } });
  });

  test.each([
    ["", 1_000_000],
    [", percent: 25", 250_000],
    [", fraction: {numerator: 1, denominator: 3}", 333_333],
    [", fraction: {numerator: 5}", 50_000],
  ])("mirror%s", (share, fraction) => {
    const action = forward(
      withFilter(`{type: RequestMirror, requestMirror: {backendRef: {name: api, port: 80}${share}}}`),
    );
    expect(action.mirrors).toEqual([
      { cluster: "inbound-vip|80|http|api.shop.svc.cluster.local", fraction, shadowHost: false },
    ]);
  });

  test("a mirror that leads nowhere is left out", () => {
    const object = route(
      `[{filters: [{type: RequestMirror, requestMirror: {backendRef: {name: gone, port: 80}}}], ${BACKEND}}]`,
    );
    expect(forward(routesOf([object])[0]).mirrors).toEqual([]);
    expect(warnings([object])[0]).toContain(
      "spec.rules[0].filters[0].requestMirror.backendRef.name: no service shop/gone",
    );
  });

  test("CORS", () => {
    expect(
      withFilter(
        `{type: CORS, cors: {allowOrigins: ["https://a.example", "https://*.b.example"], allowMethods: [GET, PUT],
      allowHeaders: [x-a], exposeHeaders: [x-b, x-c], maxAge: 60, allowCredentials: true}}`,
      ).cors,
    ).toEqual({
      allowOrigins: [
        { kind: "exact", value: "https://a.example" },
        { kind: "regex", regex: "https://[^/]+\\.b\\.example" },
      ],
      allowMethods: "GET,PUT",
      allowHeaders: "x-a",
      exposeHeaders: "x-b,x-c",
      maxAge: "60",
      allowCredentials: true,
      forwardNotMatchingPreflights: false,
    });
    expect(withFilter('{type: CORS, cors: {allowOrigins: ["*"]}}').cors).toMatchObject({
      allowOrigins: [{ kind: "prefix", value: "" }],
      maxAge: "5",
    });
  });
});

describe("timeouts and retries", () => {
  const action = (fields: string) => forward(routesOf([route(`[{${fields}, ${BACKEND}}]`)])[0]);

  test.each([
    ["timeouts: {request: 1s}", 1000],
    ["timeouts: {request: 0s}", 0],
    ["timeouts: {backendRequest: 500ms}", 500],
    ["timeouts: {request: 2s, backendRequest: 1s}", 1000],
    ["timeouts: {request: 2s, backendRequest: 1s}, retry: {}", 2000],
  ])("%s", (fields, timeoutMs) => {
    expect(action(fields)).toMatchObject({ timeoutMs, maxGrpcTimeoutMs: timeoutMs });
  });

  test("retry", () => {
    expect(action("retry: {codes: [500, 504], attempts: 3, backoff: 100ms}, timeouts: {backendRequest: 1s}").retry)
      .toMatchObject({
        on: ["connect-failure", "refused-stream", "unavailable", "cancelled", "retriable-status-codes"],
        statusCodes: [500, 504],
        count: 3,
        perTryTimeoutMs: 1000,
        backOffBaseMs: 100,
        backOffMaxMs: 1000,
        otherHostAttempts: 5,
      });
    expect(action("retry: {}").retry).toMatchObject({
      on: ["connect-failure", "refused-stream", "unavailable", "cancelled"],
      count: 2,
      perTryTimeoutMs: undefined,
    });
    expect(action("retry: {attempts: 0}").retry).toBeUndefined();
  });
});

test("names, operations and sources of routes", () => {
  const routes = routesOf([route(`[{matches: [{path: {value: /a}}], ${BACKEND}}, {name: mine, ${BACKEND}}]`)]);
  expect(routes.map(({ name, decorator, source }) => [name, decorator, source])).toEqual([
    ["shop.r.0", "web.shop.svc.cluster.local:80/a*", "HTTPRoute shop/r rule 0"],
    ["mine", "web.shop.svc.cluster.local:80/*", "HTTPRoute shop/r rule mine"],
  ]);
});

test("header and query matches, the first of a name", () => {
  const [only] = routesOf([route(`[{matches: [{method: POST, headers: [{name: X-A, value: "1"}, {name: x-a, value: "2"},
    {name: b, type: RegularExpression, value: "[0-9]+"}], queryParams: [{name: Q, value: v}]}], ${BACKEND}}]`)]);
  const plain = { invert: false, treatMissingAsEmpty: false };
  expect(only!.match.headers).toEqual([
    { name: ":method", match: { kind: "exact", value: "POST" }, ...plain },
    { name: "x-a", match: { kind: "exact", value: "1" }, ...plain },
    { name: "b", match: { kind: "regex", regex: "[0-9]+" }, ...plain },
  ]);
  expect(only!.match.query).toEqual([{ name: "Q", match: { kind: "exact", value: "v" } }]);
});

test("regular expressions are tried when they are read", () => {
  const match = (text: string) => route(`[{matches: [${text}], ${BACKEND}}]`);
  expect(errors([match('{path: {type: RegularExpression, value: "/(a"}}')])[0]).toStartWith(
    'b.yaml:5:137: HTTPRoute shop/r: spec.rules[0].matches[0].path.value: regex "/(a": ',
  );
  expect(errors([match('{headers: [{name: a, type: RegularExpression, value: "(?=x)"}]}')])[0]).toContain(
    'spec.rules[0].matches[0].headers[0].value: regex "(?=x)": ',
  );
});
