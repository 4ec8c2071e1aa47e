import { describe, expect, test } from "bun:test";
import { RequestParser, type RequestParserOptions } from "../../src/http1/mod.ts";
import { octets, readRequests, Recorder, splitAt } from "./recorder.ts";

function read(text: string, options: RequestParserOptions = {}) {
  return readRequests([octets(text)], options);
}

const HOST = "Host: a\r\n";
const POST = "POST / HTTP/1.1\r\nHost: a\r\n";
const CHUNKED = `${POST}Transfer-Encoding: chunked\r\n\r\n`;
const HTTP10: RequestParserOptions = { acceptHttp10: true };

describe("requests that are taken", () => {
  const table: [name: string, text: string, expected: string, options?: RequestParserOptions][] = [
    ["origin-form (RFC 9112 §3.2.1)", `GET /a/b?c=d HTTP/1.1\r\n${HOST}\r\n`, "GET http a /a/b?c=d"],
    ["scheme of the connection", `GET / HTTP/1.1\r\n${HOST}\r\n`, "GET https a /", { scheme: "https" }],
    ["absolute-form (§3.2.2)", `GET http://b:81/x HTTP/1.1\r\n${HOST}\r\n`, "GET http b:81 /x"],
    ["absolute-form, https, case of the scheme", `GET HTTPS://b/x HTTP/1.1\r\n${HOST}\r\n`, "GET https b /x"],
    ["absolute-form without a path", `GET http://b HTTP/1.1\r\n${HOST}\r\n`, "GET http b /"],
    ["absolute-form, query only", `GET http://b?x HTTP/1.1\r\n${HOST}\r\n`, "GET http b /?x"],
    ["absolute-form with an empty Host", "GET http://b/ HTTP/1.1\r\nHost:\r\n\r\n", "GET http b /"],
    ["absolute-form of OPTIONS without a path", `OPTIONS http://b HTTP/1.1\r\n${HOST}\r\n`, "OPTIONS http b /"],
    ["absolute-form without Host", "GET http://b/ HTTP/1.1\r\n\r\n", "GET http b /"],
    ["absolute-form with userinfo, which goes no further", `GET http://u@b/ HTTP/1.1\r\n${HOST}\r\n`, "GET http b /"],
    ["empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", "GET http  /"],
    ["Host with userinfo", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", "GET http u@a /"],
    ["Host with a bad port", "GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", "GET http a:b /"],
    ["Host with a port beyond 65535", "GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n", "GET http a:65536 /"],
    ["Host with an open bracket", "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", "GET http [::1 /"],
    ["Host that is a port", "GET / HTTP/1.1\r\nHost: :80\r\n\r\n", "GET http :80 /"],
    ["fragment, which is for who looks at the path", `GET /a#b HTTP/1.1\r\n${HOST}\r\n`, "GET http a /a#b"],
    ["authority-form (§3.2.3)", `CONNECT b:443 HTTP/1.1\r\n${HOST}\r\n`, "CONNECT http b:443 "],
    ["authority-form, IPv6", `CONNECT [::1]:443 HTTP/1.1\r\n${HOST}\r\n`, "CONNECT http [::1]:443 "],
    ["asterisk-form (§3.2.4)", `OPTIONS * HTTP/1.1\r\n${HOST}\r\n`, "OPTIONS http a *"],
    ["path that begins with //", `GET //b/c HTTP/1.1\r\n${HOST}\r\n`, "GET http a //b/c"],
    ["target with octets a URI should not have", `GET /a\\b|"{}^ HTTP/1.1\r\n${HOST}\r\n`, 'GET http a /a\\b|"{}^'],
    ["one empty line before (§2.2)", `\r\nGET / HTTP/1.1\r\n${HOST}\r\n`, "GET http a /"],
    [
      "Host with IPv6 and port",
      "GET / HTTP/1.1\r\nhOST: [fe80::1%25eth0]:80\r\n\r\n",
      "GET http [fe80::1%25eth0]:80 /",
    ],
    ["Host with an empty port", "GET / HTTP/1.1\r\nHost: a:\r\n\r\n", "GET http a: /"],
    ["Host among white space (§5.1)", "GET / HTTP/1.1\r\nHost:\t a \t\r\n\r\n", "GET http a /"],
    ["HTTP/1.0 with Host", `GET / HTTP/1.0\r\n${HOST}\r\n`, "GET http a /", HTTP10],
    ["WebDAV method", `PROPFIND / HTTP/1.1\r\n${HOST}\r\n`, "PROPFIND http a /"],
    ["PATCH", `PATCH / HTTP/1.1\r\n${HOST}\r\n`, "PATCH http a /"],
    ["a head of exactly the limit", `GET / HTTP/1.1\r\n${HOST}x: ${"y".repeat(61_440 - 32)}\r\n\r\n`, "GET http a /"],
    ["100 fields", `GET / HTTP/1.1\r\n${HOST}${"x: y\r\n".repeat(99)}\r\n`, "GET http a /"],
  ];
  test.each(table)("%s", (...[_name, text, expected, options]) => {
    const { recorder, eof, used } = read(text, options);
    expect(recorder.error).toBeUndefined();
    const [head, ...more] = recorder.requests;
    expect(more).toEqual([]);
    expect(`${head!.method} ${head!.scheme} ${head!.authority} ${head!.path}`).toBe(expected);
    expect(eof).toBe("idle");
    expect(used + recorder.data).toBe(text.length);
  });

  const methods =
    "GET HEAD POST PUT DELETE CONNECT OPTIONS TRACE PATCH ACL BIND CHECKOUT COPY LINK LOCK MERGE MKACTIVITY " +
    "MKCALENDAR MKCOL MOVE MSEARCH NOTIFY PROPFIND PROPPATCH PURGE REBIND REPORT SEARCH SOURCE SUBSCRIBE UNBIND UNLINK " +
    "UNLOCK UNSUBSCRIBE";
  test.each(methods.split(" "))("method %s", (method) => {
    const target = method === "CONNECT" ? "a:1" : "/";
    expect(read(`${method} ${target} HTTP/1.1\r\n${HOST}\r\n`).recorder.requests.map((head) => head.method)).toEqual([
      method,
    ]);
  });
});

describe("requests that are refused", () => {
  const codec = "http1.codec_error";
  const table: [name: string, text: string, status: number, details: string, options?: RequestParserOptions][] = [
    // Request line, RFC 9112 §3
    ["unknown method BREW", `BREW / HTTP/1.1\r\n${HOST}\r\n`, 400, codec],
    ["unknown method M-SEARCH", `M-SEARCH / HTTP/1.1\r\n${HOST}\r\n`, 400, codec],
    ["method in lower case", `get / HTTP/1.1\r\n${HOST}\r\n`, 400, codec],
    ["HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, codec],
    ["TLS ClientHello", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, codec],
    ["two spaces after the method", `GET  / HTTP/1.1\r\n${HOST}\r\n`, 400, codec],
    ["two spaces before the version", `GET /  HTTP/1.1\r\n${HOST}\r\n`, 400, codec],
    ["tab after the method", `GET\t/ HTTP/1.1\r\n${HOST}\r\n`, 400, codec],
    ["tab before the version", `GET /\tHTTP/1.1\r\n${HOST}\r\n`, 400, "http1.invalid_url"],
    ["space behind the version", `GET / HTTP/1.1 \r\n${HOST}\r\n`, 400, codec],
    ["space before the method", ` GET / HTTP/1.1\r\n${HOST}\r\n`, 400, codec],
    ["no version (HTTP/0.9)", "GET /\r\n\r\n", 426, "low_version"],
    ["no target", `GET HTTP/1.1\r\n${HOST}\r\n`, 400, codec],
    ["HTTP/2.0", `GET / HTTP/2.0\r\n${HOST}\r\n`, 426, "low_version"],
    ["HTTP/1.2", `GET / HTTP/1.2\r\n${HOST}\r\n`, 426, "low_version"],
    ["HTTP/1.01", `GET / HTTP/1.01\r\n${HOST}\r\n`, 400, codec],
    ["HTTP/01.1", `GET / HTTP/01.1\r\n${HOST}\r\n`, 400, codec],
    ["version in lower case", `GET / http/1.1\r\n${HOST}\r\n`, 400, codec],
    ["two empty lines before", `\r\n\r\nGET / HTTP/1.1\r\n${HOST}\r\n`, 400, codec],
    ["lone LF before", `\nGET / HTTP/1.1\r\n${HOST}\r\n`, 400, codec],
    ["lone CR before", `\rGET / HTTP/1.1\r\n${HOST}\r\n`, 400, codec],
    // Targets, §3.2
    ["octet beyond ASCII in the target", `GET /\xe4 HTTP/1.1\r\n${HOST}\r\n`, 400, "http1.invalid_url"],
    ["NUL in the target", `GET /\0 HTTP/1.1\r\n${HOST}\r\n`, 400, "http1.invalid_url"],
    ["relative target", `GET a/b HTTP/1.1\r\n${HOST}\r\n`, 400, "http1.invalid_url"],
    ["* for GET", `GET * HTTP/1.1\r\n${HOST}\r\n`, 400, "http1.invalid_url"],
    ["authority-form for GET", `GET b:443 HTTP/1.1\r\n${HOST}\r\n`, 400, "http1.invalid_url"],
    ["foreign scheme", `GET ftp://b/ HTTP/1.1\r\n${HOST}\r\n`, 400, "http1.invalid_url"],
    ["absolute-form without a host", `GET http:///x HTTP/1.1\r\n${HOST}\r\n`, 400, "http1.invalid_url"],
    ["CONNECT without a port", `CONNECT b HTTP/1.1\r\n${HOST}\r\n`, 400, "http1.invalid_url"],
    ["CONNECT to a path", `CONNECT /x HTTP/1.1\r\n${HOST}\r\n`, 400, "http1.invalid_url"],
    // Host, §3.2
    ["no Host", "GET / HTTP/1.1\r\n\r\n", 400, "missing_host_header"],
    ["no Host in HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", 400, "missing_host_header", HTTP10],
    ["two Hosts", `GET / HTTP/1.1\r\n${HOST}${HOST}\r\n`, 400, "http.invalid_authority"],
    ["two Hosts in HTTP/1.0", `GET / HTTP/1.0\r\n${HOST}${HOST}\r\n`, 400, "http.invalid_authority", HTTP10],
    ["Host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, "http.invalid_authority"],
    ["Host with a space", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400, "http.invalid_authority"],
    // Field lines, §5
    ["obs-fold (§5.2)", `GET / HTTP/1.1\r\n${HOST}x: a\r\n b\r\n\r\n`, 400, codec],
    ["obs-fold of the first line", `GET / HTTP/1.1\r\n ${HOST}\r\n`, 400, codec],
    ["space before the colon (§5.1)", `GET / HTTP/1.1\r\n${HOST}x : a\r\n\r\n`, 400, codec],
    ["space in a name", `GET / HTTP/1.1\r\n${HOST}x y: a\r\n\r\n`, 400, codec],
    ["empty name", `GET / HTTP/1.1\r\n${HOST}: a\r\n\r\n`, 400, codec],
    ["line without colon", `GET / HTTP/1.1\r\n${HOST}abc\r\n\r\n`, 400, codec],
    ["name with an octet beyond ASCII", `GET / HTTP/1.1\r\n${HOST}\xe4: a\r\n\r\n`, 400, codec],
    ["name in brackets", `GET / HTTP/1.1\r\n${HOST}(x): a\r\n\r\n`, 400, codec],
    ["NUL in a name", `GET / HTTP/1.1\r\n${HOST}x\0: a\r\n\r\n`, 400, codec],
    ["NUL in a value", `GET / HTTP/1.1\r\n${HOST}x: a\0b\r\n\r\n`, 400, "http1.invalid_characters"],
    ["control character in a value", `GET / HTTP/1.1\r\n${HOST}x: a\x01b\r\n\r\n`, 400, "http1.invalid_characters"],
    ["DEL in a value", `GET / HTTP/1.1\r\n${HOST}x: a\x7fb\r\n\r\n`, 400, "http1.invalid_characters"],
    ["lone CR in a value (§2.2)", `GET / HTTP/1.1\r\n${HOST}x: a\rb\r\n\r\n`, 400, codec],
    ["lone LF in a value", `GET / HTTP/1.1\r\n${HOST}x: a\nb: c\r\n\r\n`, 400, codec],
    ["lone LF everywhere", "GET / HTTP/1.1\nHost: a\n\n", 400, codec],
    ["lone LF as the empty line", `GET / HTTP/1.1\r\n${HOST}\n`, 400, codec],
    ["CR CR LF", `GET / HTTP/1.1\r\n${HOST}\r\r\n`, 400, codec],
    // Framing, §6
    [
      "CL and TE (§6.3)",
      `${POST}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n`,
      400,
      "http1.content_length_and_chunked_not_allowed",
    ],
    [
      "TE and CL",
      `${POST}Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n`,
      400,
      "http1.content_length_and_chunked_not_allowed",
    ],
    ["two equal CL", `${POST}Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc`, 400, codec],
    ["two different CL", `${POST}Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc`, 400, codec],
    ["CL as a list", `${POST}Content-Length: 3, 3\r\n\r\nabc`, 400, codec],
    ["CL with a sign", `${POST}Content-Length: +3\r\n\r\nabc`, 400, codec],
    ["negative CL", `${POST}Content-Length: -3\r\n\r\nabc`, 400, codec],
    ["hexadecimal CL", `${POST}Content-Length: 0x3\r\n\r\nabc`, 400, codec],
    ["empty CL", `${POST}Content-Length:\r\n\r\nabc`, 400, codec],
    ["CL with a space inside", `${POST}Content-Length: 3 3\r\n\r\nabc`, 400, codec],
    ["CL beyond 2^53", `${POST}Content-Length: 99999999999999999999\r\n\r\n`, 400, codec],
    ["bad CL of GET", `GET / HTTP/1.1\r\n${HOST}Content-Length: x\r\n\r\n`, 400, codec],
    ["TE: gzip", `${POST}Transfer-Encoding: gzip\r\n\r\n`, 501, "http1.invalid_transfer_encoding"],
    ["TE: gzip, chunked", `${POST}Transfer-Encoding: gzip, chunked\r\n\r\n`, 501, "http1.invalid_transfer_encoding"],
    [
      "TE: chunked, chunked",
      `${POST}Transfer-Encoding: chunked, chunked\r\n\r\n`,
      501,
      "http1.invalid_transfer_encoding",
    ],
    [
      "TE: chunked twice",
      `${POST}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n`,
      501,
      "http1.invalid_transfer_encoding",
    ],
    ["TE: identity", `${POST}Transfer-Encoding: identity\r\n\r\n`, 501, "http1.invalid_transfer_encoding"],
    ["TE: xchunked", `${POST}Transfer-Encoding: xchunked\r\n\r\n`, 501, "http1.invalid_transfer_encoding"],
    ["TE: chunked;x", `${POST}Transfer-Encoding: chunked;x\r\n\r\n`, 501, "http1.invalid_transfer_encoding"],
    ["TE with \\v before", `${POST}Transfer-Encoding: \x0bchunked\r\n\r\n`, 400, "http1.invalid_characters"],
    ["empty TE", `${POST}Transfer-Encoding:\r\n\r\n`, 501, "http1.invalid_transfer_encoding"],
    [
      "TE in HTTP/1.0 (§6.1)",
      `POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n`,
      400,
      "http1.invalid_transfer_encoding",
      HTTP10,
    ],
    ["CONNECT with content", `CONNECT a:1 HTTP/1.1\r\n${HOST}Content-Length: 1\r\n\r\nx`, 400, "http1.body_disallowed"],
    [
      "CONNECT with chunks",
      `CONNECT a:1 HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n`,
      400,
      "http1.body_disallowed",
    ],
    // Connection, RFC 9110 §7.6.1
    [
      "Connection names Host",
      `GET / HTTP/1.1\r\n${HOST}Connection: host\r\n\r\n`,
      400,
      "http1.connection_header_rejected",
    ],
    [
      "Connection names X-Forwarded-For",
      `GET / HTTP/1.1\r\n${HOST}Connection: close, X-Forwarded-For\r\n\r\n`,
      400,
      "http1.connection_header_rejected",
    ],
    [
      "Connection names Authorization",
      `GET / HTTP/1.1\r\n${HOST}Connection: authorization\r\n\r\n`,
      400,
      "http1.connection_header_rejected",
    ],
    [
      "Connection names a pseudo-field",
      `GET / HTTP/1.1\r\n${HOST}Connection: :path\r\n\r\n`,
      400,
      "http1.connection_header_rejected",
    ],
    [
      "Connection names eleven fields",
      `GET / HTTP/1.1\r\n${HOST}Connection: ${Array.from("abcdefghijk").join()}\r\n\r\n`,
      400,
      "http1.connection_header_rejected",
    ],
    // Versions and limits
    ["HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", 426, "low_version"],
    [
      "a head beyond the limit",
      `GET / HTTP/1.1\r\n${HOST}x: ${"y".repeat(61_440 - 31)}\r\n\r\n`,
      431,
      "http1.headers_too_large",
    ],
    ["a head without end", `GET / HTTP/1.1\r\n${HOST}x: ${"y".repeat(70_000)}`, 431, "http1.headers_too_large"],
    ["a path beyond the limit", `GET /${"y".repeat(70_000)}`, 431, "http1.headers_too_large"],
    ["101 fields", `GET / HTTP/1.1\r\n${HOST}${"x: y\r\n".repeat(100)}\r\n`, 431, "http1.too_many_headers"],
    // Chunks, RFC 9112 §7.1
    ["chunk size that is no number", `${CHUNKED}x\r\n`, 400, codec],
    ["empty chunk size", `${CHUNKED}\r\n`, 400, codec],
    ["chunk size with 0x", `${CHUNKED}0x5\r\nhello\r\n`, 400, codec],
    ["chunk size with a sign", `${CHUNKED}+5\r\nhello\r\n`, 400, codec],
    ["chunk size with a space before", `${CHUNKED} 5\r\nhello\r\n`, 400, codec],
    ["chunk size with a space behind", `${CHUNKED}5 \r\nhello\r\n`, 400, codec],
    ["chunk size with an underscore", `${CHUNKED}1_0\r\n`, 400, codec],
    ["chunk size beyond 2^53", `${CHUNKED}fffffffffffffff\r\n`, 400, codec],
    ["chunk size of 17 digits", `${CHUNKED}00000000000000005\r\n`, 400, codec],
    ["chunk size ended by LF", `${CHUNKED}5\nhello\r\n`, 400, codec],
    ["chunk size ended by CR", `${CHUNKED}5\rhello\r\n`, 400, codec],
    ["chunk longer than its size", `${CHUNKED}5\r\nhello!\r\n`, 400, codec],
    ["chunk ended by LF", `${CHUNKED}5\r\nhello\n0\r\n\r\n`, 400, codec],
    ["chunk ended by CR", `${CHUNKED}5\r\nhello\r0\r\n\r\n`, 400, codec],
    ["chunk shorter than its size", `${CHUNKED}6\r\nhello\r\n0\r\n\r\n`, 400, codec],
    ["LF in a chunk extension", `${CHUNKED}5;a\nb\r\nhello\r\n`, 400, codec],
    ["malformed chunk extension", `${CHUNKED}5;a b\r\nhello\r\n`, 400, codec],
    ["empty chunk extension", `${CHUNKED}5;\r\nhello\r\n`, 400, codec],
    ["white space in a chunk extension", `${CHUNKED}5; a\r\nhello\r\n`, 400, codec],
    ["open quote in a chunk extension", `${CHUNKED}5;a="b\r\nhello\r\n`, 400, codec],
    ["chunk extensions beyond the limit", `${CHUNKED}5;${"a".repeat(17 << 10)}\r\nhello\r\n`, 400, codec],
    [
      "chunk extensions beyond the limit, in many chunks",
      CHUNKED + `1;${"a".repeat(1000)}\r\nx\r\n`.repeat(20),
      400,
      codec,
    ],
    ["malformed trailer", `${CHUNKED}0\r\nx y: z\r\n\r\n`, 400, codec],
    ["folded trailer", `${CHUNKED}0\r\nx: y\r\n z\r\n\r\n`, 400, codec],
    ["Content-Length in trailers", `${CHUNKED}0\r\nContent-Length: 9\r\n\r\n`, 400, codec],
    ["Transfer-Encoding in trailers", `${CHUNKED}0\r\nTransfer-Encoding: chunked\r\n\r\n`, 400, codec],
    ["lone LF in trailers", `${CHUNKED}0\r\nx: y\n\r\n`, 400, codec],
    ["lone LF behind the last chunk", `${CHUNKED}0\r\n\n`, 400, codec],
    ["trailers beyond the limit", `${CHUNKED}0\r\nx: ${"y".repeat(70_000)}\r\n\r\n`, 431, "http1.headers_too_large"],
    ["101 trailers", `${CHUNKED}0\r\n${"x: y\r\n".repeat(101)}\r\n`, 431, "http1.too_many_headers"],
  ];
  test.each(table)("%s", (...[_name, text, status, details, options]) => {
    const { recorder, used } = read(text, options);
    expect(recorder.error).toMatchObject({ status, details });
    expect(recorder.error!.problem).not.toBe("");
    expect(recorder.events.filter((event) => event.kind === "end")).toEqual([]);
    // Nothing of what follows an error is read, and all of it is accounted for.
    expect(used + recorder.data).toBe(text.length);
    // And it is refused alike however it comes.
    if (text.length < 1000) {
      const bytes = octets(text);
      const slowly = readRequests(splitAt(bytes, bytes.length < 2 ? [] : [...bytes.keys()].slice(1)), options);
      expect(slowly.recorder.events).toEqual(recorder.events);
    }
  });

  test("texts are Envoy's", () => {
    expect(read("GET / HTTP/1.0\r\n\r\n").recorder.error!.text).toBe("Upgrade Required");
    expect(read("x\r\n\r\n").recorder.error!.text).toBe("Bad Request");
  });

  test("the head comes with an error about its meaning, and not with one about its form", () => {
    expect(read("GET /p HTTP/1.0\r\nHost: h\r\n\r\n").recorder.error!.head).toMatchObject({
      path: "/p",
      authority: "h",
    });
    expect(read("GET /p HTTP/1.1\r\nHost : h\r\n\r\n").recorder.error!.head).toBeUndefined();
  });
});

describe("fields", () => {
  function fields(lines: string, options: RequestParserOptions = {}) {
    const { recorder } = read(`GET / HTTP/1.1\r\n${HOST}${lines}\r\n`, options);
    expect(recorder.error).toBeUndefined();
    return recorder.requests[0]!;
  }

  test("names in lower case, values as octets, order of the wire, Host apart", () => {
    expect(fields("X-B: 1\r\nx-A:2\r\nX-b: \xe4 \xf6\t.\r\nempty:\r\n").fields).toEqual([
      ["x-b", "1"],
      ["x-a", "2"],
      ["x-b", "\xe4 \xf6\t."],
      ["empty", ""],
    ]);
  });

  test("original names where asked for", () => {
    const head = fields("X-CamelCase: 1\r\nlower: 2\r\n", { keepCase: true });
    expect([...head.originalNames!]).toEqual([["host", "Host"], ["x-camelcase", "X-CamelCase"], ["lower", "lower"]]);
    expect(fields("X-CamelCase: 1\r\n").originalNames).toBeUndefined();
  });

  test("hop-by-hop fields, and those that Connection names, go (RFC 9110 §7.6.1)", () => {
    const head = fields(
      "Connection: Keep-Alive, X-Hop\r\nKeep-Alive: 5\r\nProxy-Connection: close\r\nX-Hop: 1\r\nx: 2\r\n" +
        "connection: ,y\r\ny: 3\r\nHTTP2-Settings: AAAA\r\n",
    );
    expect(head.fields).toEqual([["x", "2"]]);
  });

  test("Connection with what is no token: nothing can have that name", () => {
    expect(fields("Connection: keep-alive;x, a b, y\r\ny: 1\r\nz: 2\r\n").fields).toEqual([["z", "2"]]);
  });

  test.each<[string, [string, string][]]>([
    ["trailers", [["te", "trailers"]]],
    ["gzip, Trailers;q=0.5", []],
    ["deflate, trailers", [["te", "trailers"]]],
    ["gzip", []],
  ])("TE: %s", (value, expected) => {
    expect(fields(`Connection: TE\r\nTE: ${value}\r\n`).fields).toEqual(expected);
  });

  test.each<[name: string, lines: string, upgrade: string | undefined]>([
    ["WebSocket", "Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n", "websocket"],
    ["without the connection option", "Upgrade: websocket\r\n", undefined],
    [
      "h2c is stripped",
      "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
      undefined,
    ],
    ["h2c beside another", "Connection: upgrade\r\nUpgrade: h2c, foo/1\r\n", "h2c, foo/1"],
    ["with content it is none", "Connection: upgrade\r\nUpgrade: foo\r\nContent-Length: 1\r\n", undefined],
  ])("upgrade: %s", (_name, lines, upgrade) => {
    const head = fields(lines);
    expect(head.upgrade).toBe(upgrade);
    expect(head.fields.some(([name]) => name === "upgrade" || name === "http2-settings" || name === "connection")).toBe(
      false,
    );
  });

  test("HTTP/1.0 has neither upgrades nor 100-continue", () => {
    const text =
      "GET / HTTP/1.0\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nExpect: 100-continue\r\n\r\n";
    expect(read(text, HTTP10).recorder.requests[0]).toMatchObject({ upgrade: undefined, expectContinue: false });
  });

  test("Expect", () => {
    expect(fields("Expect: 100-Continue\r\n")).toMatchObject({
      expectContinue: true,
      fields: [["expect", "100-Continue"]],
    });
    expect(fields("Expect: other\r\n").expectContinue).toBe(false);
  });

  test("size on the wire", () => {
    expect(fields("").wireBytes).toBe(`GET / HTTP/1.1\r\n${HOST}\r\n`.length);
  });
});

describe("keep-alive (RFC 9112 §9.3)", () => {
  test.each<[version: string, connection: string | undefined, expected: boolean]>([
    ["1.1", undefined, true],
    ["1.1", "keep-alive", true],
    ["1.1", "close", false],
    ["1.1", "Close", false],
    ["1.1", "keep-alive, close", false],
    ["1.1", "foo", true],
    ["1.0", undefined, false],
    ["1.0", "keep-alive", true],
    ["1.0", "Keep-Alive", true],
    ["1.0", "keep-alive, close", false],
  ])("HTTP/%s, Connection: %s", (version, connection, expected) => {
    const line = connection === undefined ? "" : `Connection: ${connection}\r\n`;
    const { recorder } = read(`GET / HTTP/${version}\r\n${HOST}${line}\r\n`, HTTP10);
    const first = recorder.events[0]!;
    expect(first.kind === "request" && first.framing.keepAlive).toBe(expected);
  });
});

describe("content", () => {
  const table: [name: string, text: string, content: string, trailers: [string, string][]][] = [
    ["by length", `${POST}Content-Length: 5\r\n\r\nhello`, "hello", []],
    ["of length 0", `${POST}Content-Length: 0\r\n\r\n`, "", []],
    ["of length 005", `${POST}Content-Length: 005\r\n\r\nhello`, "hello", []],
    ["of GET", `GET / HTTP/1.1\r\n${HOST}Content-Length: 2\r\n\r\nhi`, "hi", []],
    ["in chunks", `${CHUNKED}5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n`, "hello!", []],
    ["in no chunks", `${CHUNKED}0\r\n\r\n`, "", []],
    ["in chunks, size with zeros and capitals", `${CHUNKED}000A\r\n0123456789\r\n00\r\n\r\n`, "0123456789", []],
    ["TE: Chunked (RFC 9112 §7)", `${POST}Transfer-Encoding: Chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n`, "x", []],
    ["chunk extensions", `${CHUNKED}5;a=b;c="d;\\"e";f\r\nhello\r\n0;g\r\n\r\n`, "hello", []],
    ["chunks that look like ends", `${CHUNKED}7\r\n0\r\n\r\n\r\n\r\n0\r\n\r\n`, "0\r\n\r\n\r\n", []],
    ["trailers", `${CHUNKED}1\r\nx\r\n0\r\nX-Sum: 1\r\nY: 2\r\n\r\n`, "x", [["x-sum", "1"], ["y", "2"]]],
    [
      "trailers that may not come late (RFC 9110 §6.5.1)",
      `${CHUNKED}0\r\nHost: b\r\nAuthorization: x\r\nOk: 1\r\n` +
      "X-Forwarded-For: 1.1.1.1\r\nConnection: close\r\n\r\n",
      "",
      [["ok", "1"]],
    ],
    ["only such trailers", `${CHUNKED}0\r\nHost: b\r\n\r\n`, "", []],
  ];
  test.each(table)("%s", (_name, text, content, trailers) => {
    const { recorder, eof, used } = read(text);
    expect(recorder.error).toBeUndefined();
    expect(recorder.content).toBe(content);
    expect(recorder.events.flatMap((event) => event.kind === "trailers" ? event.fields : [])).toEqual(trailers);
    expect(recorder.events.at(-1)!.kind).toBe("end");
    expect(eof).toBe("idle");
    expect(used + recorder.data).toBe(text.length);
  });

  test.each([
    ["in a head", "GET / HT"],
    ["in an empty line before", "\r"],
    ["in content by length", `${POST}Content-Length: 5\r\n\r\nhell`],
    ["in a chunk", `${CHUNKED}5\r\nhell`],
    ["before the last chunk", `${CHUNKED}5\r\nhello\r\n`],
    ["in trailers", `${CHUNKED}0\r\nx: y\r\n`],
  ])("a connection that ends %s", (_name, text) => {
    expect(read(text).eof).toBe("truncated");
  });

  test("content is a view of what was received, not a copy", () => {
    const bytes = octets(`${POST}Content-Length: 5\r\n\r\nhello`);
    const recorder = new Recorder();
    const views: Uint8Array[] = [];
    recorder.onData = (chunk) => views.push(chunk);
    new RequestParser({}, recorder).receive(bytes);
    expect(views.map((view) => [view.buffer === bytes.buffer, view.length])).toEqual([[true, 5]]);
  });
});
