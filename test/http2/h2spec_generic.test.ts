/** h2spec's section "generic", case by case: what a server must accept. */
import { FrameType } from "../../src/http2/frames.ts";
import { caseTable, pong, response, settingsAck } from "./h2spec_case.ts";
import { data, frame, GET, headers, join, literals, ping, POST, settings, uint32 } from "./wire.ts";

const { PRIORITY, RST_STREAM, GOAWAY, WINDOW_UPDATE, CONTINUATION, HEADERS } = FrameType;
const priority = (stream: number, depends: number, weight: number) =>
  frame(PRIORITY, 0, stream, join(uint32(depends), [weight - 1]));
const HEAD: [string, string][] = [[":method", "HEAD"], ...GET.slice(1)];
const HELD: [string, string][] = [[":method", "GET"], [":scheme", "http"], [":path", "/hold"]];
const PING = ping("h2spec..");
const base = literals(...GET);
/** A GET with one more field in the given representation (RFC 7541 §6). */
const withField = (hex: string) => frame(HEADERS, 5, 1, join(base, Uint8Array.fromHex(hex)));

caseTable([
  ["generic/1/1", "a client connection preface", settings(), settingsAck],
  ["generic/2/1", "PRIORITY on idle stream", join(priority(1, 0, 256), headers(1, 5, ...GET)), response(1)],
  ["generic/2/2", "WINDOW_UPDATE on half-closed (remote) stream", [
    headers(1, 5, ...HELD),
    frame(WINDOW_UPDATE, 0, 1, uint32(100)),
    PING,
  ], pong],
  ["generic/2/3", "PRIORITY on half-closed (remote) stream", [headers(1, 5, ...HELD), priority(1, 0, 256), PING], pong],
  ["generic/2/4", "RST_STREAM on half-closed (remote) stream", [
    headers(1, 5, ...HELD),
    frame(RST_STREAM, 0, 1, uint32(8)),
    PING,
  ], pong],
  ["generic/2/5", "PRIORITY on closed stream", [headers(1, 5, ...GET), priority(1, 0, 256), PING], pong],
  ["generic/3.1/1", "a DATA frame", [headers(1, 4, ...POST), data(1, 1, "test")], response(1)],
  [
    "generic/3.1/2",
    "multiple DATA frames",
    [headers(1, 4, ...POST), data(1, 0, "test"), data(1, 1, "test")],
    response(1),
  ],
  [
    "generic/3.1/3",
    "a DATA frame with padding",
    [headers(1, 4, ...POST), data(1, 9, "\x06test\0\0\0\0\0\0")],
    response(1),
  ],
  ["generic/3.2/1", "a HEADERS frame", headers(1, 5, ...GET), response(1)],
  [
    "generic/3.2/2",
    "a HEADERS frame with padding",
    frame(HEADERS, 0xd, 1, join([6], base, "\0\0\0\0\0\0")),
    response(1),
  ],
  [
    "generic/3.2/3",
    "a HEADERS frame with priority",
    frame(HEADERS, 0x25, 1, join(uint32(0), [255], base)),
    response(1),
  ],
  ["generic/3.3/1", "a PRIORITY frame with priority 1", [priority(1, 0, 1), headers(1, 5, ...GET)], response(1)],
  ["generic/3.3/2", "a PRIORITY frame with priority 256", [priority(1, 0, 256), headers(1, 5, ...GET)], response(1)],
  ["generic/3.3/3", "a PRIORITY frame with stream dependency", [
    priority(1, 0, 256),
    priority(3, 1, 256),
    headers(1, 5, ...GET),
  ], response(1)],
  [
    "generic/3.3/4",
    "a PRIORITY frame with exclusive",
    [priority(3, 2 ** 31 + 1, 256), headers(1, 5, ...GET)],
    response(1),
  ],
  ["generic/3.3/5", "a PRIORITY frame for an idle stream, then HEADERS for a lower stream id", [
    priority(3, 0, 256),
    headers(1, 5, ...GET),
  ], response(1)],
  ["generic/3.4/1", "a RST_STREAM frame", [headers(1, 4, ...POST), frame(RST_STREAM, 0, 1, uint32(8)), PING], pong],
  ["generic/3.5/1", "a SETTINGS frame", settings([3, 100]), settingsAck],
  ["generic/3.7/1", "a PING frame", PING, pong],
  ["generic/3.8/1", "a GOAWAY frame", [frame(GOAWAY, 0, 0, join(uint32(0), uint32(0))), PING], pong],
  ["generic/3.9/1", "a WINDOW_UPDATE frame with stream id 0", [frame(WINDOW_UPDATE, 0, 0, uint32(1)), PING], pong],
  ["generic/3.9/2", "a WINDOW_UPDATE frame with stream id 1", [
    headers(1, 4, ...POST),
    frame(WINDOW_UPDATE, 0, 1, uint32(1)),
    data(1, 1, "x"),
  ], response(1)],
  ["generic/3.10/1", "a CONTINUATION frame", [
    frame(HEADERS, 1, 1, base.subarray(0, 20)),
    frame(CONTINUATION, 4, 1, base.subarray(20)),
  ], response(1)],
  ["generic/3.10/2", "multiple CONTINUATION frames", [
    frame(HEADERS, 1, 1, base.subarray(0, 3)),
    frame(CONTINUATION, 0, 1, base.subarray(3, 9)),
    frame(CONTINUATION, 4, 1, base.subarray(9)),
  ], response(1)],
  ["generic/4/1", "a GET request", headers(1, 5, ...GET), response(1)],
  ["generic/4/2", "a HEAD request", headers(1, 5, ...HEAD), response(1)],
  ["generic/4/3", "a POST request", [headers(1, 4, ...POST), data(1, 1, "test")], response(1)],
  ["generic/4/4", "a POST request with trailers", [
    headers(1, 4, ...POST, ["trailer", "x-test"]),
    data(1, 0, "test"),
    headers(1, 5, ["x-test", "ok"]),
  ], response(1)],
  [
    "generic/5/1",
    "indexed field",
    frame(HEADERS, 5, 1, join([0x82, 0x86, 0x84], literals([":authority", "localhost"]))),
    response(1),
  ],
  ["generic/5/2", "literal with indexing, indexed name", withField("7a0474657374"), response(1)],
  [
    "generic/5/3",
    "literal with indexing, indexed name, Huffman",
    withField("7a834950 9f".replaceAll(" ", "")),
    response(1),
  ],
  ["generic/5/4", "literal with indexing, new name", withField("4001780474657374"), response(1)],
  ["generic/5/5", "literal with indexing, new name, Huffman", withField("4081f38349509f"), response(1)],
  ["generic/5/6", "literal without indexing, indexed name", withField("0f2b0474657374"), response(1)],
  ["generic/5/7", "literal without indexing, indexed name, Huffman", withField("0f2b8349509f"), response(1)],
  ["generic/5/8", "literal without indexing, new name", withField("0001780474657374"), response(1)],
  ["generic/5/9", "literal without indexing, new name, Huffman", withField("0081f38349509f"), response(1)],
  ["generic/5/10", "literal never indexed, indexed name", withField("1f2b0474657374"), response(1)],
  ["generic/5/11", "literal never indexed, indexed name, Huffman", withField("1f2b8349509f"), response(1)],
  ["generic/5/12", "literal never indexed, new name", withField("1001780474657374"), response(1)],
  ["generic/5/13", "literal never indexed, new name, Huffman", withField("1081f38349509f"), response(1)],
  ["generic/5/14", "dynamic table size update", frame(HEADERS, 5, 1, join([0x3f, 0x61], base)), response(1)],
  [
    "generic/5/15",
    "multiple dynamic table size updates",
    frame(HEADERS, 5, 1, join([0x20, 0x3f, 0x61], base)),
    response(1),
  ],
]);
