/** Upstreams that fail, time limits, retries, mirrors. */
import type { Answer } from "../backend.ts";
import type { Case } from "../rig.ts";
import { answered, ask, ok, status } from "./ask.ts";

export const FAILURES: readonly Case[] = [
  // failures and time
  ...["refused", "refused-retry", "empty", "missing", "missing-500"].flatMap((name) => [
    ask(`fail ${name}`, `GET /fail/${name}`),
    ask(`fail ${name} head`, `HEAD /fail/${name}`),
    ask(`fail ${name} post`, `POST /fail/${name}`, ["content-length: 3"], "abc"),
    ask(`fail ${name} grpc`, `POST /fail/${name}`, [
      "content-type: application/grpc",
      "te: trailers",
      "content-length: 0",
    ]),
    ask(`fail ${name} upgrade`, `GET /fail/${name}`, ["connection: upgrade", "upgrade: websocket"]),
  ]),
  ...["total", "try", "try-only", "try-gateway", "try-connect", "try-longer", "grpc-capped", "ignores-grpc"].flatMap((
    name,
  ) => [
    ask(`time ${name} soon`, `GET /time/${name}`, ["x-envoy-expected-rq-timeout-ms: 9"]),
    ask(`time ${name} late`, `GET /time/${name}`, [], "", answered({ raw: ok(), delayMs: 700 })),
    ask(`time ${name} post`, `POST /time/${name}`, ["content-length: 3"], "abc", answered({ raw: ok(), delayMs: 700 })),
    ask(
      `time ${name} grpc`,
      `POST /time/${name}`,
      ["content-type: application/grpc", "te: trailers", "content-length: 0"],
      "",
      answered({ raw: ok(), delayMs: 700 }),
    ),
    ask(
      `time ${name} grpc 100m`,
      `POST /time/${name}`,
      ["content-type: application/grpc", "te: trailers", "grpc-timeout: 100m", "content-length: 0"],
      "",
      answered({ raw: ok(), delayMs: 700 }),
    ),
    ask(
      `time ${name} grpc 9S`,
      `POST /time/${name}`,
      ["content-type: application/grpc", "te: trailers", "grpc-timeout: 9S", "content-length: 0"],
      "",
      answered({ raw: ok(), delayMs: 700 }),
    ),
    ask(`time ${name} second`, `GET /time/${name}`, [], "", answered({ raw: ok(), delayMs: 700 }, ok())),
    ask(
      `time ${name} body`,
      `GET /time/${name}`,
      [],
      "",
      answered({ raw: "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nok", then: "ok" }),
    ),
  ]),
  ask(
    "grpc timeout",
    "POST /",
    ["content-type: application/grpc", "te: trailers", "grpc-timeout: 100m", "content-length: 0"],
    "",
    answered({ raw: ok(), delayMs: 600 }),
  ),
  ask("grpc timeout default", "POST /", ["content-type: application/grpc", "grpc-timeout: 10S", "content-length: 0"]),
  ask("grpc timeout bad", "POST /", ["content-type: application/grpc", "grpc-timeout: x", "content-length: 0"]),
  ask("grpc timeout zero", "POST /", ["content-type: application/grpc", "grpc-timeout: 0m", "content-length: 0"]),
  ask("grpc timeout hours", "POST /", ["content-type: application/grpc", "grpc-timeout: 2H", "content-length: 0"]),
  ask("grpc timeout micro", "POST /", [
    "content-type: application/grpc",
    "grpc-timeout: 1500000u",
    "content-length: 0",
  ]),
  ask("grpc timeout not grpc", "POST /", ["content-type: text/plain", "grpc-timeout: 10S", "content-length: 0"]),

  // retries
  ...["5xx", "gateway", "reset", "4xx", "connect", "refused-stream", "before", "none", "codes"].flatMap((name) =>
    ([
      ["503", [status(503), ok()]],
      ["500", [status(500), ok()]],
      ["502", [status(502), ok()]],
      ["504", [status(504), ok()]],
      ["501", [status(501), ok()]],
      ["409", [status(409), ok()]],
      ["418", [status(418), ok()]],
      ["429", [status(429), ok()]],
      ["503 always", [status(503)]],
      ["503 overloaded", [status(503, "X", "x-envoy-overloaded: true\r\n"), ok()]],
      ["503 ratelimited", [status(503, "X", "x-envoy-ratelimited: true\r\n"), ok()]],
      ["close", [{ raw: undefined, close: true }, ok()]],
      ["close always", [{ raw: undefined, close: true }]],
      ["half head", [{ raw: "HTTP/1.1 200 OK\r\nx", close: true }, ok()]],
      ["junk", [{ raw: "junk\r\n\r\n", close: true }, ok()]],
      ["grpc 14", [
        "HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ngrpc-status: 14\r\ncontent-length: 0\r\n\r\n",
        ok(),
      ]],
    ] as [string, (string | Answer)[]][]).map(([what, list]) =>
      ask(`retry ${name} ${what}`, `GET /retry/${name}/`, [], "", answered(...list))
    )
  ),
  ask("retry post", "POST /retry/5xx/", ["content-length: 3"], "abc", answered(status(503), ok())),
  ask(
    "retry chunked",
    "POST /retry/5xx/",
    ["transfer-encoding: chunked"],
    "3\r\nabc\r\n0\r\n\r\n",
    answered(status(503), ok()),
  ),
  ask("retry once", "GET /retry/twice-one", [], "", answered(status(503), status(503), ok())),
  ask("retry headers no", "GET /retry/request-headers", [], "", answered(status(503), ok())),
  ask("retry headers yes", "GET /retry/request-headers", ["x-one: yes"], "", answered(status(503), ok())),
  ask(
    "retry client",
    "GET /retry/none/",
    ["x-envoy-retry-on: 5xx", "x-forwarded-for: 10.0.0.1"],
    "",
    answered(status(503), ok()),
  ),
  ask("retry default 503", "GET /", [], "", answered(status(503), ok())),
  ask("retry default close", "GET /", [], "", answered({ raw: undefined, close: true }, ok())),
  ask(
    "retry default grpc",
    "POST /",
    ["content-type: application/grpc", "content-length: 0"],
    "",
    answered("HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ngrpc-status: 14\r\ncontent-length: 0\r\n\r\n", ok()),
  ),
  ask("decorated", "GET /decorated"),
  ask("mirror", "POST /mirror", ["content-length: 3"], "abc"),
  ask("mirror xff", "GET /mirror", ["x-forwarded-for: 1.2.3.4"]),
  ask("shadow", "GET /shadow"),
  ask("shadow port", "GET /shadow", [], "", { host: "web:80" }),
];
