import { describe, expect, test } from "bun:test";
import { FrameType } from "../../src/http2/frames.ts";
import { ErrorCode, type HeaderList, Http2Connection } from "../../src/http2/mod.ts";
import {
  client,
  data,
  frame,
  GET,
  headers,
  join,
  literals,
  OPTIONS,
  POST,
  server,
  settings,
  uint32,
  Wire,
} from "./wire.ts";

const CONNECT: HeaderList = [[":method", "CONNECT"], [":authority", "10.0.0.1:80"]];
const ok: [string, string] = [":status", "200"];

/** A client with one open request. */
function requesting(list: HeaderList, endStream: boolean) {
  const wire = client();
  const stream = wire.connection.request(list, endStream, undefined)!;
  return { wire: wire.read().clear(), stream };
}

describe("the beginning", () => {
  test("preface, SETTINGS of ztunnel's client, WINDOW_UPDATE", () => {
    const wire = new Wire("client", {
      initialWindowSize: 4 << 20,
      connectionWindowSize: 16 << 20,
      maxFrameSize: 1 << 20,
      maxHeaderListSize: 16 << 10,
    }).read();
    expect(wire.summary).toEqual([
      "SETTINGS 0 0 24 " + "000200000000" + "000400400000" + "000500100000" + "000600004000",
      "WINDOW_UPDATE 0 0 4 00ff0001",
    ]);
  });

  test("requests may go before the server's SETTINGS, and wait for its limit after", () => {
    const wire = new Wire("client").read();
    expect(wire.connection.settingsReceived).toBe(false);
    expect(wire.connection.request(GET, true, undefined)!.id).toBe(1);
    wire.receive(settings([3, 2]));
    expect(wire.connection.peerSettings.maxConcurrentStreams).toBe(2);
    expect(wire.connection.request(GET, true, undefined)!.id).toBe(3);
    expect(wire.connection.canRequest).toBe(false);
    expect(wire.connection.request(GET, true, undefined)).toBeUndefined();
    wire.receive(headers(1, 5, ok));
    expect(wire.connection.canRequest).toBe(true);
  });

  test("options outside of the protocol's ranges are refused", () => {
    const make = (options: object) => () =>
      new Http2Connection("client", { ...OPTIONS, ...options }, new Wire("client").recorder);
    expect(make({ initialWindowSize: 2 ** 31 })).toThrow("initialWindowSize");
    expect(make({ connectionWindowSize: 1000 })).toThrow("connectionWindowSize");
    expect(make({ maxFrameSize: 1000 })).toThrow("maxFrameSize");
  });
});

