/** Requests in HTTP/2. */
import type { HeaderList } from "../../../../src/http2/mod.ts";
import type { Answer } from "../backend.ts";
import type { StreamAnswer } from "../http2_backend.ts";
import type { Case } from "../rig.ts";

interface Extra {
  readonly method?: string;
  readonly authority?: string | undefined;
  readonly scheme?: string;
  readonly body?: string;
  readonly trailers?: HeaderList;
  readonly chain?: string;
  readonly patienceMs?: number;
  readonly answers?: readonly Answer[];
  readonly streamAnswers?: readonly StreamAnswer[];
}

function ask(name: string, path: string, fields: HeaderList = [], extra: Extra = {}): Case {
  const {
    method = "GET",
    authority = "web",
    scheme = "http",
    body,
    trailers,
    chain,
    patienceMs,
    answers,
    streamAnswers,
  } = extra;
  const headers: HeaderList = [
    [":method", method],
    [":scheme", scheme],
    [":authority", authority],
    [":path", path],
    ...fields,
  ];
  return {
    name: `h2 ${name}`,
    request: { headers, body, trailers },
    ...(chain === undefined ? {} : { chain }),
    ...(patienceMs === undefined ? {} : { patienceMs }),
    ...(answers === undefined ? {} : { answers }),
    ...(streamAnswers === undefined ? {} : { streamAnswers }),
  };
}

function exactly(name: string, headers: HeaderList, chain = "main"): Case {
  return { name: `h2 ${name}`, request: { headers }, chain, patienceMs: 1500 };
}

const ok = (fields = "", body = "ok") => ({
  raw: `HTTP/1.1 200 OK\r\n${fields}content-length: ${body.length}\r\n\r\n${body}`,
});
const GRPC: HeaderList = [["content-type", "application/grpc"], ["te", "trailers"]];
const UP = (
  headers: HeaderList,
  body?: string,
  trailers?: HeaderList,
): { chain: string; streamAnswers: StreamAnswer[] } => ({
  chain: "h2",
  streamAnswers: [{
    headers,
    ...(body === undefined ? {} : { body }),
    ...(trailers === undefined ? {} : { trailers }),
  }],
});

