/** The routes of the chain `main`, each for the cases whose paths begin as it says. */
import type { Route } from "../../../src/waypoint/snapshot/mod.ts";
import { forward, retryPolicy } from "../../waypoint/harness.ts";
import {
  abort,
  add,
  at,
  cors,
  exact,
  exactPath,
  fault,
  header,
  prefix,
  redirect,
  rewriting,
  separated,
  to,
} from "./route_builders.ts";

export const MAIN: readonly Route[] = [
  // header changes
  at(prefix("/edit/append"), {
    requestHeaders: { add: [add("x-new", "one"), add("x-there", "two")], remove: [] },
    responseHeaders: { add: [add("x-out", "one"), add("x-there", "two")], remove: [] },
  }),
  at(prefix("/edit/overwrite"), {
    requestHeaders: { add: [add("x-new", "one", "overwrite"), add("x-there", "two", "overwrite")], remove: [] },
    responseHeaders: { add: [add("x-out", "one", "overwrite"), add("x-there", "two", "overwrite")], remove: [] },
  }),
  at(prefix("/edit/absent"), {
    requestHeaders: { add: [add("x-new", "one", "if-absent"), add("x-there", "two", "if-absent")], remove: [] },
    responseHeaders: { add: [add("x-out", "one", "if-absent"), add("x-there", "two", "if-absent")], remove: [] },
  }),
  at(prefix("/edit/remove"), {
    requestHeaders: { add: [], remove: ["x-there", "user-agent", "x-request-id", "x-forwarded-proto"] },
    responseHeaders: {
      add: [],
      remove: ["x-there", "server", "date", "x-envoy-upstream-service-time", "content-type"],
    },
  }),
  at(prefix("/edit/both"), {
    requestHeaders: { add: [add("x-there", "new")], remove: ["x-there"] },
    responseHeaders: { add: [add("x-there", "new")], remove: ["x-there"] },
  }),
  at(prefix("/edit/formats"), {
    requestHeaders: {
      add: [
        add("x-a", "%REQ(X-ONE)%"),
        add("x-b", "a%%b"),
        add("x-c", "%REQ(X-MISSING)%"),
        add("x-d", "[%REQ(X-MISSING)%]"),
        add("x-e", "%PROTOCOL%"),
        add("x-f", "%REQ(:PATH)% %REQ(:METHOD)% %REQ(:AUTHORITY)%"),
        add("x-g", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"),
        add("x-h", ""),
        add("x-i", "%ROUTE_NAME%"),
        add("x-j", "%REQ(X-MISSING?X-ONE)%"),
        add("x-k", "%UPSTREAM_CLUSTER%"),
      ],
      remove: [],
    },
    responseHeaders: {
      add: [
        add("x-a", "%REQ(X-ONE)%"),
        add("x-b", "%RESPONSE_CODE%"),
        add("x-c", "%RESP(X-BACK)%"),
        add("x-d", "[%RESP(X-MISSING)%]"),
        add("x-e", "%RESPONSE_CODE_DETAILS%"),
        add("x-f", "%RESPONSE_FLAGS%"),
        add("x-h", ""),
      ],
      remove: [],
    },
  }),
  at(prefix("/edit/cookie"), {
    requestHeaders: { add: [add("cookie", "c=3")], remove: [] },
    responseHeaders: { add: [add("set-cookie", "c=3")], remove: [] },
  }),
  at(prefix("/edit/server"), { responseHeaders: { add: [add("server", "mine", "overwrite")], remove: [] } }),
  at(prefix("/edit/date"), { responseHeaders: { add: [add("date", "today", "overwrite")], remove: [] } }),
  at(prefix("/edit/cluster"), {
    action: forward({
      clusters: [{
        cluster: "h1",
        weight: 1,
        requestHeaders: { add: [add("x-level", "cluster"), add("x-over", "cluster", "overwrite")], remove: ["x-gone"] },
        responseHeaders: {
          add: [add("x-level", "cluster"), add("x-over", "cluster", "overwrite")],
          remove: ["x-gone"],
        },
        hostRewrite: "cluster.test",
      }],
    }),
    requestHeaders: { add: [add("x-level", "route"), add("x-over", "route", "overwrite")], remove: [] },
    responseHeaders: { add: [add("x-level", "route"), add("x-over", "route", "overwrite")], remove: [] },
  }),
  at(prefix("/edit/direct"), {
    action: { kind: "direct-response", status: 200, body: "here" },
    responseHeaders: { add: [add("x-out", "one"), add("content-type", "text/html", "overwrite")], remove: [] },
  }),
  at(prefix("/edit/redirect"), {
    action: redirect({ host: "other.test" }),
    responseHeaders: { add: [add("x-out", "one")], remove: [] },
  }),
  at(prefix("/edit/refused"), {
    action: to("refused"),
    responseHeaders: { add: [add("x-out", "one")], remove: [] },
  }),
  at(prefix("/edit/missing"), {
    action: to("no-such-cluster"),
    responseHeaders: { add: [add("x-out", "one")], remove: [] },
  }),
  at(prefix("/edit/abort"), {
    fault: abort(418),
    responseHeaders: { add: [add("x-out", "one")], remove: [] },
  }),
  at(prefix("/edit/cors"), {
    cors: cors(),
    responseHeaders: {
      add: [add("x-out", "one"), add("access-control-allow-origin", "mine", "overwrite")],
      remove: [],
    },
  }),

  // matches
  at(exactPath("/match/exact")),
  at({ kind: "exact", value: "/match/NoCase", caseSensitive: false }),
  at({ kind: "prefix", value: "/match/PreNoCase", caseSensitive: false }),
  at(separated("/match/sep")),
  at({ kind: "path-separated-prefix", value: "/match/SepNoCase", caseSensitive: false }),
  at({ kind: "regex", regex: "/match/re/[a-z]+(\\d)?" }),
  ...([
    ["exact", exact("v")],
    ["prefix", { kind: "prefix", value: "v" }],
    ["suffix", { kind: "suffix", value: "v" }],
    ["contains", { kind: "contains", value: "v" }],
    ["regex", { kind: "regex", regex: "v[0-9]*" }],
    ["present", { kind: "present" }],
    ["exact-nocase", exact("v", true)],
    ["empty", exact("")],
  ] as const).flatMap(([name, match]) => [
    at(prefix(`/match/header/${name}/`), { name: `header-${name}`, match: { headers: [header("x-one", match)] } }),
    at(prefix(`/match/inverted/${name}/`), {
      name: `inverted-${name}`,
      match: { headers: [header("x-one", match, { invert: true })] },
    }),
    at(prefix(`/match/missing/${name}/`), {
      name: `missing-${name}`,
      match: { headers: [header("x-one", match, { treatMissingAsEmpty: true })] },
    }),
    at(prefix(`/match/missing-inverted/${name}/`), {
      name: `missing-inverted-${name}`,
      match: { headers: [header("x-one", match, { treatMissingAsEmpty: true, invert: true })] },
    }),
    at(prefix(`/match/query/${name}/`), {
      name: `query-${name}`,
      match: { query: [{ name: "q", match }] },
    }),
  ]),
  at(prefix("/match/authority"), {
    name: "authority-port",
    match: { headers: [header(":authority", exact("web:80"))] },
  }),
  at(prefix("/match/authority"), { name: "authority", match: { headers: [header(":authority", exact("web"))] } }),
  at(prefix("/match/host"), { name: "host", match: { headers: [header("host", exact("web"))] } }),
  at(prefix("/match/method"), { name: "method", match: { headers: [header(":method", exact("PUT"))] } }),
  at(prefix("/match/scheme"), { name: "scheme", match: { headers: [header(":scheme", exact("http"))] } }),
  at(prefix("/match/scheme"), { name: "scheme-https", match: { headers: [header(":scheme", exact("https"))] } }),
  at(prefix("/match/path"), { name: "path", match: { headers: [header(":path", exact("/match/path?a=b"))] } }),
  at(prefix("/match/cookie"), { name: "cookie", match: { headers: [header("cookie", exact("a=1; b=2"))] } }),
  at(prefix("/match/grpc"), { name: "grpc", match: { grpc: true } }),
  at(prefix("/match/request-id"), {
    name: "request-id",
    match: { headers: [header("x-request-id", { kind: "present" })] },
  }),
  at(prefix("/match/forwarded-proto"), {
    name: "proto",
    match: { headers: [header("x-forwarded-proto", exact("http"))] },
  }),

  // redirects
  ...([301, 302, 303, 307, 308] as const).map((status) =>
    at(prefix(`/redirect/status/${status}`), { action: redirect({ host: "other.test", status }) })
  ),
  at(prefix("/redirect/https-port"), { action: redirect({ scheme: "https", port: 8443 }) }),
  at(prefix("/redirect/https-443"), { action: redirect({ scheme: "https", port: 443 }) }),
  at(prefix("/redirect/https-80"), { action: redirect({ scheme: "https", port: 80 }) }),
  at(prefix("/redirect/https-host"), { action: redirect({ scheme: "https", host: "other.test" }) }),
  at(prefix("/redirect/http"), { action: redirect({ scheme: "http" }) }),
  at(prefix("/redirect/https"), { action: redirect({ scheme: "https" }) }),
  at(prefix("/redirect/port-80"), { action: redirect({ port: 80 }) }),
  at(prefix("/redirect/port-443"), { action: redirect({ port: 443 }) }),
  at(prefix("/redirect/port"), { action: redirect({ port: 8080 }) }),
  at(prefix("/redirect/host-port"), { action: redirect({ host: "other.test:9000" }) }),
  at(prefix("/redirect/host"), { action: redirect({ host: "other.test" }) }),
  at(prefix("/redirect/full"), { action: redirect({ path: { full: "/new/place" } }) }),
  at(prefix("/redirect/query"), { action: redirect({ path: { full: "/new/place?x=1" } }) }),
  at(prefix("/redirect/hash"), { action: redirect({ path: { full: "/new/place#top" } }) }),
  at(prefix("/redirect/strip-full"), { action: redirect({ path: { full: "/new/place" }, stripQuery: true }) }),
  at(prefix("/redirect/strip-prefix"), { action: redirect({ path: { prefix: "/p" }, stripQuery: true }) }),
  at(prefix("/redirect/strip"), { action: redirect({ host: "other.test", stripQuery: true }) }),
  at(separated("/redirect/sep"), { action: redirect({ path: { prefix: "/new" } }) }),
  at(separated("/redirect/sep-root"), { action: redirect({ path: { prefix: "/" } }) }),
  at(prefix("/redirect/prefix/"), { action: redirect({ path: { prefix: "/new/" } }) }),
  at(prefix("/redirect/prefix"), { action: redirect({ path: { prefix: "/new" } }) }),
  at(exactPath("/redirect/exact"), { action: redirect({ path: { prefix: "/new" } }) }),
  at(prefix("/redirect/regex"), {
    action: redirect({ path: { regex: { regex: "/redirect/regex/([^/]+)", substitution: "/\\1/x" } } }),
  }),

  // rewrites
  rewriting(separated("/rewrite/sep"), { prefix: "/new" }),
  rewriting(separated("/rewrite/sep-root"), { prefix: "/" }),
  rewriting(prefix("/rewrite/prefix/slash/"), { prefix: "/new/" }),
  rewriting(prefix("/rewrite/prefix/noslash"), { prefix: "/new/" }),
  rewriting(prefix("/rewrite/prefix/"), { prefix: "/new" }),
  rewriting(prefix("/rewrite/prefix"), { prefix: "/new" }),
  rewriting(exactPath("/rewrite/exact"), { prefix: "/new" }),
  rewriting({ kind: "prefix", value: "/rewrite/NoCase", caseSensitive: false }, { prefix: "/new" }),
  rewriting({ kind: "regex", regex: "/rewrite/re/.*" }, { prefix: "/new" }),
  rewriting(prefix("/rewrite/full"), { full: "/whole" }),
  rewriting(prefix("/rewrite/regex-all"), { regex: { regex: "a", substitution: "b" } }),
  rewriting(prefix("/rewrite/regex"), {
    regex: { regex: "/rewrite/regex/([^/]+)/(.*)", substitution: "/\\2/\\1/\\0" },
  }),
  rewriting(prefix("/rewrite/empty"), { regex: { regex: ".*", substitution: "" } }),
  rewriting(prefix("/rewrite/host-forwarded"), {}, { hostRewrite: "new.test", appendForwardedHost: true }),
  rewriting(prefix("/rewrite/host-path"), { prefix: "/new" }, { hostRewrite: "new.test" }),
  rewriting(prefix("/rewrite/host"), {}, { hostRewrite: "new.test" }),
  rewriting(prefix("/rewrite/headers"), { prefix: "/new" }),

  // CORS
  at(prefix("/cors/any-credentials"), { cors: cors({ allowOrigins: [{ kind: "regex", regex: ".*" }] }) }),
  at(prefix("/cors/any"), { cors: cors({ allowOrigins: [exact("*")], allowCredentials: false }) }),
  at(prefix("/cors/star"), {
    cors: cors({ allowMethods: "*", allowHeaders: "*", exposeHeaders: "*", allowCredentials: false }),
  }),
  at(prefix("/cors/bare"), {
    cors: cors({ allowMethods: "", allowHeaders: "", exposeHeaders: "", maxAge: "", allowCredentials: false }),
  }),
  at(prefix("/cors/forward"), { cors: cors({ forwardNotMatchingPreflights: true }) }),
  at(prefix("/cors/redirect"), { cors: cors(), action: redirect({ host: "other.test" }) }),
  at(prefix("/cors/direct"), { cors: cors(), action: { kind: "direct-response", status: 200, body: "here" } }),
  at(prefix("/cors/refused"), { cors: cors(), action: to("refused") }),
  at(prefix("/cors/abort"), { cors: cors(), fault: abort(418) }),
  at(prefix("/cors"), { cors: cors() }),

  // faults
  at(prefix("/fault/abort/503"), { fault: abort(503) }),
  at(prefix("/fault/abort/418"), { fault: abort(418) }),
  at(prefix("/fault/abort/200"), { fault: abort(200) }),
  at(prefix("/fault/abort/204"), { fault: abort(204) }),
  at(prefix("/fault/grpc/14"), { fault: abort(undefined, 14) }),
  at(prefix("/fault/grpc/7"), { fault: abort(undefined, 7) }),
  at(prefix("/fault/delay"), { fault: fault({ delay: { ms: 50, fraction: 1_000_000 } }) }),
  at(prefix("/fault/both"), {
    fault: fault({
      delay: { ms: 50, fraction: 1_000_000 },
      abort: { status: 500, grpcStatus: undefined, fraction: 1_000_000 },
    }),
  }),
  at(prefix("/fault/redirect"), { fault: abort(500), action: redirect({ host: "other.test" }) }),
  at(prefix("/fault/direct"), { fault: abort(500), action: { kind: "direct-response", status: 200, body: "here" } }),

  // direct responses
  ...[200, 201, 204, 304, 400, 403, 404, 418, 429, 500, 503, 599].map((status) =>
    at(prefix(`/direct/${status}`), { action: { kind: "direct-response", status, body: "" } })
  ),
  at(prefix("/direct/body"), { action: { kind: "direct-response", status: 503, body: "text of the\nroute" } }),
  at(prefix("/direct/json"), { action: { kind: "direct-response", status: 200, body: '{"a":"b"}' } }),

  // failures and time
  at(prefix("/fail/refused-retry"), { action: to("refused") }),
  at(prefix("/fail/refused"), { action: to("refused", { retry: undefined }) }),
  at(prefix("/fail/empty"), { action: to("empty") }),
  at(prefix("/fail/missing-500"), { action: to("no-such-cluster", { clusterNotFoundStatus: 500 }) }),
  at(prefix("/fail/missing"), { action: to("no-such-cluster") }),
  at(prefix("/time/total"), { action: to("h1", { timeoutMs: 200 }) }),
  at(prefix("/time/try-only"), {
    action: to("h1", { retry: retryPolicy(["5xx"], { perTryTimeoutMs: 100, count: 0 }) }),
  }),
  at(prefix("/time/try-gateway"), {
    action: to("h1", { retry: retryPolicy(["gateway-error"], { perTryTimeoutMs: 100, count: 1 }) }),
  }),
  at(prefix("/time/try-connect"), {
    action: to("h1", { retry: retryPolicy(["connect-failure"], { perTryTimeoutMs: 100, count: 1 }) }),
  }),
  at(prefix("/time/try-longer"), {
    action: to("h1", { timeoutMs: 300, retry: retryPolicy(["5xx"], { perTryTimeoutMs: 400, count: 1 }) }),
  }),
  at(prefix("/time/try"), {
    action: to("h1", { timeoutMs: 2000, retry: retryPolicy(["5xx"], { perTryTimeoutMs: 100, count: 1 }) }),
  }),
  at(prefix("/time/grpc-capped"), { action: to("h1", { timeoutMs: 300, maxGrpcTimeoutMs: 300 }) }),
  at(prefix("/time/ignores-grpc"), { action: to("h1", { timeoutMs: 300, maxGrpcTimeoutMs: undefined }) }),

  // retries
  ...([
    ["5xx", ["5xx"]],
    ["gateway", ["gateway-error"]],
    ["reset", ["reset"]],
    ["4xx", ["retriable-4xx"]],
    ["connect", ["connect-failure"]],
    ["refused-stream", ["refused-stream"]],
    ["before", ["reset-before-request"]],
    ["none", []],
  ] as const).map(([name, on]) =>
    at(prefix(`/retry/${name}/`), { name: `retry-${name}`, action: to("h1", { retry: retryPolicy(on) }) })
  ),
  at(prefix("/retry/codes/"), {
    name: "retry-codes",
    action: to("h1", { retry: retryPolicy(["retriable-status-codes"], { statusCodes: [418, 503] }) }),
  }),
  at(prefix("/retry/twice-one"), { action: to("h1", { retry: retryPolicy(["5xx"], { count: 1 }) }) }),
  at(prefix("/retry/request-headers"), {
    action: to("h1", { retry: retryPolicy(["5xx"], { requestHeaders: [header("x-one", exact("yes"))] }) }),
  }),
  at(prefix("/decorated"), { decorator: "web:80/*" }),
  at(prefix("/mirror"), {
    action: to("h1", { mirrors: [{ cluster: "shadow", fraction: 1_000_000, shadowHost: false }] }),
  }),
  at(prefix("/shadow"), {
    action: to("h1", { mirrors: [{ cluster: "shadow", fraction: 1_000_000, shadowHost: true }] }),
  }),
  at(prefix("/"), { name: "default" }),
];