describe("responses", () => {
  test("informational, final, data, trailers", () => {
    const { wire } = requesting(POST, false);
    wire.receive(join(
      headers(1, 4, [":status", "103"], ["link", "</a>"]),
      headers(1, 4, ok),
      data(1, 0, "hello"),
      headers(1, 5, ["x-sum", "5"]),
    ));
    expect(wire.recorder.events).toEqual([
      "headers 1 :status=103 link=</a> false",
      "headers 1 :status=200 false",
      "trailers 1 x-sum=5",
    ]);
    expect(wire.recorder.received(1)).toBe(5);
  });

  const malformed: [name: string, frames: Uint8Array][] = [
    ["no :status", headers(1, 5, ["x-a", "b"])],
    [":status twice", headers(1, 5, ok, ok)],
    [":status of two digits", headers(1, 5, [":status", "20"])],
    [":status after a field", headers(1, 5, ["x-a", "b"], ok)],
    ["pseudo-header field of requests", headers(1, 5, ok, [":path", "/"])],
    ["status 101", headers(1, 4, [":status", "101"])],
    ["informational with END_STREAM", headers(1, 5, [":status", "103"])],
    ["connection-specific field", headers(1, 5, ok, ["connection", "close"])],
    ["DATA before the headers", data(1, 0, "x")],
    ["DATA after only informational headers", join(headers(1, 4, [":status", "100"]), data(1, 0, "x"))],
    ["content-length too small", join(headers(1, 4, ok, ["content-length", "2"]), data(1, 0, "abc"))],
    ["content-length too large", join(headers(1, 4, ok, ["content-length", "4"]), data(1, 1, "abc"))],
    ["content with 204", join(headers(1, 4, [":status", "204"]), data(1, 0, "x"))],
    [
      "a header list above the limit",
      headers(1, 5, ok, ...Array.from({ length: 400 }, (): [string, string] => ["x-a", "v".repeat(10)])),
    ],
  ];
  for (const [name, frames] of malformed) {
    test(`malformed: ${name}`, () => {
      const { wire } = requesting(GET, true);
      wire.receive(frames);
      expect(wire.goaway).toBeUndefined();
      expect(wire.reset(1)).toBe(ErrorCode.PROTOCOL_ERROR);
      expect(wire.recorder.events.slice(-2)).toEqual(["reset 1 1 false", "closed 1"]);
    });
  }

  test("a response to HEAD declares a length and has no content", () => {
    const { wire } = requesting([[":method", "HEAD"], ...GET.slice(1)], true);
    wire.receive(headers(1, 5, ok, ["content-length", "1000"]));
    expect(wire.recorder.events.at(-1)).toBe("closed 1");
    expect(wire.sent).toEqual([]);
  });

  test("REFUSED_STREAM from the server", () => {
    const { wire } = requesting(GET, true);
    wire.receive(frame(FrameType.RST_STREAM, 0, 1, uint32(7)));
    expect(wire.recorder.events).toEqual(["reset 1 7 true", "closed 1"]);
  });

  test("frames of a request that was given up are ignored", () => {
    const { wire, stream } = requesting(GET, true);
    stream.reset(ErrorCode.CANCEL);
    wire.read().clear().receive(
      join(headers(1, 4, ok), data(1, 0, "late"), data(1, 1, ""), frame(FrameType.WINDOW_UPDATE, 0, 1, uint32(5))),
    );
    expect(wire.recorder.events).toEqual([]);
    expect(wire.sent).toEqual([]);
  });

  const errors: [name: string, frames: Uint8Array, code: keyof typeof ErrorCode][] = [
    ["HEADERS on an idle stream", headers(3, 5, ok), "PROTOCOL_ERROR"],
    ["HEADERS on an even stream", headers(2, 5, ok), "PROTOCOL_ERROR"],
    ["DATA on an idle stream", data(5, 0, "x"), "PROTOCOL_ERROR"],
    ["PUSH_PROMISE", frame(FrameType.PUSH_PROMISE, 4, 1, join(uint32(2), literals(...GET))), "PROTOCOL_ERROR"],
    ["ENABLE_PUSH from a server", settings([2, 1]), "PROTOCOL_ERROR"],
  ];
  for (const [name, frames, code] of errors) {
    test(`connection error: ${name}`, () => {
      expect(requesting(GET, true).wire.receive(frames).goaway).toBe(ErrorCode[code]);
    });
  }

  test("the first frame of a server must be SETTINGS", () => {
    expect(new Wire("client").receive(frame(FrameType.PING, 0, 0, "12345678")).goaway).toBe(ErrorCode.PROTOCOL_ERROR);
  });
});

