/** Requests in HTTP/1 for an application in HTTP/2. */
import type { Case } from "../rig.ts";
import { ask, SOCKET } from "./ask.ts";

export const TRANSLATED: readonly Case[] = [
  ask("to h2", "GET /a?b", ["x-a: 1", "cookie: a=1", "cookie: b=2"], "", {
    chain: "h2",
    streamAnswers: [{ headers: [[":status", "200"], ["x-b", "1"]], body: "ok" }],
  }),
  ask("to h2 post", "POST /", ["content-length: 3"], "abc", {
    chain: "h2",
    streamAnswers: [{ headers: [[":status", "200"], ["content-length", "2"]], body: "ok" }],
  }),
  ask("to h2 chunked", "POST /", ["transfer-encoding: chunked"], "3\r\nabc\r\n0\r\n\r\n", {
    chain: "h2",
    streamAnswers: [{ body: "ok" }],
  }),
  ask("to h2 head", "HEAD /", [], "", {
    chain: "h2",
    streamAnswers: [{ headers: [[":status", "200"], ["content-length", "5"]] }],
  }),
  ask("to h2 bodyless", "GET /", [], "", { chain: "h2", streamAnswers: [{ headers: [[":status", "200"]] }] }),
  ask("to h2 204", "GET /", [], "", { chain: "h2", streamAnswers: [{ headers: [[":status", "204"]] }] }),
  ask("to h2 304", "GET /", [], "", { chain: "h2", streamAnswers: [{ headers: [[":status", "304"], ["etag", "x"]] }] }),
  ask("to h2 trailers", "GET /", ["te: trailers"], "", {
    chain: "h2",
    streamAnswers: [{ body: "ok", trailers: [["x-t", "1"]] }],
  }),
  ask("to h2 reset", "GET /", [], "", { chain: "h2", streamAnswers: [{ reset: 2 }] }),
  ask("to h2 refused", "GET /", [], "", { chain: "h2", streamAnswers: [{ reset: 7 }, { body: "ok" }] }),
  ask("to h2 refused always", "GET /", [], "", { chain: "h2", streamAnswers: [{ reset: 7 }] }),
  ask(
    "to h2 connection fields",
    "GET /",
    ["connection: keep-alive, x-hop", "x-hop: 1", "keep-alive: 1", "proxy-connection: x"],
    "",
    { chain: "h2", streamAnswers: [{ body: "ok" }] },
  ),
  ask("to h2 expect", "POST /", ["expect: 100-continue", "content-length: 3"], "abc", {
    chain: "h2",
    streamAnswers: [{ body: "ok" }],
  }),
  ask("to h2 cookies back", "GET /", [], "", {
    chain: "h2",
    streamAnswers: [{ headers: [[":status", "200"], ["set-cookie", "a"], ["set-cookie", "b"]] }],
  }),
  ask("to h2 server", "GET /", [], "", {
    chain: "h2",
    streamAnswers: [{ headers: [[":status", "200"], ["server", "x"], ["date", "y"]] }],
  }),
  ask("to h2 rewrite", "GET /rewrite/sep/a?b", [], "", { chain: "h2", streamAnswers: [{ body: "ok" }] }),
  ask(
    "to h2 grpc",
    "POST /",
    ["content-type: application/grpc", "te: trailers", "transfer-encoding: chunked"],
    "0\r\n\r\n",
    { chain: "h2", streamAnswers: [{ body: "ok", trailers: [["grpc-status", "0"]] }] },
  ),
  ask("to h2 websocket", "GET /", SOCKET, "", {
    chain: "h2",
    streamAnswers: [{ headers: [[":status", "200"]] }],
    patienceMs: 600,
  }),
  ask("to h2 teapot", "GET /", [], "", { chain: "h2", streamAnswers: [{ headers: [[":status", "418"]], body: "x" }] }),
  ask("to h2 empty", "GET /", [], "", { chain: "h2", streamAnswers: [{ body: "" }] }),
];
