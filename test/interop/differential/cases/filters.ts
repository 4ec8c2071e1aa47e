/** CORS, faults and direct responses. */
import type { Case } from "../rig.ts";
import { answered, ask, ok, preflight } from "./ask.ts";

export const FILTERS: readonly Case[] = [
  // CORS
  ...[
    "cors",
    "cors/any",
    "cors/any-credentials",
    "cors/star",
    "cors/bare",
    "cors/forward",
    "cors/redirect",
    "cors/direct",
    "cors/refused",
    "cors/abort",
  ].flatMap((name) => [
    ...(["http://a.test", "https://x.b.test", "http://c.test", "null"].flatMap((origin) => [
      ask(`${name} preflight ${origin}`, `OPTIONS /${name}`, preflight(origin)),
      ask(`${name} actual ${origin}`, `GET /${name}`, [`origin: ${origin}`]),
    ])),
    ask(
      `${name} preflight headers`,
      `OPTIONS /${name}`,
      preflight("http://a.test", "access-control-request-headers: x-h, x-i"),
    ),
    ask(
      `${name} preflight private`,
      `OPTIONS /${name}`,
      preflight("http://a.test", "access-control-request-private-network: true"),
    ),
    ask(`${name} options`, `OPTIONS /${name}`, ["origin: http://a.test"]),
    ask(`${name} options no origin`, `OPTIONS /${name}`, ["access-control-request-method: GET"]),
    ask(`${name} no origin`, `GET /${name}`),
    ask(`${name} empty origin`, `GET /${name}`, ["origin:"]),
    ask(`${name} preflight empty`, `OPTIONS /${name}`, ["origin:", "access-control-request-method: GET"]),
    ask(`${name} preflight no method`, `OPTIONS /${name}`, ["origin: http://a.test", "access-control-request-method:"]),
    ask(`${name} two origins`, `GET /${name}`, ["origin: http://a.test", "origin: http://c.test"]),
    ask(
      `${name} backend`,
      `GET /${name}`,
      ["origin: http://a.test"],
      "",
      answered(
        ok(
          "access-control-allow-origin: backend\r\naccess-control-allow-credentials: false\r\naccess-control-expose-headers: mine\r\naccess-control-allow-methods: PUT\r\nvary: origin\r\n",
        ),
      ),
    ),
    ask(
      `${name} backend foreign`,
      `GET /${name}`,
      ["origin: http://c.test"],
      "",
      answered(ok("access-control-allow-origin: backend\r\n")),
    ),
  ]),
  ask("cors case origin", "GET /cors", ["origin: HTTP://A.TEST"]),
  ask("cors post", "POST /cors", ["origin: http://a.test", "content-length: 3"], "abc"),
  ask("cors preflight body", "OPTIONS /cors", [...preflight("http://a.test"), "content-length: 3"], "abc"),
  ask("cors grpc preflight", "OPTIONS /cors", [...preflight("http://a.test"), "content-type: application/grpc"]),

  // faults
  ...["abort/503", "abort/418", "abort/200", "abort/204", "grpc/14", "grpc/7", "delay", "both", "redirect", "direct"]
    .flatMap((name) => [
      ask(`fault ${name}`, `GET /fault/${name}`),
      ask(`fault ${name} head`, `HEAD /fault/${name}`),
      ask(`fault ${name} post`, `POST /fault/${name}`, ["content-length: 3"], "abc"),
      ask(`fault ${name} grpc`, `POST /fault/${name}`, ["content-type: application/grpc", "content-length: 0"]),
    ]),
  ask("fault by header", "GET /", ["x-envoy-fault-abort-request: 503", "x-envoy-fault-delay-request: 100"]),
  ask("fault abort header", "GET /fault/abort/503", ["x-envoy-fault-abort-request: 404"]),

  // direct responses
  ...["200", "201", "204", "304", "400", "403", "404", "418", "429", "500", "503", "599", "body", "json"].flatMap((
    name,
  ) => [
    ask(`direct ${name}`, `GET /direct/${name}`),
    ask(`direct ${name} head`, `HEAD /direct/${name}`),
    ask(`direct ${name} grpc`, `POST /direct/${name}`, ["content-type: application/grpc", "content-length: 0"]),
    ask(`direct ${name} close`, `GET /direct/${name}`, ["connection: close"]),
  ]),
  ask("direct post", "POST /direct/200", ["content-length: 3"], "abc"),
  ask("direct post later", "POST /direct/200", ["content-length: 3"], "", { then: "abc" }),
  ask("direct expect", "POST /direct/403", ["content-length: 3", "expect: 100-continue"], "", { then: "abc" }),
  ask("direct keeps", "GET /direct/body", [], "GET /direct/json HTTP/1.1\r\nhost: web\r\nx-case: direct_keeps\r\n\r\n"),
];