describe("CONNECT (RFC 9113 §8.5)", () => {
  test("bytes both ways, then one side ends before the other", () => {
    const { wire, stream } = requesting(CONNECT, false);
    wire.receive(headers(1, 4, ok));
    stream.sendData(new TextEncoder().encode("ping"), true);
    expect(wire.read().dataLength(1)).toBe(4);
    expect(stream.state).toBe("half-closed-local");
    wire.receive(join(data(1, 0, "po"), data(1, 0, "ng")));
    expect(wire.recorder.received(1)).toBe(4);
    expect(wire.recorder.events).not.toContain("closed 1");
    wire.receive(data(1, 1, ""));
    expect(wire.recorder.events.slice(-2)).toEqual(["data 1 4", "closed 1"]);
    expect(stream.state).toBe("closed");
  });

  test("the peer ends first, and we go on sending", () => {
    const { wire, stream } = requesting(CONNECT, false);
    wire.receive(join(headers(1, 4, ok), data(1, 1, "bye")));
    expect(stream.state).toBe("half-closed-remote");
    stream.sendData(new Uint8Array(100), false);
    stream.sendData(new Uint8Array(0), true);
    expect(wire.read().dataLength(1)).toBe(100);
    expect(wire.recorder.events.at(-1)).toBe("closed 1");
  });

  test("HEADERS on a connected stream are a stream error", () => {
    const { wire } = requesting(CONNECT, false);
    wire.receive(join(headers(1, 4, ok), headers(1, 5, ["x-a", "b"])));
    expect(wire.reset(1)).toBe(ErrorCode.PROTOCOL_ERROR);
  });

  test("a refusal is an ordinary response, with trailers if it likes", () => {
    const { wire } = requesting(CONNECT, false);
    wire.receive(join(headers(1, 4, [":status", "503"]), data(1, 0, "no"), headers(1, 5, ["x-a", "b"])));
    expect(wire.recorder.events).toEqual(["headers 1 :status=503 false", "trailers 1 x-a=b"]);
  });

  test("extended CONNECT where it is offered (RFC 8441)", () => {
    const wire = new Wire("server", { enableConnectProtocol: true });
    expect(wire.read().summary[0]).toContain("000800000001");
    const open = server({ enableConnectProtocol: true });
    open.receive(headers(1, 4, [":method", "CONNECT"], [":protocol", "websocket"], ...GET.slice(1)));
    expect(open.recorder.events[0]).toStartWith("headers 1 :method=CONNECT :protocol=websocket");
    const asking = client().receive(settings([8, 1]));
    expect(asking.connection.peerSettings.enableConnectProtocol).toBe(true);
    expect(asking.receive(settings([8, 0])).goaway).toBe(ErrorCode.PROTOCOL_ERROR);
  });
});

describe("server answers", () => {
  test("informational, headers, data, trailers", () => {
    const wire = server().receive(headers(1, 4, [":method", "POST"], [":scheme", "http"], [":path", "/hold"]));
    const stream = wire.recorder.streams.get(1)!;
    expect(() => stream.sendData(new Uint8Array(1), false)).toThrow("before the headers");
    stream.respond([[":status", "103"]], false);
    stream.respond([[":status", "200"]], false);
    expect(() => stream.respond([[":status", "200"]], false)).toThrow("were sent");
    stream.sendData(new Uint8Array(5), false);
    stream.sendTrailers([["x-end", "yes"]]);
    expect(stream.state).toBe("half-closed-local");
    expect(wire.read().headerLists(1)).toEqual([[[":status", "103"]], [[":status", "200"]], [["x-end", "yes"]]]);
    wire.receive(data(1, 1, "rest"));
    expect(wire.recorder.events.at(-1)).toBe("closed 1");
  });

  test("a large header list goes in CONTINUATION frames of the peer's size", () => {
    const wire = server().receive(headers(1, 5, [":method", "GET"], [":scheme", "http"], [":path", "/hold"]));
    const list: HeaderList = [
      [":status", "200"],
      ...Array.from({ length: 10 }, (_, i): [string, string] => [`x-${i}`, "~".repeat(5000)]),
    ];
    wire.recorder.streams.get(1)!.respond(list, true);
    wire.read();
    expect(wire.sent.map((f) => [f.type, f.flags])).toEqual([[1, 1], [9, 0], [9, 0], [9, 4]]);
    expect(wire.headerLists(1)).toEqual([list]);
  });
});

test("PING and its answer", () => {
  const wire = client();
  wire.connection.ping();
  const sent = wire.read().of(FrameType.PING)[0]!;
  expect([sent.flags, sent.payload.toHex()]).toEqual([0, "3b7cdb7a0b8716b4"]);
  wire.receive(frame(FrameType.PING, 1, 0, sent.payload));
  expect(wire.recorder.events).toEqual(["pong 3b7cdb7a0b8716b4"]);
  expect(() => wire.connection.ping(new Uint8Array(7))).toThrow("8 octets");
});
