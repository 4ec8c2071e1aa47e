/** h2spec's sections http2/3.5 to http2/7, case by case. Codes are exact where h2spec accepts several. */
import { expect } from "bun:test";
import { FrameType } from "../../src/http2/frames.ts";
import { caseTable, connectionError, pong, response, settingsAck, streamError } from "./h2spec_case.ts";
import { data, frame, GET, headers, HOLD, join, literals, ping, POST, settings, uint32 } from "./wire.ts";

const { DATA, PRIORITY, RST_STREAM, SETTINGS, PING: PING_FRAME, GOAWAY, WINDOW_UPDATE, CONTINUATION, HEADERS } =
  FrameType;
const PING = ping("h2spec..");
const base = literals(...GET);
const reset = (stream: number) => frame(RST_STREAM, 0, stream, uint32(8));
const windowUpdate = (stream: number, increment: number) => frame(WINDOW_UPDATE, 0, stream, uint32(increment));
const HELD: [string, string][] = [[":method", "GET"], [":scheme", "http"], [":path", "/hold"]];
/** A held request whose side is closed: "half closed (remote)". */
const halfClosed = headers(1, 5, ...HELD);
/** A request that is answered: "closed". */
const closed = headers(1, 5, ...GET);
const firstPart = frame(HEADERS, 1, 1, base.subarray(0, 10));
const secondPart = (flags: number) => frame(CONTINUATION, flags, 1, base.subarray(10));

caseTable([
  [
    "http2/3.5/2",
    "invalid connection preface",
    join("INVALID CONNECTION PREFACE\r\n\r\n"),
    connectionError("PROTOCOL_ERROR"),
  ],
], new Uint8Array(0));

