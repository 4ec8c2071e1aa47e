import { Buffer } from "node:buffer";
import { describe, expect, test } from "bun:test";
import type { RequestHead, ResponseHead } from "../../src/http/message.ts";
import {
  CHUNK_TAIL,
  type ConnectionOption,
  encodeChunkHead,
  EncodeError,
  encodeLastChunk,
  encodeRequestHead,
  encodeResponseHead,
  requestBody,
  responseBody,
  type SentBody,
} from "../../src/http1/mod.ts";
import type { HeaderList } from "../../src/http2/mod.ts";
import { Random } from "../http2/random.ts";
import { readRequests, readResponses } from "./recorder.ts";

function request(parts: Partial<RequestHead>): RequestHead {
  return {
    method: "GET",
    scheme: "http",
    authority: "a",
    path: "/",
    protocol: "HTTP/2",
    fields: [],
    upgrade: undefined,
    expectContinue: false,
    wireBytes: 0,
    ...parts,
  };
}

function response(parts: Partial<ResponseHead>): ResponseHead {
  return { status: 200, fields: [], protocol: "HTTP/2", upgrade: undefined, wireBytes: 0, ...parts };
}

function text(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("latin1");
}

describe("request heads", () => {
  const table: [name: string, head: Partial<RequestHead>, body: SentBody, expected: string][] = [
    ["the least", {}, "none", "GET / HTTP/1.1\r\nhost: a\r\n\r\n"],
    ["fields", { fields: [["x", "1"], ["x", "\xe4"]] }, "none", "GET / HTTP/1.1\r\nhost: a\r\nx: 1\r\nx: \xe4\r\n\r\n"],
    ["CONNECT", { method: "CONNECT", path: "", authority: "b:1" }, "raw", "CONNECT b:1 HTTP/1.1\r\nhost: b:1\r\n\r\n"],
    ["OPTIONS *", { method: "OPTIONS", path: "*" }, "none", "OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n"],
    [
      "chunks in place of a length",
      { method: "POST", fields: [["content-length", "5"]] },
      "chunked",
      "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n",
    ],
    [
      "length",
      { method: "POST", fields: [["content-length", "5"]] },
      "length",
      "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\n",
    ],
    [
      "empty in place of a length",
      { method: "POST", fields: [["content-length", "5"]] },
      "empty",
      "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n",
    ],
    [
      "upgrade and TE",
      { upgrade: "websocket", fields: [["te", "trailers"]] },
      "raw",
      "GET / HTTP/1.1\r\nhost: a\r\nte: trailers\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
    ],
    [
      "an upgrade in the words of the client",
      { upgrade: "websocket", upgradeFields: { connection: "keep-alive, Upgrade", upgrade: "WebSocket" } },
      "raw",
      "GET / HTTP/1.1\r\nhost: a\r\nupgrade: WebSocket\r\nconnection: keep-alive, Upgrade\r\n\r\n",
    ],
    [
      "what is this hop's own is not taken from the fields",
      {
        fields: [
          ["host", "evil"],
          ["connection", "x"],
          ["transfer-encoding", "gzip"],
          ["keep-alive", "1"],
          ["proxy-connection", "x"],
          ["upgrade", "x"],
          ["ok", "1"],
        ],
      },
      "none",
      "GET / HTTP/1.1\r\nhost: a\r\nok: 1\r\n\r\n",
    ],
    [
      "case of names",
      {
        fields: [["x-camel", "1"], ["added", "2"]],
        originalNames: new Map([["x-camel", "X-Camel"], ["host", "Host"]]),
      },
      "none",
      "GET / HTTP/1.1\r\nHost: a\r\nX-Camel: 1\r\nadded: 2\r\n\r\n",
    ],
  ];
  test.each(table)("%s", (_name, head, body, expected) => {
    expect(text(encodeRequestHead(request(head), body, false))).toBe(expected);
  });

  test("close", () => {
    expect(text(encodeRequestHead(request({}), "none", true))).toBe(
      "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    );
  });
});

describe("response heads", () => {
  const table: [
    name: string,
    head: Partial<ResponseHead>,
    body: SentBody,
    option: ConnectionOption,
    http10: boolean,
    expected: string,
  ][] = [
    ["empty", {}, "empty", "", false, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"],
    ["no name", { status: 299 }, "empty", "", false, "HTTP/1.1 299 Unknown\r\ncontent-length: 0\r\n\r\n"],
    ["chunks", {}, "chunked", "", false, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"],
    ["close", {}, "empty", "close", false, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"],
    ["to the end", {}, "close", "", true, "HTTP/1.0 200 OK\r\nconnection: close\r\n\r\n"],
    ["to the end is the end", {}, "close", "keep-alive", true, "HTTP/1.0 200 OK\r\nconnection: close\r\n\r\n"],
    [
      "HTTP/1.0 that stays",
      { fields: [["content-length", "1"]] },
      "length",
      "keep-alive",
      true,
      "HTTP/1.0 200 OK\r\ncontent-length: 1\r\nconnection: keep-alive\r\n\r\n",
    ],
    [
      "length of what HEAD does not send",
      { fields: [["content-length", "9"]] },
      "none",
      "",
      false,
      "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n",
    ],
    [
      "204 has no length",
      { status: 204, fields: [["content-length", "0"]] },
      "none",
      "",
      false,
      "HTTP/1.1 204 No Content\r\n\r\n",
    ],
    ["100", { status: 100 }, "none", "", false, "HTTP/1.1 100 Continue\r\n\r\n"],
    [
      "101",
      { status: 101, upgrade: "websocket", fields: [["sec-websocket-accept", "x"]] },
      "raw",
      "",
      false,
      "HTTP/1.1 101 Switching Protocols\r\nsec-websocket-accept: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
    ],
  ];
  test.each(table)("%s", (_name, head, body, option, http10, expected) => {
    expect(text(encodeResponseHead(response(head), body, option, http10))).toBe(expected);
  });
});

describe("chunks", () => {
  test("heads, tail and end", () => {
    expect(text(encodeChunkHead(1))).toBe("1\r\n");
    expect(text(encodeChunkHead(0x1f00))).toBe("1f00\r\n");
    expect(text(CHUNK_TAIL)).toBe("\r\n");
    expect(text(encodeLastChunk())).toBe("0\r\n\r\n");
    expect(text(encodeLastChunk([]))).toBe("0\r\n\r\n");
    expect(text(encodeLastChunk([["grpc-status", "0"], ["x", "y"]]))).toBe("0\r\ngrpc-status: 0\r\nx: y\r\n\r\n");
    expect(text(encodeLastChunk([["x-a", "y"]], new Map([["x-a", "X-A"]])))).toBe("0\r\nX-A: y\r\n\r\n");
    expect(text(encodeLastChunk([["content-length", "1"], ["transfer-encoding", "x"]]))).toBe("0\r\n\r\n");
    // HTTP/2 lets these come late; a reader of HTTP/1 might merge them into the head.
    const late: HeaderList = [["x-forwarded-for", "1.1.1.1"], ["authorization", "x"], ["cookie", "y"], ["x-sum", "1"]];
    expect(text(encodeLastChunk(late))).toBe("0\r\nx-sum: 1\r\n\r\n");
    expect(late.length).toBe(4);
  });

  test("an empty chunk is refused", () => {
    expect(() => encodeChunkHead(0)).toThrow(EncodeError);
  });
});

describe("injection is refused", () => {
  const bad = ["a\r\nb: c", "a\nb: c", "a\rb", "a\0b", "\u010a", "\u020d\u030a"];
  const places: [name: string, encode: (evil: string) => unknown][] = [
    ["value of a request", (evil) => encodeRequestHead(request({ fields: [["x", evil]] }), "none", false)],
    ["name in a request", (evil) => encodeRequestHead(request({ fields: [[evil, "x"]] }), "none", false)],
    ["path", (evil) => encodeRequestHead(request({ path: `/${evil}` }), "none", false)],
    ["method", (evil) => encodeRequestHead(request({ method: evil }), "none", false)],
    ["authority", (evil) => encodeRequestHead(request({ authority: evil }), "none", false)],
    ["upgrade", (evil) => encodeRequestHead(request({ upgrade: evil }), "raw", false)],
    [
      "original name",
      (evil) =>
        encodeRequestHead(request({ fields: [["x", "y"]], originalNames: new Map([["x", evil]]) }), "none", false),
    ],
    ["value of a response", (evil) => encodeResponseHead(response({ fields: [["x", evil]] }), "empty", "")],
    ["name in a response", (evil) => encodeResponseHead(response({ fields: [[evil, "x"]] }), "empty", "")],
    ["protocol of 101", (evil) => encodeResponseHead(response({ status: 101, upgrade: evil }), "raw", "")],
    ["trailer", (evil) => encodeLastChunk([["x", evil]])],
  ];
  test.each(places)("%s", (_name, encode) => {
    for (const evil of bad) expect(() => encode(evil)).toThrow(EncodeError);
  });

  test("spaces and nothing in a request line", () => {
    expect(() => encodeRequestHead(request({ path: "/ HTTP/1.1" }), "none", false)).toThrow(EncodeError);
    expect(() => encodeRequestHead(request({ path: "" }), "none", false)).toThrow(EncodeError);
    expect(() => encodeRequestHead(request({ method: "GET /x" }), "none", false)).toThrow(EncodeError);
  });

  test("a head that cannot be", () => {
    expect(() => encodeResponseHead(response({}), "chunked", "", true)).toThrow(EncodeError);
    expect(() => encodeResponseHead(response({ status: 101 }), "raw", "")).toThrow(EncodeError);
  });

  test("an error leaves the next head alone", () => {
    expect(() => encodeRequestHead(request({ path: "/\n" }), "none", false)).toThrow(EncodeError);
    expect(text(encodeRequestHead(request({}), "none", false))).toBe("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
  });
});

describe("framing", () => {
  const length: HeaderList = [["content-length", "5"]];
  test.each<[name: string, head: Partial<RequestHead>, endStream: boolean, expected: SentBody]>([
    ["GET", {}, true, "none"],
    ["POST without content", { method: "POST" }, true, "empty"],
    ["POST whose content never came", { method: "POST", fields: length }, true, "empty"],
    ["content of unknown length", { method: "POST" }, false, "chunked"],
    ["content of GET", {}, false, "chunked"],
    ["content of known length", { method: "POST", fields: length }, false, "length"],
    ["CONNECT", { method: "CONNECT" }, false, "raw"],
    ["upgrade", { upgrade: "websocket" }, false, "raw"],
  ])("request: %s", (_name, head, endStream, expected) => {
    expect(requestBody(request(head), endStream)).toBe(expected);
  });

  test.each<[name: string, args: Parameters<typeof responseBody>, expected: SentBody]>([
    ["no content", [200, [], "GET", false, true], "empty"],
    ["no content, but a length", [200, length, "GET", false, true], "empty"],
    ["known length", [200, length, "GET", false, false], "length"],
    ["unknown length", [200, [], "GET", false, false], "chunked"],
    ["unknown length, HTTP/1.0", [200, [], "GET", true, false], "close"],
    ["HEAD", [200, length, "HEAD", false, true], "none"],
    ["204", [204, [], "GET", false, true], "none"],
    ["304", [304, length, "GET", false, true], "none"],
    ["100", [100, [], "GET", false, false], "none"],
    ["101", [101, [], "GET", false, false], "raw"],
    ["2xx to CONNECT", [200, [], "CONNECT", false, false], "raw"],
    ["403 to CONNECT", [403, [], "CONNECT", false, true], "empty"],
  ])("response: %s", (_name, args, expected) => {
    expect(responseBody(...args)).toBe(expected);
  });
});

describe("what is encoded is read back", () => {
  const TCHARS = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz";
  const VALUES = `${TCHARS}ABC \t"(),/:;<=>?@[\\]{}\x80\xa0\xff`;

  function word(random: Random, from: string, least: number, most: number): string {
    let made = "";
    for (let left = least + random.below(most - least + 1); left > 0; left--) made += from[random.below(from.length)]!;
    return made;
  }

  function fields(random: Random): HeaderList {
    return Array.from({ length: random.below(20) }, (): [string, string] => [
      `x${word(random, TCHARS, 0, 12)}`,
      word(random, VALUES, 0, 40).trim(),
    ]);
  }

  /** Content in random chunks, and its framing. */
  function message(random: Random, head: Uint8Array, body: SentBody, content: Buffer, trailers: HeaderList): Buffer {
    if (body !== "chunked") return Buffer.concat([head, content]);
    const pieces: Uint8Array[] = [head];
    for (let at = 0; at < content.length;) {
      const piece = content.subarray(at, at + 1 + random.below(300));
      pieces.push(encodeChunkHead(piece.length), piece, CHUNK_TAIL);
      at += piece.length;
    }
    return Buffer.concat([...pieces, encodeLastChunk(trailers)]);
  }

  function pieces(random: Random, bytes: Buffer): Uint8Array[] {
    const made: Uint8Array[] = [];
    for (let at = 0; at < bytes.length;) {
      const to = Math.min(bytes.length, at + 1 + random.below(200));
      made.push(bytes.subarray(at, to));
      at = to;
    }
    return made;
  }

  test("requests", () => {
    for (let seed = 1; seed <= 500; seed++) {
      const random = new Random(seed);
      const content = Buffer.from(random.bytes(random.below(2000)));
      const sized = random.chance(50);
      const list = fields(random);
      if (sized && content.length > 0) list.push(["content-length", String(content.length)]);
      const trailers = fields(random);
      const head = request({
        method: random.pick(["GET", "POST", "PUT", "DELETE", "PROPFIND"]),
        authority: random.pick(["a", "example.com:8080", "[::1]:1"]),
        path: `/${word(random, TCHARS.replace("#", ""), 0, 30)}`,
        fields: list,
      });
      const body = requestBody(head, content.length === 0);
      const bytes = message(random, encodeRequestHead(head, body, random.chance(50)), body, content, trailers);
      const { recorder, eof } = readRequests(pieces(random, bytes));
      expect(recorder.error).toBeUndefined();
      expect(eof).toBe("idle");
      const [read] = recorder.requests;
      const expected = body === "empty" ? [...list, ["content-length", "0"]] : list;
      expect([read!.method, read!.authority, read!.path]).toEqual([head.method, head.authority, head.path]);
      expect(read!.fields as unknown).toEqual(expected);
      expect(recorder.content).toBe(content.toString("latin1"));
      const late = recorder.events.flatMap((event) => event.kind === "trailers" ? event.fields : []);
      expect(late).toEqual(body === "chunked" ? trailers : []);
    }
  });

  test("responses", () => {
    for (let seed = 1; seed <= 500; seed++) {
      const random = new Random(seed);
      const content = Buffer.from(random.bytes(random.below(2000)));
      const list = fields(random);
      if (random.chance(50) && content.length > 0) list.push(["content-length", String(content.length)]);
      const head = response({ status: random.pick([200, 201, 404, 500, 599]), fields: list });
      const http10 = random.chance(30);
      const body = responseBody(head.status, list, "GET", http10, content.length === 0);
      const trailers = fields(random);
      const bytes = message(random, encodeResponseHead(head, body, "", http10), body, content, trailers);
      const { recorder, eof } = readResponses(pieces(random, bytes));
      expect(recorder.error).toBeUndefined();
      expect(eof).toBe(body === "close" ? "complete" : "idle");
      const first = recorder.events[0]!;
      const expected = body === "empty" ? [...list, ["content-length", "0"]] : list;
      expect(first.kind === "response" && [first.head.status, first.head.fields] as unknown).toEqual([
        head.status,
        expected,
      ]);
      expect(recorder.content).toBe(content.toString("latin1"));
      const late = recorder.events.flatMap((event) => event.kind === "trailers" ? event.fields : []);
      expect(late).toEqual(body === "chunked" ? trailers : []);
    }
  });
});
