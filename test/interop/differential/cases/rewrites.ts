/** Redirects and rewrites. */
import type { Case } from "../rig.ts";
import { ask } from "./ask.ts";

export const REWRITES: readonly Case[] = [
  // redirects
  ...[301, 302, 303, 307, 308].map((code) => ask(`redirect ${code}`, `GET /redirect/status/${code}/x?y=z`)),
  ...[
    "https-port",
    "https-443",
    "https-80",
    "https-host",
    "http",
    "https",
    "port-80",
    "port-443",
    "port",
    "host-port",
    "host",
    "full",
    "query",
    "hash",
    "strip-full",
    "strip-prefix",
    "strip",
    "sep",
    "sep-root",
    "prefix/",
    "prefix",
    "exact",
    "regex",
  ]
    .flatMap((name) => [
      ask(`redirect ${name}`, `GET /redirect/${name}`),
      ask(`redirect ${name} rest`, `GET /redirect/${name}/a/b?c=d&e`),
      ask(`redirect ${name} slash`, `GET /redirect/${name}/`),
      ask(`redirect ${name} slashes`, `GET /redirect/${name}//a`),
    ]),
  ...["https-port", "https-443", "https-80", "https", "http", "port-80", "port", "host", "full"].flatMap((name) =>
    ["web:80", "web:443", "web:8080", "[::1]:80", "[::1]"].map((host) =>
      ask(`redirect ${name} from ${host}`, `GET /redirect/${name}`, [], "", { host })
    )
  ),
  ...["https", "http", "https-443", "host", "port-80", "port-443", "full"].map((name) =>
    ask(`redirect ${name} proto`, `GET /redirect/${name}`, ["x-forwarded-proto: https"], "", { host: "web:443" })
  ),
  ask("redirect head", "HEAD /redirect/host"),
  ask("redirect post", "POST /redirect/host", ["content-length: 3"], "abc"),
  ask("redirect grpc", "POST /redirect/host", ["content-type: application/grpc", "content-length: 0"]),
  ask("redirect absolute", "GET http://other/redirect/full"),

  // rewrites
  ...[
    "sep",
    "sep-root",
    "prefix/slash/",
    "prefix/noslash",
    "prefix/",
    "prefix",
    "exact",
    "NoCase",
    "nocase",
    "re/",
    "re/x",
    "full",
    "regex-all",
    "regex",
    "regex/one/two",
    "regex/one/two/three",
    "empty",
    "host-forwarded",
    "host-path",
    "host",
    "headers",
  ]
    .flatMap((name) => [
      ask(`rewrite ${name}`, `GET /rewrite/${name}`),
      ask(`rewrite ${name} query`, `GET /rewrite/${name}?x=y`),
      ask(`rewrite ${name} rest`, `GET /rewrite/${name}/a/b?c=d&e`),
      ask(`rewrite ${name} joined`, `GET /rewrite/${name}more?x`),
      ask(`rewrite ${name} slash`, `GET /rewrite/${name}/`),
      ask(`rewrite ${name} slashes`, `GET /rewrite/${name}//a`),
    ]),
  ask("rewrite original", "GET /rewrite/headers/x", ["x-envoy-original-path: /mine"]),
  ask("rewrite forwarded host", "GET /rewrite/host-forwarded", ["x-forwarded-host: a.test"]),
  ask("rewrite forwarded hosts", "GET /rewrite/host-forwarded", ["x-forwarded-host: a.test, web"]),
  ask("rewrite host port", "GET /rewrite/host-forwarded", [], "", { host: "web:81" }),
];