const requests: readonly Case[] = [
  ask("plain", "/"),
  ...["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "PROPFIND", "BREW", "get", "M-SEARCH"].map((
    method,
  ) => ask(`method ${method}`, "/", [], { method })),
  ask("post", "/", [["content-length", "3"]], { method: "POST", body: "abc" }),
  ask("post no length", "/", [], { method: "POST", body: "abc" }),
  ask("post empty", "/", [], { method: "POST", body: "" }),
  ask("post trailers", "/", [], { method: "POST", body: "abc", trailers: [["x-t", "1"]] }),
  ask("length short", "/", [["content-length", "5"]], { method: "POST", body: "abc" }),
  ask("length long", "/", [["content-length", "2"]], { method: "POST", body: "abc" }),
  ask("length twice", "/", [["content-length", "3"], ["content-length", "3"]], { method: "POST", body: "abc" }),
  ask("expect", "/", [["expect", "100-continue"], ["content-length", "3"]], {
    method: "POST",
    body: "abc",
    chain: "continue",
    answers: [{ raw: "HTTP/1.1 100 Continue\r\n\r\n" + ok().raw }],
  }),
  ask("cookies", "/", [["cookie", "a=1"], ["cookie", "b=2"]]),
  ask("cookie match", "/match/cookie", [["cookie", "a=1"], ["cookie", "b=2"]]),
  ask("host too", "/", [["host", "web"]]),
  ask("host differs", "/", [["host", "other"]]),
  exactly("host only", [[":method", "GET"], [":scheme", "http"], [":path", "/"], ["host", "web"]]),
  exactly("no authority", [[":method", "GET"], [":scheme", "http"], [":path", "/"]]),
  exactly("no path", [[":method", "GET"], [":scheme", "http"], [":authority", "web"]]),
  exactly("no scheme", [[":method", "GET"], [":authority", "web"], [":path", "/"]]),
  exactly("no method", [[":scheme", "http"], [":authority", "web"], [":path", "/"]]),
  exactly("empty path", [[":method", "GET"], [":scheme", "http"], [":authority", "web"], [":path", ""]]),
  exactly("two paths", [[":method", "GET"], [":scheme", "http"], [":authority", "web"], [":path", "/"], [
    ":path",
    "/b",
  ]]),
  exactly("unknown pseudo", [[":method", "GET"], [":scheme", "http"], [":authority", "web"], [":path", "/"], [
    ":x",
    "1",
  ]]),
  exactly("pseudo late", [[":method", "GET"], [":scheme", "http"], ["x-a", "1"], [":authority", "web"], [
    ":path",
    "/",
  ]]),
  exactly("upper case", [[":method", "GET"], [":scheme", "http"], [":authority", "web"], [":path", "/"], ["X-A", "1"]]),
  ask("connection", "/", [["connection", "close"]]),
  ask("keep-alive", "/", [["keep-alive", "1"]]),
  ask("transfer-encoding", "/", [["transfer-encoding", "chunked"]]),
  ask("upgrade", "/", [["upgrade", "websocket"]]),
  ask("proxy-connection", "/", [["proxy-connection", "x"]]),
  ask("te", "/", [["te", "trailers"]]),
  ask("te gzip", "/", [["te", "gzip"]]),
  ask("scheme https", "/", [], { scheme: "https" }),
  ask("scheme ftp", "/", [], { scheme: "ftp" }),
  ask("scheme redirect", "/redirect/host", [], { scheme: "https" }),
  ask("scheme proto", "/redirect/host", [["x-forwarded-proto", "https"]]),
  ask("star", "*", [], { method: "OPTIONS" }),
  ask("get star", "*"),
  ask("relative path", "abc"),
  ask("absolute path", "http://other/abs"),
  ask("fragment", "/a#b"),
  ask("space in path", "/a b"),
  ask("high path", "/\xc3\xa9"),
  ...["/a/../b", "/%61", "/a\\b", "/a%00", "/a%2Fb", "//a"].map((path) => ask(`path ${path}`, path)),
  ...["web:80", "WEB", "a b", "a@b", "", "a/b", "[::1]:80", "web:x"].map((authority) =>
    ask(`authority ${authority}`, "/", [], { authority })
  ),
  ask("value with nul", "/", [["x-a", "a\x00b"]]),
  ask("value with newline", "/", [["x-a", "a\nb"]]),
  ask("value with control", "/", [["x-a", "a\x01b"]]),
  ask("value with spaces", "/", [["x-a", " a "]]),
  ask("name with space", "/", [["x a", "1"]]),
  ask("empty name", "/", [["", "1"]]),
  ask("empty value", "/", [["x-a", ""]]),
  ask("underscore", "/", [["x_a", "1"]]),
  ask("duplicates", "/", [["x-a", "1"], ["accept", "a"], ["x-a", "2"], ["accept", "b"]]),
  ask("forwarded", "/", [["x-forwarded-for", "1.2.3.4"], ["x-forwarded-proto", "https"], ["x-request-id", "r"]]),
  ask("95 fields", "/", Array.from({ length: 92 }, (_, i) => [`x-${i}`, "1"] as [string, string])),
  ask("96 fields", "/", Array.from({ length: 95 }, (_, i) => [`x-${i}`, "1"] as [string, string])),
  ask("97 fields", "/", Array.from({ length: 96 }, (_, i) => [`x-${i}`, "1"] as [string, string])),
  ask("120 fields", "/", Array.from({ length: 120 }, (_, i) => [`x-${i}`, "1"] as [string, string])),
  ask("40k", "/", [["x-a", "v".repeat(40_000)]]),
  ask("65k", "/", [["x-a", "v".repeat(65_000)]]),
  exactly("connect", [[":method", "CONNECT"], [":authority", "web:80"]]),
  exactly("extended connect", [[":method", "CONNECT"], [":protocol", "websocket"], [":scheme", "http"], [
    ":authority",
    "web",
  ], [":path", "/"]]),
  exactly("extended connect other", [[":method", "CONNECT"], [":protocol", "foo"], [":scheme", "http"], [
    ":authority",
    "web",
  ], [":path", "/"]]),
];

