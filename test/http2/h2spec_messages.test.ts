/** h2spec's sections http2/8 and hpack, case by case. */
import { FrameType } from "../../src/http2/frames.ts";
import { type Case, caseTable, connectionError, streamError } from "./h2spec_case.ts";
import { data, frame, GET, headers, join, literals, POST, uint32 } from "./wire.ts";

type Fields = [name: string, value: string][];
const malformed = streamError(1, "PROTOCOL_ERROR");
const without = (name: string): Fields => GET.filter((field) => field[0] !== name);
const request = (...fields: Fields) => headers(1, 5, ...fields);
const base = literals(...GET);
const block = (...parts: (Uint8Array | readonly number[])[]) => frame(FrameType.HEADERS, 5, 1, join(...parts));

const messages: Case[] = [
  [
    "http2/8.1/1",
    "second HEADERS without END_STREAM",
    [headers(1, 4, ...POST), headers(1, 4, ["x-test", "ok"])],
    malformed,
  ],
  ["http2/8.1.2/1", "field name in upper case", request(...GET, ["X-TEST", "ok"]), malformed],
  ["http2/8.1.2.1/1", "unknown pseudo-header field", request([":test", "ok"], ...GET), malformed],
  ["http2/8.1.2.1/2", "pseudo-header field of responses", request(...GET, [":status", "200"]), malformed],
  ["http2/8.1.2.1/3", "pseudo-header field in trailers", [
    headers(1, 4, ...POST),
    data(1, 0, "test"),
    headers(1, 5, [":method", "200"]),
  ], malformed],
  [
    "http2/8.1.2.1/4",
    "pseudo-header field after a regular one",
    request(...without(":path"), ["x-test", "ok"], [":path", "/"]),
    malformed,
  ],
  ["http2/8.1.2.2/1", "connection-specific field", request(...GET, ["connection", "keep-alive"]), malformed],
  [
    "http2/8.1.2.2/2",
    "te other than trailers",
    request(...GET, ["trailers", "test"], ["te", "trailers, deflate"]),
    malformed,
  ],
  ["http2/8.1.2.3/1", "empty :path", request(...without(":path"), [":path", ""]), malformed],
  ["http2/8.1.2.3/2", "no :method", request(...without(":method")), malformed],
  ["http2/8.1.2.3/3", "no :scheme", request(...without(":scheme")), malformed],
  ["http2/8.1.2.3/4", "no :path", request(...without(":path")), malformed],
  ["http2/8.1.2.3/5", ":method twice", request(...GET, [":method", "POST"]), malformed],
  ["http2/8.1.2.3/6", ":scheme twice", request(...GET, [":scheme", "https"]), malformed],
  ["http2/8.1.2.3/7", ":path twice", request(...GET, [":path", "/"]), malformed],
  ["http2/8.1.2.6/1", "content-length unlike the payload", [
    headers(1, 4, ...POST, ["content-length", "1"]),
    data(1, 1, "test"),
  ], malformed],
  ["http2/8.1.2.6/2", "content-length unlike the sum of payloads", [
    headers(1, 4, ...POST, ["content-length", "1"]),
    data(1, 0, "t"),
    data(1, 1, "est"),
  ], malformed],
  [
    "http2/8.2/1",
    "PUSH_PROMISE",
    frame(FrameType.PUSH_PROMISE, 4, 1, join(uint32(3), base)),
    connectionError("PROTOCOL_ERROR"),
  ],
];

const compression = connectionError("COMPRESSION_ERROR");
const hpack: Case[] = [
  ["hpack/2.3.3/1", "invalid index", block([0xc6], base), compression],
  ["hpack/4.2/1", "table size update at the end of a block", block(base, [0x20]), compression],
  [
    "hpack/5.2/1",
    "Huffman padding longer than 7 bits",
    block(base, Uint8Array.fromHex("00857465737484" + "0000000000")),
    compression,
  ],
  ["hpack/5.2/2", "Huffman padding of zeros", block(base, Uint8Array.fromHex("00017883495090")), compression],
  [
    "hpack/5.2/3",
    "Huffman string with EOS",
    block(base, Uint8Array.fromHex("000178 84ffffffff".replaceAll(" ", ""))),
    compression,
  ],
  ["hpack/6.1/1", "index 0", block([0x80], base), compression],
  ["hpack/6.3/1", "table size update above SETTINGS_HEADER_TABLE_SIZE", block([0x3f, 0xe2, 0x1f], base), compression],
];

/** More of RFC 9113 §8 than h2spec asks. */
const stricter: Case[] = [
  ["§8.2.1", "NUL in a value", request(...GET, ["x-test", "a\0b"]), malformed],
  ["§8.2.1", "line feed in a value", request(...GET, ["x-test", "a\nb: c"]), malformed],
  ["§8.2.1", "white space around a value", request(...GET, ["x-test", " a"]), malformed],
  ["§8.2.1", "colon in a name", request(...GET, ["x:test", "a"]), malformed],
  ["§8.2.1", "empty name", request(...GET, ["", "a"]), malformed],
  ["§8.2.2", "transfer-encoding", request(...GET, ["transfer-encoding", "chunked"]), malformed],
  ["§8.2.2", "upgrade", request(...GET, ["upgrade", "h2c"]), malformed],
  ["§8.3.1", ":path not absolute", request(...without(":path"), [":path", "x"]), malformed],
  ["§8.3.1", ":path with a space", request(...without(":path"), [":path", "/a b"]), malformed],
  ["§8.3.1", "* without OPTIONS", request(...without(":path"), [":path", "*"]), malformed],
  [
    "§8.3.1",
    "user information in :authority",
    request(...without(":authority"), [":authority", "u@localhost"]),
    malformed,
  ],
  ["§8.3.1", "host unlike :authority", request(...GET, ["host", "elsewhere"]), malformed],
  ["§8.3.1", ":method not a token", request([":method", "GE T"], ...GET.slice(1)), malformed],
  [
    "§8.1.1",
    "content-length not a number",
    [headers(1, 4, ...POST, ["content-length", "+4"]), data(1, 1, "test")],
    malformed,
  ],
  ["§8.1.1", "two different content-lengths", [
    headers(1, 4, ...POST, ["content-length", "4"], ["content-length", "5"]),
  ], malformed],
  ["§8.1.1", "content-length and END_STREAM on HEADERS", request(...GET, ["content-length", "4"]), malformed],
  ["§8.1.1", "less than content-length, then trailers", [
    headers(1, 4, ...POST, ["content-length", "9"]),
    data(1, 0, "test"),
    headers(1, 5, ["x-a", "b"]),
  ], malformed],
  [
    "§8.5",
    "CONNECT with :scheme",
    request([":method", "CONNECT"], [":authority", "a:1"], [":scheme", "http"]),
    malformed,
  ],
  ["§8.5", "CONNECT with :path", request([":method", "CONNECT"], [":authority", "a:1"], [":path", "/"]), malformed],
  ["§8.5", "CONNECT without :authority", request([":method", "CONNECT"]), malformed],
  ["§8.5", "HEADERS on a connected stream", [
    headers(1, 4, [":method", "CONNECT"], [":authority", "a:1"]),
    headers(1, 5, ["x-a", "b"]),
  ], malformed],
  [
    "RFC 8441 §3",
    ":protocol that was not offered",
    headers(1, 4, [":method", "CONNECT"], [":protocol", "websocket"], ...GET.slice(1)),
    malformed,
  ],
];

caseTable([...messages, ...hpack, ...stricter]);
