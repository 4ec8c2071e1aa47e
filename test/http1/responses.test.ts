import { describe, expect, test } from "bun:test";
import type { BodyKind } from "../../src/http1/mod.ts";
import { octets, readResponses, splitAt } from "./recorder.ts";

function read(text: string, methods?: readonly string[]) {
  return readResponses([octets(text)], methods);
}

const CHUNKED = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

describe("responses that are taken", () => {
  const table: [name: string, text: string, body: BodyKind, content: string, eof: string, method?: string][] = [
    ["by length", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "length", "hi", "idle"],
    ["of length 0", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "none", "", "idle"],
    ["in chunks", `${CHUNKED}2\r\nhi\r\n0\r\n\r\n`, "chunked", "hi", "idle"],
    ["to the end (RFC 9112 §6.3 rule 8)", "HTTP/1.1 200 OK\r\n\r\nhi", "close", "hi", "complete"],
    ["to the end, nothing", "HTTP/1.1 200 OK\r\n\r\n", "close", "", "complete"],
    ["HTTP/1.0", "HTTP/1.0 200 OK\r\n\r\nhi", "close", "hi", "complete"],
    ["of HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", "none", "", "idle", "HEAD"],
    ["of HEAD, chunked", CHUNKED, "none", "", "idle", "HEAD"],
    ["204", "HTTP/1.1 204 No Content\r\n\r\n", "none", "", "idle"],
    ["204 with length 0", "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", "none", "", "idle"],
    ["304 with the length of what it is about", "HTTP/1.1 304 X\r\nContent-Length: 9\r\n\r\n", "none", "", "idle"],
    [
      "2xx to CONNECT (rule 2)",
      "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nraw\r\n",
      "raw",
      "raw\r\n",
      "complete",
      "CONNECT",
    ],
    ["4xx to CONNECT", "HTTP/1.1 403 No\r\nContent-Length: 1\r\n\r\nx", "length", "x", "idle", "CONNECT"],
    ["no reason", "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", "none", "", "idle"],
    ["no reason and no space", "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", "none", "", "idle"],
    ["reason beyond ASCII", "HTTP/1.1 200 \xe4\t!\r\nContent-Length: 0\r\n\r\n", "none", "", "idle"],
    ["status without a name", "HTTP/1.1 799 Odd\r\nContent-Length: 0\r\n\r\n", "none", "", "idle"],
    ["a large head", `HTTP/1.1 200 OK\r\nContent-Length: 0\r\nx: ${"y".repeat(70_000)}\r\n\r\n`, "none", "", "idle"],
  ];
  test.each(table)("%s", (...[_name, text, body, content, eof, method]) => {
    const result = read(text, [method ?? "GET"]);
    expect(result.recorder.error).toBeUndefined();
    const first = result.recorder.events[0]!;
    expect(first.kind === "response" && first.framing.body).toBe(body);
    expect(result.recorder.content).toBe(content);
    expect(result.recorder.events.at(-1)!.kind).toBe("end");
    expect(result.eof as string).toBe(eof);
    expect(result.used + result.recorder.data).toBe(text.length);
  });

  test("fields as those of requests; 1xx come before", () => {
    const { recorder } = read(
      "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" +
        "HTTP/1.1 200 OK\r\nX-A: 1\r\nConnection: x-b\r\nX-B: 2\r\nKeep-Alive: 5\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n" +
        "Content-Length: 1\r\n\r\nx",
    );
    const heads = recorder.events.map((event) =>
      event.kind === "informational" || event.kind === "response" ? [event.head.status, event.head.fields] : event.kind
    );
    expect(heads).toEqual([
      [100, []],
      [103, [["link", "</a>"]]],
      // What Connection names goes on, as in Envoy, which takes it from requests only.
      [200, [["x-a", "1"], ["x-b", "2"], ["set-cookie", "a"], ["set-cookie", "b"], ["content-length", "1"]]],
      "data",
      "end",
    ]);
  });

  test("Connection cannot remove what the client needs", () => {
    const { recorder } = read(
      "HTTP/1.1 200 OK\r\nConnection: content-length, set-cookie\r\nSet-Cookie: a\r\nContent-Length: 0\r\n\r\n",
    );
    const first = recorder.events[0]!;
    expect(first.kind === "response" && first.head.fields).toEqual([["set-cookie", "a"], ["content-length", "0"]]);
  });

  test("101 to an upgrade: what follows is raw", () => {
    const text = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\r\n\x81\x02hi";
    const { recorder, eof } = read(text, ["UPGRADE"]);
    expect(recorder.events[0]).toMatchObject({
      kind: "response",
      head: { status: 101, upgrade: "websocket", fields: [] },
      framing: { body: "raw", keepAlive: false },
    });
    expect(recorder.content).toBe("\x81\x02hi");
    expect(eof).toBe("complete");
  });

  test("another answer to an upgrade is ordinary", () => {
    const { recorder, eof } = read("HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n", ["UPGRADE"]);
    expect(recorder.events.map((event) => event.kind)).toEqual(["response", "end"]);
    expect(eof).toBe("idle");
  });

  test("one after the other, each by its request", () => {
    const text = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";
    const { recorder } = read(text, ["HEAD", "GET"]);
    expect(recorder.error).toBeUndefined();
    expect(recorder.events.map((event) => event.kind)).toEqual(["response", "end", "response", "data", "end"]);
  });

  test("trailers", () => {
    const { recorder } = read(`${CHUNKED}0\r\nGrpc-Status: 0\r\nContent-Type: x\r\n\r\n`);
    expect(recorder.events.slice(1)).toEqual([{ kind: "trailers", fields: [["grpc-status", "0"]] }, { kind: "end" }]);
  });
});

