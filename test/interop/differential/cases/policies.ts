/** Authorization: what a rule matches, and what a denial looks like. */
import type { Case } from "../rig.ts";
import { ask, preflight, SOCKET } from "./ask.ts";

const paths = [
  "/a/b",
  "/a/b/",
  "/a//b",
  "/a/./b",
  "/a/x/../b",
  "/A/b",
  "/a%2Fb",
  "/%61/b",
  "/a/b?c",
  "/a/b;c",
  "/a",
  "/a/",
  "/a/x/c",
  "/a/x/c/",
  "/a/x/c/d/e",
  "/a/x/y/c/d",
  "/a/x/z.txt",
  "/a/z.txt",
  "/a/z.txt?x",
  "/a/x/c/d?e",
];
export const POLICIES: readonly Case[] = [
  ...["path-exact", "path-prefix", "path-suffix", "path-template", "path-template-tail", "path-template-suffix"]
    .flatMap((name) =>
      paths.map((path) => ask(`deny ${name} ${path}`, `GET ${path}`, [], "", { chain: `deny-${name}` }))
    ),
  ...["GET", "PUT"].map((method) =>
    ask(`deny method ${method}`, `${method} /`, ["content-length: 0"], "", { chain: "deny-method" })
  ),
  ...["host", "host-prefix"].flatMap((name) =>
    ["web.test", "WEB.TEST", "web.test:80", "other", "web.test."].map((host) =>
      ask(`deny ${name} ${host}`, "GET /", [], "", { chain: `deny-${name}`, host })
    )
  ),
  ...["header", "header-prefix", "header-suffix", "header-present", "not-header"].flatMap((name) =>
    ([
      ["none", []],
      ["v", ["x-one: v"]],
      ["vw", ["x-one: vw"]],
      ["wv", ["x-one: wv"]],
      ["two", ["x-one: v", "x-one: w"]],
      ["two other", ["x-one: w", "x-one: v"]],
      ["joined", ["x-one: v,w"]],
      ["empty", ["x-one:"]],
      ["case", ["X-ONE: V"]],
    ] as [string, string[]][])
      .map(([what, fields]) => ask(`deny ${name} ${what}`, "GET /", fields, "", { chain: `deny-${name}` }))
  ),
  ...["principal", "principal-other", "namespace", "direct-ip"].map((name) =>
    ask(`deny ${name}`, "GET /", [], "", { chain: `deny-${name}` })
  ),
  ...["10.1.2.3", "10.2.2.3", "1.1.1.1, 10.1.0.1", "10.1.0.1, 1.1.1.1", "10.1.0.1:80", "junk", "", " 10.1.0.1 "].map((
    value,
  ) => ask(`deny remote-ip ${value}`, "GET /", [`x-forwarded-for: ${value}`], "", { chain: "deny-remote-ip" })),
  ask("deny remote-ip two lines", "GET /", ["x-forwarded-for: 10.1.0.1", "x-forwarded-for: 1.1.1.1"], "", {
    chain: "deny-remote-ip",
  }),
  ask("deny remote-ip two lines other", "GET /", ["x-forwarded-for: 1.1.1.1", "x-forwarded-for: 10.1.0.1"], "", {
    chain: "deny-remote-ip",
  }),
  ask("allow none", "GET /", [], "", { chain: "allow-none" }),
  ask("allow none head", "HEAD /", [], "", { chain: "allow-none" }),
  ask("allow none post", "POST /", ["content-length: 3"], "abc", { chain: "allow-none" }),
  ask("allow none post large", "POST /", ["content-length: 100000"], "abc", { chain: "allow-none", patienceMs: 400 }),
  ask("allow none expect", "POST /", ["expect: 100-continue", "content-length: 3"], "", {
    chain: "allow-none",
    then: "abc",
  }),
  ask("allow none grpc", "POST /", ["content-type: application/grpc", "te: trailers", "content-length: 0"], "", {
    chain: "allow-none",
  }),
  ask("allow none upgrade", "GET /", SOCKET, "", { chain: "allow-none" }),
  ask("allow none upgrade refused", "GET /", ["connection: upgrade", "upgrade: foo"], "", { chain: "allow-none" }),
  ask("allow none connect", "CONNECT web:80", [], "", { chain: "allow-none" }),
  ask("allow none close", "GET /", ["connection: close"], "", { chain: "allow-none" }),
  ask("allow get", "GET /", [], "", { chain: "allow-get" }),
  ask("allow get cors", "OPTIONS /cors", preflight("http://a.test"), "", { chain: "allow-get" }),
  ask("allow get route fields", "POST /edit/append", ["content-length: 0"], "", { chain: "allow-get" }),
  ask("allow get cluster fields", "POST /edit/cluster", ["content-length: 0"], "", { chain: "allow-get" }),
  ask("allow get redirect fields", "POST /edit/redirect", ["content-length: 0"], "", { chain: "allow-get" }),
  ask("allow get edit", "POST /edit/direct", ["content-length: 0"], "", { chain: "allow-get" }),
  ask("allow get fault", "POST /fault/abort/503", ["content-length: 0"], "", { chain: "allow-get" }),
  ask("allow get cors actual", "POST /cors", ["origin: http://a.test", "content-length: 0"], "", {
    chain: "allow-get",
  }),
];