caseTable([
  ["http2/3.5/1", "client connection preface", settings(), settingsAck],
  ["http2/4.1/1", "a frame with unknown type", [frame(22, 0, 0, "\0\0\0\0\0\0\0\0"), PING], pong],
  ["http2/4.1/2", "a frame with undefined flag", frame(PING_FRAME, 0x16, 0, "h2spec.."), pong],
  ["http2/4.1/3", "a frame with reserved field bit", join([0, 0, 8, 6, 0, 0x80, 0, 0, 0], "h2spec.."), pong],
  ["http2/4.2/1", "DATA of 2^14 octets", [headers(1, 4, ...POST), data(1, 1, new Uint8Array(16384))], response(1)],
  [
    "http2/4.2/2",
    "DATA above SETTINGS_MAX_FRAME_SIZE",
    [headers(1, 4, ...POST), data(1, 1, new Uint8Array(16385))],
    streamError(1, "FRAME_SIZE_ERROR"),
  ],
  [
    "http2/4.2/3",
    "HEADERS above SETTINGS_MAX_FRAME_SIZE",
    headers(1, 5, ...GET, ["x-dummy", "a".repeat(16384)]),
    connectionError("FRAME_SIZE_ERROR"),
  ],
  ["http2/4.3/1", "invalid header block fragment", frame(HEADERS, 5, 1, "\x40"), connectionError("COMPRESSION_ERROR")],
  [
    "http2/4.3/2",
    "PRIORITY while sending the header blocks",
    [firstPart, frame(PRIORITY, 0, 1, "\0\0\0\0\xff")],
    connectionError("PROTOCOL_ERROR"),
  ],
  [
    "http2/4.3/3",
    "HEADERS to another stream while sending the header blocks",
    [firstPart, headers(3, 5, ...GET)],
    connectionError("PROTOCOL_ERROR"),
  ],

  ["http2/5.1/1", "idle: DATA", data(1, 1, "test"), connectionError("PROTOCOL_ERROR")],
  ["http2/5.1/2", "idle: RST_STREAM", reset(1), connectionError("PROTOCOL_ERROR")],
  ["http2/5.1/3", "idle: WINDOW_UPDATE", windowUpdate(1, 100), connectionError("PROTOCOL_ERROR")],
  ["http2/5.1/4", "idle: CONTINUATION", frame(CONTINUATION, 4, 1, base), connectionError("PROTOCOL_ERROR")],
  ["http2/5.1/5", "half closed (remote): DATA", [halfClosed, data(1, 1, "test")], streamError(1, "STREAM_CLOSED")],
  [
    "http2/5.1/6",
    "half closed (remote): HEADERS",
    [halfClosed, headers(1, 5, ...GET)],
    streamError(1, "STREAM_CLOSED"),
  ],
  [
    "http2/5.1/7",
    "half closed (remote): CONTINUATION",
    [halfClosed, frame(CONTINUATION, 4, 1, base)],
    connectionError("PROTOCOL_ERROR"),
  ],
  [
    "http2/5.1/8",
    "closed: DATA after RST_STREAM",
    [headers(1, 4, ...POST), reset(1), data(1, 1, "test")],
    streamError(1, "STREAM_CLOSED"),
  ],
  [
    "http2/5.1/9",
    "closed: HEADERS after RST_STREAM",
    [headers(1, 4, ...POST), reset(1), headers(1, 5, ...GET)],
    streamError(1, "STREAM_CLOSED"),
  ],
  ["http2/5.1/10", "closed: CONTINUATION after RST_STREAM", [
    headers(1, 4, ...POST),
    reset(1),
    frame(CONTINUATION, 4, 1, base),
  ], connectionError("PROTOCOL_ERROR")],
  ["http2/5.1/11", "closed: DATA", [closed, data(1, 1, "test")], connectionError("STREAM_CLOSED")],
  ["http2/5.1/12", "closed: HEADERS", [closed, headers(1, 5, ...GET)], connectionError("STREAM_CLOSED")],
  [
    "http2/5.1/13",
    "closed: CONTINUATION",
    [closed, frame(CONTINUATION, 4, 1, base)],
    connectionError("PROTOCOL_ERROR"),
  ],
  ["http2/5.1.1/1", "even-numbered stream identifier", headers(2, 5, ...GET), connectionError("PROTOCOL_ERROR")],
  [
    "http2/5.1.1/2",
    "stream identifier smaller than previous",
    [headers(5, 5, ...GET), headers(3, 5, ...GET)],
    connectionError("PROTOCOL_ERROR"),
  ],
  [
    "http2/5.1.2/1",
    "more streams than MAX_CONCURRENT_STREAMS",
    Array.from({ length: 101 }, (_, i) => headers(2 * i + 1, 5, ...HELD)),
    streamError(201, "REFUSED_STREAM"),
  ],
  // RFC 7540 §5.3.1 made self-dependency an error; RFC 9113 §5.3.2 deprecates the whole scheme.
  [
    "http2/5.3.1/1",
    "HEADERS that depends on itself is served",
    frame(HEADERS, 0x25, 1, join(uint32(1), [255], base)),
    response(1),
  ],
  ["http2/5.3.1/2", "PRIORITY that depends on itself is ignored", [
    headers(1, 4, ...POST),
    frame(PRIORITY, 0, 1, join(uint32(1), [255])),
    PING,
  ], pong],
  [
    "http2/5.4.1/1",
    "invalid PING closes the connection",
    frame(PING_FRAME, 0, 3, "\0\0\0\0\0\0\0\0"),
    connectionError("PROTOCOL_ERROR"),
  ],
  [
    "http2/5.4.1/2",
    "invalid PING is answered by GOAWAY",
    frame(PING_FRAME, 0, 0, "\0\0\0\0\0\0"),
    connectionError("FRAME_SIZE_ERROR"),
  ],
  ["http2/5.5/1", "an unknown extension frame", [frame(0xff, 1, 0, "unknown extension"), PING], pong],
  ["http2/5.5/2", "an unknown extension frame in the middle of a header block", [
    firstPart,
    frame(0xff, 1, 0, "unknown"),
  ], connectionError("PROTOCOL_ERROR")],

  ["http2/6.1/1", "DATA with stream identifier 0", data(0, 1, "test"), connectionError("PROTOCOL_ERROR")],
  ["http2/6.1/2", "DATA on a stream that is not open", [closed, data(1, 1, "test")], connectionError("STREAM_CLOSED")],
  [
    "http2/6.1/3",
    "DATA with invalid pad length",
    [headers(1, 4, ...POST), frame(DATA, 9, 1, "\x05test")],
    connectionError("PROTOCOL_ERROR"),
  ],
  [
    "http2/6.2/1",
    "HEADERS without END_HEADERS, then PRIORITY",
    [firstPart, frame(PRIORITY, 0, 1, "\0\0\0\0\xff")],
    connectionError("PROTOCOL_ERROR"),
  ],
  [
    "http2/6.2/2",
    "HEADERS to another stream within a block",
    [firstPart, headers(3, 5, ...GET)],
    connectionError("PROTOCOL_ERROR"),
  ],
  ["http2/6.2/3", "HEADERS with stream identifier 0", headers(0, 5, ...GET), connectionError("PROTOCOL_ERROR")],
  [
    "http2/6.2/4",
    "HEADERS with invalid pad length",
    frame(HEADERS, 0xd, 1, join([base.length + 1], base)),
    connectionError("PROTOCOL_ERROR"),
  ],
  [
    "http2/6.3/1",
    "PRIORITY with stream identifier 0",
    frame(PRIORITY, 0, 0, "\0\0\0\0\xff"),
    connectionError("PROTOCOL_ERROR"),
  ],
  [
    "http2/6.3/2",
    "PRIORITY not of 5 octets",
    [headers(1, 4, ...HOLD), frame(PRIORITY, 0, 1, "\0\0\0\x01")],
    streamError(1, "FRAME_SIZE_ERROR"),
  ],
  ["http2/6.4/1", "RST_STREAM with stream identifier 0", reset(0), connectionError("PROTOCOL_ERROR")],
  ["http2/6.4/2", "RST_STREAM on an idle stream", reset(1), connectionError("PROTOCOL_ERROR")],
  [
    "http2/6.4/3",
    "RST_STREAM not of 4 octets",
    [headers(1, 4, ...HOLD), frame(RST_STREAM, 0, 1, "\0\0\0")],
    connectionError("FRAME_SIZE_ERROR"),
  ],
  [
    "http2/6.5/1",
    "SETTINGS with ACK and payload",
    frame(SETTINGS, 1, 0, "\0\0\0\0\0\0"),
    connectionError("FRAME_SIZE_ERROR"),
  ],
  ["http2/6.5/2", "SETTINGS on a stream", frame(SETTINGS, 0, 1, "\0\x03\0\0\0\x64"), connectionError("PROTOCOL_ERROR")],
  [
    "http2/6.5/3",
    "SETTINGS not of a multiple of 6 octets",
    frame(SETTINGS, 0, 0, "\0\x03\0"),
    connectionError("FRAME_SIZE_ERROR"),
  ],
  ["http2/6.5.2/1", "ENABLE_PUSH neither 0 nor 1", settings([2, 2]), connectionError("PROTOCOL_ERROR")],
  [
    "http2/6.5.2/2",
    "INITIAL_WINDOW_SIZE above the maximum",
    settings([4, 2 ** 31]),
    connectionError("FLOW_CONTROL_ERROR"),
  ],
  ["http2/6.5.2/3", "MAX_FRAME_SIZE below the initial value", settings([5, 16383]), connectionError("PROTOCOL_ERROR")],
  ["http2/6.5.2/4", "MAX_FRAME_SIZE above the maximum", settings([5, 2 ** 24]), connectionError("PROTOCOL_ERROR")],
  ["http2/6.5.2/5", "SETTINGS with unknown identifier", [settings([0xff, 1]), PING], pong],
  [
    "http2/6.5.3/1",
    "multiple values of INITIAL_WINDOW_SIZE",
    [settings([4, 100], [4, 1]), headers(1, 5, ...GET)],
    (wire) => expect(wire.dataLength(1)).toBe(1),
  ],
  ["http2/6.5.3/2", "SETTINGS without ACK", settings([3, 1]), settingsAck],
  ["http2/6.7/1", "PING", PING, pong],
  [
    "http2/6.7/2",
    "PING with ACK",
    [frame(PING_FRAME, 1, 0, "invalid!"), PING],
    (wire) => expect(wire.of(PING_FRAME).map((f) => f.payload)).toEqual([new TextEncoder().encode("h2spec..")]),
  ],
  ["http2/6.7/3", "PING on a stream", frame(PING_FRAME, 0, 1, "h2spec.."), connectionError("PROTOCOL_ERROR")],
  ["http2/6.7/4", "PING not of 8 octets", frame(PING_FRAME, 0, 0, "h2spec"), connectionError("FRAME_SIZE_ERROR")],
  [
    "http2/6.8/1",
    "GOAWAY on a stream",
    frame(GOAWAY, 0, 1, join(uint32(0), uint32(0))),
    connectionError("PROTOCOL_ERROR"),
  ],
  ["http2/6.9/1", "WINDOW_UPDATE of 0", windowUpdate(0, 0), connectionError("PROTOCOL_ERROR")],
  [
    "http2/6.9/2",
    "WINDOW_UPDATE of 0 on a stream",
    [headers(1, 4, ...HOLD), windowUpdate(1, 0)],
    streamError(1, "PROTOCOL_ERROR"),
  ],
  [
    "http2/6.9/3",
    "WINDOW_UPDATE not of 4 octets",
    frame(WINDOW_UPDATE, 0, 0, "\0\0\x01"),
    connectionError("FRAME_SIZE_ERROR"),
  ],
  [
    "http2/6.9.1/1",
    "INITIAL_WINDOW_SIZE 1, then HEADERS",
    [settings([4, 1]), headers(1, 5, ...GET)],
    (wire) => expect(wire.dataLength(1)).toBe(1),
  ],
  [
    "http2/6.9.1/2",
    "connection window above 2^31-1",
    [windowUpdate(0, 2 ** 31 - 1), windowUpdate(0, 2 ** 31 - 1)],
    connectionError("FLOW_CONTROL_ERROR"),
  ],
  ["http2/6.9.1/3", "stream window above 2^31-1", [
    headers(1, 4, ...HOLD),
    windowUpdate(1, 2 ** 31 - 1),
    windowUpdate(1, 2 ** 31 - 1),
  ], streamError(1, "FLOW_CONTROL_ERROR")],
  ["http2/6.9.2/1", "INITIAL_WINDOW_SIZE changed after HEADERS", [
    settings([4, 0]),
    headers(1, 5, ...GET),
    settings([4, 1]),
  ], (wire) => expect(wire.dataLength(1)).toBe(1)],
  ["http2/6.9.2/2", "a window that becomes negative", [
    settings([4, 3]),
    headers(1, 5, ...GET),
    settings([4, 2]),
    windowUpdate(1, 2),
  ], (wire) => expect(wire.dataLength(1)).toBeLessThanOrEqual(4)],
  [
    "http2/6.9.2/3",
    "INITIAL_WINDOW_SIZE with a value above the maximum",
    settings([4, 2 ** 31]),
    connectionError("FLOW_CONTROL_ERROR"),
  ],
  ["http2/6.10/1", "multiple CONTINUATION", [
    firstPart,
    frame(CONTINUATION, 0, 1, base.subarray(10, 15)),
    frame(CONTINUATION, 4, 1, base.subarray(15)),
  ], response(1)],
  [
    "http2/6.10/2",
    "CONTINUATION followed by another frame",
    [firstPart, secondPart(0), data(1, 1, "test")],
    connectionError("PROTOCOL_ERROR"),
  ],
  [
    "http2/6.10/3",
    "CONTINUATION with stream identifier 0",
    [firstPart, frame(CONTINUATION, 4, 0, base.subarray(10))],
    connectionError("PROTOCOL_ERROR"),
  ],
  ["http2/6.10/4", "CONTINUATION after HEADERS with END_HEADERS", [
    headers(1, 4, ...POST),
    frame(CONTINUATION, 4, 1, literals(["x-a", "b"])),
  ], connectionError("PROTOCOL_ERROR")],
  ["http2/6.10/5", "CONTINUATION after CONTINUATION with END_HEADERS", [
    firstPart,
    secondPart(4),
    frame(CONTINUATION, 4, 1, literals(["x-a", "b"])),
  ], connectionError("PROTOCOL_ERROR")],
  ["http2/6.10/6", "CONTINUATION after DATA", [
    headers(1, 4, ...POST),
    data(1, 0, "test"),
    frame(CONTINUATION, 4, 1, literals(["x-a", "b"])),
  ], connectionError("PROTOCOL_ERROR")],
  ["http2/7/1", "GOAWAY with unknown error code", [frame(GOAWAY, 0, 0, join(uint32(0), uint32(0xff))), PING], pong],
  ["http2/7/2", "RST_STREAM with unknown error code", [
    headers(1, 4, ...POST),
    frame(RST_STREAM, 0, 1, uint32(0xff)),
    PING,
  ], pong],
]);