describe("keep-alive", () => {
  test.each<[version: string, connection: string, length: string, expected: boolean]>([
    ["1.1", "", "0", true],
    ["1.1", "close", "0", false],
    ["1.1", "", "", false],
    ["1.0", "", "0", false],
    ["1.0", "keep-alive", "0", true],
    ["1.0", "keep-alive", "", false],
  ])("HTTP/%s, Connection %p, Content-Length %p", (version, connection, length, expected) => {
    const fields = (connection === "" ? "" : `Connection: ${connection}\r\n`) +
      (length === "" ? "" : `Content-Length: ${length}\r\n`);
    const first = read(`HTTP/${version} 200 OK\r\n${fields}\r\n`).recorder.events[0]!;
    expect(first.kind === "response" && first.framing.keepAlive).toBe(expected);
  });
});

describe("responses that are refused", () => {
  const codec = "http1.codec_error";
  const odd = "http1.invalid_transfer_encoding";
  const table: [name: string, text: string, details: string, method?: string][] = [
    ["no HTTP", "SSH-2.0-OpenSSH_9.6\r\n", codec],
    ["HTTP/2 frame", "\0\0\x12\x04\0\0\0\0\0", codec],
    ["HTTP/1.2", "HTTP/1.2 200 OK\r\n\r\n", codec],
    ["status of two digits", "HTTP/1.1 20 OK\r\n\r\n", codec],
    ["status of four digits", "HTTP/1.1 2000 OK\r\n\r\n", codec],
    ["status below 100", "HTTP/1.1 099 OK\r\n\r\n", codec],
    ["two spaces", "HTTP/1.1  200 OK\r\n\r\n", codec],
    ["control character in the reason", "HTTP/1.1 200 O\0K\r\n\r\n", codec],
    ["lone LF", "HTTP/1.1 200 OK\nContent-Length: 0\n\n", codec],
    ["obs-fold (RFC 9112 §5.2)", "HTTP/1.1 200 OK\r\nx: a\r\n b\r\n\r\n", codec],
    ["space before the colon (§5.1)", "HTTP/1.1 200 OK\r\nx : a\r\n\r\n", codec],
    ["NUL in a value", "HTTP/1.1 200 OK\r\nx: \0\r\n\r\n", "http1.invalid_characters"],
    [
      "CL and TE",
      `HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n`,
      "http1.content_length_and_chunked_not_allowed",
    ],
    ["two CL", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", codec],
    ["CL that is no number", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", codec],
    ["TE: gzip", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", odd],
    ["TE: gzip, chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", odd],
    ["TE in HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", odd],
    ["TE in 204", "HTTP/1.1 204 X\r\nTransfer-Encoding: chunked\r\n\r\n", "http1.transfer_encoding_not_allowed"],
    ["CL in 204", "HTTP/1.1 204 X\r\nContent-Length: 1\r\n\r\nx", "http1.content_length_not_allowed"],
    ["CL in 100", "HTTP/1.1 100 X\r\nContent-Length: 1\r\n\r\nx", "http1.content_length_not_allowed"],
    ["101 that nobody asked for", "HTTP/1.1 101 X\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", codec],
    ["101 without a protocol", "HTTP/1.1 101 X\r\nConnection: upgrade\r\n\r\n", codec, "UPGRADE"],
    ["101 without the connection option", "HTTP/1.1 101 X\r\nUpgrade: x\r\n\r\n", codec, "UPGRADE"],
    ["a head beyond 80 KiB", `HTTP/1.1 200 OK\r\nx: ${"y".repeat(82_000)}\r\n\r\n`, "http1.headers_too_large"],
    ["a head without end", `HTTP/1.1 200 OK\r\nx: ${"y".repeat(200_000)}`, "http1.headers_too_large"],
    ["101 fields", `HTTP/1.1 200 OK\r\n${"x: y\r\n".repeat(101)}\r\n`, "http1.too_many_headers"],
    ["bad chunk size", `${CHUNKED}x\r\n`, codec],
    ["chunk longer than its size", `${CHUNKED}1\r\nxx\r\n`, codec],
    ["malformed trailers", `${CHUNKED}0\r\nx y: z\r\n\r\n`, codec],
  ];
  test.each(table)("%s", (...[_name, text, details, method]) => {
    const result = read(text, [method ?? "GET"]);
    expect(result.recorder.error).toMatchObject({ status: 502, details, text: "Bad Gateway" });
    expect(result.used + result.recorder.data).toBe(text.length);
    if (text.length < 1000) {
      const bytes = octets(text);
      const slowly = readResponses(splitAt(bytes, [...bytes.keys()].slice(1)), [method ?? "GET"]);
      expect(slowly.recorder.events).toEqual(result.recorder.events);
    }
  });

  test.each([
    ["behind a response", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", ["GET"], [
      "response",
      "end",
      "error",
    ]],
    ["behind 204", "HTTP/1.1 204 X\r\n\r\nx", ["GET"], ["response", "end", "error"]],
    ["before any request", "HTTP/1.1 408 Request Timeout\r\n\r\n", [], ["error"]],
  ])("octets %s answer no request", (_name, text, methods, kinds) => {
    expect(read(text, methods).recorder.events.map((event) => event.kind as string)).toEqual(kinds);
  });

  test.each([
    ["before the head", ""],
    ["in the head", "HTTP/1.1 200 OK\r\nContent"],
    ["after 100", "HTTP/1.1 100 Continue\r\n\r\n"],
    ["in content", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nh"],
    ["in chunks", `${CHUNKED}1\r\nx\r\n`],
  ])("a connection that ends %s", (_name, text) => {
    expect(read(text).eof).toBe("truncated");
  });
});