const answers: readonly Case[] = [
  ...[200, 201, 204, 304, 404, 418, 503].map((status) =>
    ask(`status ${status}`, "/", [], { answers: [{ raw: `HTTP/1.1 ${status} X\r\ncontent-length: 0\r\n\r\n` }] })
  ),
  ask("answer chunked", "/", [], {
    answers: [{ raw: "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n" }],
  }),
  ask("answer trailers", "/", [], {
    answers: [{ raw: "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-t: 1\r\n\r\n" }],
  }),
  ask("answer close", "/", [], { answers: [ok("connection: close\r\n")] }),
  ask("answer hop", "/", [], { answers: [ok("connection: x-hop\r\nx-hop: 1\r\nkeep-alive: 5\r\nupgrade: h2c\r\n")] }),
  ask("answer 103", "/", [], { answers: [{ raw: "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + ok().raw }] }),
  ask("answer head", "/", [], { method: "HEAD", answers: [{ raw: "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n" }] }),
  ask("answer head bare", "/", [], { method: "HEAD", answers: [{ raw: "HTTP/1.1 200 OK\r\n\r\n" }] }),
  ask("answer case", "/", [], { answers: [ok("X-Upper: 1\r\n")] }),
  ask("answer short", "/", [], { answers: [{ raw: "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nok", close: true }] }),
  ask("answer none", "/", [], { answers: [{ raw: undefined, close: true }] }),
  ask("answer junk", "/", [], { answers: [{ raw: "junk\r\n\r\n", close: true }] }),
  ask("up plain", "/", [], UP([[":status", "200"], ["x-a", "1"]], "ok")),
  ask("up trailers", "/", [], UP([[":status", "200"]], "ok", [["x-t", "1"]])),
  ask(
    "up trailers only",
    "/",
    GRPC,
    UP([[":status", "200"], ["content-type", "application/grpc"], ["grpc-status", "5"]]),
  ),
  ask("up grpc", "/", GRPC, {
    method: "POST",
    body: "\0\0\0\0\0",
    ...UP([[":status", "200"], ["content-type", "application/grpc"]], "\0\0\0\0\0", [["grpc-status", "0"], [
      "grpc-message",
      "fine",
    ]]),
  }),
  ask("up grpc bare", "/", GRPC, {
    method: "POST",
    body: "\0\0\0\0\0",
    ...UP([[":status", "200"], ["content-type", "application/grpc"]], undefined, [["grpc-status", "0"]]),
  }),
  ask("up request trailers", "/", [], {
    method: "POST",
    body: "abc",
    trailers: [["x-t", "1"]],
    ...UP([[":status", "200"]], "ok"),
  }),
  ask("up unavailable", "/", GRPC, {
    method: "POST",
    body: "",
    chain: "h2",
    streamAnswers: [{ headers: [[":status", "200"], ["content-type", "application/grpc"], ["grpc-status", "14"]] }, {
      headers: [[":status", "200"], ["content-type", "application/grpc"], ["grpc-status", "0"]],
    }],
  }),
  ask("up refused", "/", GRPC, { method: "POST", body: "", chain: "h2", streamAnswers: [{ reset: 7 }] }),
  ask("up reset", "/", GRPC, { method: "POST", body: "", chain: "h2", streamAnswers: [{ reset: 2 }] }),
  ask(
    "up cookies",
    "/",
    [["cookie", "a=1"], ["cookie", "b=2"]],
    UP([[":status", "200"], ["set-cookie", "a"], ["set-cookie", "b"]]),
  ),
  ask("up 204", "/", [], UP([[":status", "204"]])),
  ask("up head", "/", [], { method: "HEAD", ...UP([[":status", "200"], ["content-length", "5"]]) }),
  ask("up content-length 0", "/", [], UP([[":status", "200"], ["content-length", "0"]])),
  ask("up empty body", "/", [], UP([[":status", "200"]], "")),
];

const local: readonly Case[] = [
  ask("no route", "/none", [], { chain: "narrow" }),
  ask("no route head", "/none", [], { chain: "narrow", method: "HEAD" }),
  ask("no route grpc", "/none", GRPC, { chain: "narrow", method: "POST", body: "" }),
  ask("no route post", "/none", [], { chain: "narrow", method: "POST", body: "abc" }),
  ask("denied", "/", [], { chain: "allow-none" }),
  ask("denied head", "/", [], { chain: "allow-none", method: "HEAD" }),
  ask("denied grpc", "/", GRPC, { chain: "allow-none", method: "POST", body: "\0\0\0\0\0" }),
  ask("denied post", "/", [], { chain: "allow-none", method: "POST", body: "abc" }),
  ask("refused grpc", "/fail/refused", GRPC, { method: "POST", body: "" }),
  ask("empty", "/fail/empty"),
  ask("empty grpc", "/fail/empty", GRPC, { method: "POST", body: "" }),
  ask("missing", "/fail/missing"),
  ask("missing grpc", "/fail/missing-500", GRPC, { method: "POST", body: "" }),
  ask("redirect", "/redirect/host"),
  ask("redirect grpc", "/redirect/host", GRPC, { method: "POST", body: "" }),
  ask("direct", "/direct/body"),
  ask("direct 400", "/direct/400"),
  ask("direct 204", "/direct/204"),
  ask("direct grpc", "/direct/body", GRPC, { method: "POST", body: "" }),
  ask("fault", "/fault/abort/503"),
  ask("fault grpc", "/fault/abort/503", GRPC, { method: "POST", body: "" }),
  ask("fault grpc status", "/fault/grpc/14", GRPC, { method: "POST", body: "" }),
  ask("fault grpc status plain", "/fault/grpc/14"),
  ask("cors preflight", "/cors", [["origin", "http://a.test"], ["access-control-request-method", "POST"]], {
    method: "OPTIONS",
  }),
  ask("cors", "/cors", [["origin", "http://a.test"]]),
  ask("timeout", "/time/total", [], { answers: [{ raw: ok().raw, delayMs: 700 }] }),
  ask("timeout grpc", "/time/total", [...GRPC, ["grpc-timeout", "100m"]], {
    method: "POST",
    body: "",
    answers: [{ raw: ok().raw, delayMs: 700 }],
  }),
  ask("rewrite", "/rewrite/sep/x?y", [], {}),
  ask("edit", "/edit/append", [["x-there", "a"]], { answers: [ok("x-there: b\r\n")] }),
];

export const HTTP2_CASES: readonly Case[] = [...requests, ...answers, ...local];
