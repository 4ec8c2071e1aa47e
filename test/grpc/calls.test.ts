import { afterAll, afterEach, describe, expect, test } from "bun:test";
import { GrpcChannel, type GrpcChannelOptions, type GrpcError } from "../../src/grpc/mod.ts";
import { ErrorCode } from "../../src/http2/mod.ts";
import { ForgingCa } from "../identity/forging_ca.ts";
import { bytesOf, framed, joined, textOf } from "./bytes.ts";
import { channelTo, failure, Recorder } from "./client.ts";
import { echo, type ServerCall, TestServer, type TestServerOptions } from "./server.ts";

const authority = new ForgingCa();
const roots = await authority.ca.rootPem();
const certificate = await authority.forge(["subjectAltName = DNS:istiod.test"]);

const open: (TestServer | GrpcChannel)[] = [];
afterEach(() => {
  for (const each of open.splice(0)) {
    if (each instanceof TestServer) each.stop();
    else each.close();
  }
});
afterAll(() => authority.remove());

function pair(options: TestServerOptions, client: Partial<GrpcChannelOptions> = {}): [TestServer, GrpcChannel] {
  const server = new TestServer(certificate, options);
  const channel = channelTo(server.port, roots, client);
  open.push(channel, server);
  return [server, channel];
}

const IN_TIME = { timeoutMs: 15_000 };
const call = (channel: GrpcChannel, text = "hello") => channel.unary("/t.S/M", bytesOf(text), IN_TIME);

describe("unary calls", () => {
  test("are answered, all over one connection", async () => {
    const [server, channel] = pair({ message: echo });
    const texts = Array.from({ length: 50 }, (_, i) => `message ${i}`);
    const answers = await Promise.all(texts.map((text) => call(channel, text)));
    expect(answers.map(textOf)).toEqual(texts);
    expect(textOf(await call(channel, ""))).toBe("");
    expect(server.connections.length).toBe(1);
    const [first] = server.calls;
    expect(first?.headers).toEqual([
      [":method", "POST"],
      [":scheme", "https"],
      [":authority", `127.0.0.1:${server.port}`],
      [":path", "/t.S/M"],
      ["te", "trailers"],
      ["content-type", "application/grpc"],
    ]);
    expect(first?.ended).toBe(true);
  });

  test("carry metadata that is read anew for each", async () => {
    let token = 0;
    const [server, channel] = pair({ message: echo }, { metadata: () => [["authorization", `Bearer ${++token}`]] });
    await call(channel);
    await call(channel);
    expect(server.calls.map(({ headers }) => headers.at(-1)?.[1])).toEqual(["Bearer 1", "Bearer 2"]);
  });

  test("fail with what reading the metadata fails with, and nothing is sent", async () => {
    const metadata = () => Promise.reject(new Error("token file /t is empty"));
    const [server, channel] = pair({ message: echo }, { metadata });
    expect(await failure(call(channel))).toBe(
      "connect 16: the call's metadata cannot be had: token file /t is empty",
    );
    expect(server.connections.length).toBe(0);
  });

  test.each<[string, (call: ServerCall) => void, string]>([
    ["a status", (it) => (it.accept(), it.finish(7, "not%20you")), "status 7: PERMISSION_DENIED: not you"],
    [
      "trailers only",
      ({ stream }) =>
        stream.respond([[":status", "200"], ["content-type", "application/grpc"], ["grpc-status", "16"]], true),
      "status 16: UNAUTHENTICATED",
    ],
    ["no message", (it) => (it.accept(), it.finish()), "protocol 13: status OK came without an answer"],
    [
      "two messages",
      (it) => (it.accept(), it.send("1"), it.send("2"), it.finish()),
      "protocol 13: more than one message came as the answer",
    ],
    [
      "half a message",
      (it) => (it.accept(), it.stream.sendData(framed("hello").subarray(0, 8), false), it.finish()),
      "protocol 13: the answer ended inside a message, after 3 of 5 bytes",
    ],
    [
      "no status",
      (it) => (it.accept(), it.stream.sendData(framed("hello"), true)),
      "protocol 2: the answer ended without a grpc-status",
    ],
    [
      "a status after half a message",
      (it) => (it.accept(), it.stream.sendData(Uint8Array.of(0, 0), false), it.finish(14, "overload")),
      "status 14: UNAVAILABLE: overload",
    ],
    [
      "a compressed message",
      (it) => (it.accept([["grpc-encoding", "gzip"]]), it.stream.sendData(Uint8Array.of(1, 0, 0, 0, 9), false)),
      "protocol 13: a message is compressed (grpc-encoding gzip), and no compression was offered",
    ],
    [
      "a message too large",
      (it) => (it.accept(), it.stream.sendData(Uint8Array.of(0, 0xc, 0, 0, 0), false)),
      "protocol 8: a message of 201326592 bytes is larger than the 4194304 bytes that are taken",
    ],
    [
      "an HTTP error",
      ({ stream }) => {
        stream.respond([[":status", "503"], ["content-type", "text/plain"]], false);
        stream.sendData(bytesOf("no healthy upstream"), true);
      },
      "status 14: UNAVAILABLE: HTTP status 503 instead of a gRPC answer (content-type text/plain)",
    ],
    [
      "a reset",
      ({ stream }) => stream.reset(ErrorCode.INTERNAL_ERROR),
      "protocol 13: the server reset the stream: INTERNAL_ERROR",
    ],
  ])("hear of %s", async (_name, serve, told) => {
    const [server, channel] = pair({ message: (it) => it.path === "/t.S/M" ? serve(it) : echo(it) });
    expect(await failure(call(channel))).toBe(told);
    // The connection is none the worse.
    expect(textOf(await channel.unary("/t.S/Echo", bytesOf("x"), IN_TIME))).toBe("x");
    expect(server.connections.length).toBe(1);
  });

  test("take 1xx and pieces of any size", async () => {
    const [, channel] = pair({
      message(it) {
        it.stream.respond([[":status", "103"]], false);
        it.accept();
        for (const octet of framed("in pieces")) it.stream.sendData(Uint8Array.of(octet), false);
        it.finish();
      },
    });
    expect(textOf(await call(channel))).toBe("in pieces");
  });

  test("end at their deadline, and the server is told to stop", async () => {
    const [server, channel] = pair({});
    const told = failure(channel.unary("/t.S/M", bytesOf("x"), { timeoutMs: 300 }));
    await server.until(() => server.calls[0]?.messages.length === 1);
    expect(await told).toBe("protocol 4: no answer within 300 ms");
    await server.until(() => server.calls[0]?.reset === ErrorCode.CANCEL);
  });

  test("that the server refuses to look at are made once more", async () => {
    let refused = 0;
    const [server, channel] = pair({
      serve: (it) => refused++ === 0 ? it.stream.reset(ErrorCode.REFUSED_STREAM) : undefined,
      message: echo,
    });
    expect(textOf(await call(channel))).toBe("hello");
    expect(server.calls.length).toBe(2);
  });

  test("…but not for ever", async () => {
    const [server, channel] = pair({ serve: (it) => it.stream.reset(ErrorCode.REFUSED_STREAM) });
    expect(await failure(call(channel))).toMatch(/^connect 14: .* refused the call before it looked at it$/);
    expect(server.calls.length).toBe(2);
  });

  test("wait their turn where the server takes few streams", async () => {
    let running = 0;
    let most = 0;
    const [, channel] = pair({
      http2: { maxConcurrentStreams: 2 },
      message(it) {
        most = Math.max(most, ++running);
        setImmediate(() => {
          running--;
          echo(it);
        });
      },
    });
    const answers = await Promise.all(Array.from({ length: 20 }, (_, i) => call(channel, String(i))));
    expect(answers.map(textOf)).toEqual(Array.from({ length: 20 }, (_, i) => String(i)));
    expect(most).toBeLessThanOrEqual(2);
  });
});

describe("streams", () => {
  test("carry messages both ways; what is sent at once waits for the connection", async () => {
    const [server, channel] = pair({
      serve: (it) => it.accept(),
      message: (it) => it.messages.length === 2 && (it.send("one"), it.send(""), it.send("three")),
    });
    const seen = new Recorder();
    const stream = channel.stream("/t.S/Stream", seen);
    stream.send(bytesOf("first"));
    expect(seen.events).toEqual([]);
    await seen.until(() => seen.events.includes("open"));
    stream.send(bytesOf("second"));
    await seen.until(() => seen.events.length === 4);
    expect(server.calls[0]?.messages).toEqual(["first", "second"]);
    server.calls[0]?.finish();
    await seen.ended();
    expect(seen.events).toEqual(["open", "one", "", "three", "end"]);
    await server.until(() => server.calls[0]?.ended === true);
    stream.send(bytesOf("too late"));
    stream.cancel();
  });

  test("end with the server's status", async () => {
    const [, channel] = pair({ serve: (it) => (it.accept(), it.send("m"), it.finish(14, "transport is closing")) });
    const seen = new Recorder();
    channel.stream("/t.S/Stream", seen);
    await seen.ended();
    expect(seen.events).toEqual(["open", "m", "end status 14: UNAVAILABLE: transport is closing"]);
  });

  test("that are cancelled tell the server, and end once, later", async () => {
    const [server, channel] = pair({ serve: (it) => it.accept() });
    const seen = new Recorder();
    const stream = channel.stream("/t.S/Stream", seen);
    await server.until(() => server.calls.length === 1);
    await seen.until(() => seen.events.includes("open"));
    stream.cancel();
    expect(seen.over).toBe(false);
    stream.cancel();
    await seen.ended();
    await server.until(() => server.calls[0]?.reset === ErrorCode.CANCEL);
    expect(seen.events).toEqual(["open", "end protocol 1: the call was cancelled"]);
  });

  test("that are cancelled before they begin never begin", async () => {
    const [server, channel] = pair({ message: echo });
    const seen = new Recorder();
    channel.stream("/t.S/Stream", seen).cancel();
    await seen.ended();
    await call(channel);
    expect(server.calls.length).toBe(1);
    expect(seen.events).toEqual(["end protocol 1: the call was cancelled"]);
  });

  test("that are paused hold no more than a window, and go on where they were", async () => {
    const SIZE = 100_000;
    const COUNT = 200; // 20 MB
    const [server, channel] = pair({
      serve(it) {
        it.accept();
        for (let i = 0; i < COUNT; i++) it.send(new Uint8Array(SIZE));
        it.finish();
      },
    });
    const seen = new Recorder();
    const stream = channel.stream("/t.S/Stream", seen);
    seen.react = () => stream.pause();
    await seen.until(() => seen.events.length === 2);
    // Other calls on the connection go on, and what the server could not send is as much as it had.
    const other = new Recorder();
    channel.stream("/t.S/Other", other).cancel();
    await other.ended();
    const [{ stream: sent } = { stream: undefined }] = server.calls;
    await server.until(() => sent!.stalledSince !== 0);
    expect(sent!.pendingBytes).toBeGreaterThan(COUNT * SIZE - (4 << 20));
    expect(seen.events.length).toBe(2);
    for (let i = 2; i <= COUNT; i++) {
      stream.resume();
      await seen.until(() => seen.events.length > i || seen.over);
    }
    stream.resume();
    await seen.ended();
    expect(seen.events.length).toBe(COUNT + 2);
    expect(new Set(seen.events)).toEqual(new Set(["open", `${SIZE} bytes`, "end"]));
  });

  test("that are paused hear of a lost connection at once", async () => {
    const [server, channel] = pair({ serve: (it) => (it.accept(), it.send("1"), it.send("2")) });
    const seen = new Recorder();
    const stream = channel.stream("/t.S/Stream", seen);
    seen.react = () => stream.pause();
    await seen.until(() => seen.events.length === 2);
    server.connections[0]?.socket.terminate();
    await seen.ended();
    stream.resume();
    expect(seen.events.slice(0, 2)).toEqual(["open", "1"]);
    expect(seen.events.length).toBe(3);
    expect(seen.events[2]).toMatch(/^end protocol 14: lost the connection to 127.0.0.1:\d+: /);
  });

  test("may be paused, resumed and cancelled from within a message", async () => {
    const [, channel] = pair({
      serve: (it) => (it.accept(), it.stream.sendData(joined(["1", "2", "3", "4"].map(framed)), false)),
    });
    const seen = new Recorder();
    const stream = channel.stream("/t.S/Stream", seen);
    seen.react = (text) => {
      stream.pause();
      if (text !== "2") stream.resume();
      else queueMicrotask(() => stream.resume());
      if (text === "3") stream.cancel();
    };
    await seen.ended();
    expect(seen.events).toEqual(["open", "1", "2", "3", "end protocol 1: the call was cancelled"]);
  });

  test("whose handler throws end with that, and the connection goes on", async () => {
    const [server, channel] = pair({
      serve: (it) => it.path === "/t.S/Stream" && (it.accept(), it.send("m")),
      message: echo,
    });
    const seen = new Recorder();
    // With a code, as an error of the system has: one without is also given to the process as the bug that it is.
    seen.react = () => {
      throw Object.assign(new Error("disk full"), { code: "ENOSPC" });
    };
    channel.stream("/t.S/Stream", seen);
    await seen.ended();
    expect(seen.events).toEqual(["open", "m", "end protocol 13: the call's own handler failed: disk full"]);
    await server.until(() => server.calls[0]?.reset === ErrorCode.CANCEL);
    expect(textOf(await call(channel))).toBe("hello");
  });

  test("take one large message without holding the loop", async () => {
    const SIZE = 40 << 20;
    const [, channel] = pair({
      serve(it) {
        it.accept();
        it.send(new Uint8Array(SIZE));
      },
    });
    const seen = new Recorder();
    channel.stream("/t.S/Stream", seen);
    let turns = 0;
    const turn = () => {
      turns++;
      if (!seen.over && seen.events.length < 2) setImmediate(turn);
    };
    setImmediate(turn);
    await seen.until(() => seen.events.length === 2);
    expect(seen.events[1]).toBe(`${SIZE} bytes`);
    expect(turns).toBeGreaterThan(SIZE / (4 << 20)); // not more than two windows in a turn
  });

  test("refuse a message beyond their limit before any of it is there", async () => {
    const [server, channel] = pair({
      serve: (it) => (it.accept(), it.stream.sendData(Uint8Array.of(0, 0, 0, 4, 1), false)),
    });
    const seen = new Recorder();
    channel.stream("/t.S/Stream", seen, { maxMessage: 1024 });
    await seen.ended();
    expect(seen.events[1]).toBe(
      "end protocol 8: a message of 1025 bytes is larger than the 1024 bytes that are taken",
    );
    await server.until(() => server.calls[0]?.reset === ErrorCode.CANCEL);
  });
});

describe("a connection that goes away", () => {
  test("gets no new calls after GOAWAY, and keeps those it has", async () => {
    const [server, channel] = pair({
      message: (it) => it.path === "/t.S/M" && echo(it),
      serve: (it) => it.path === "/t.S/Stream" && it.accept(),
    });
    const seen = new Recorder();
    channel.stream("/t.S/Stream", seen);
    await server.until(() => server.calls.length === 1);
    const [old] = server.connections;
    old?.h2.finalGoaway(ErrorCode.NO_ERROR, "max_age");
    old?.flush();
    // Until the GOAWAY is there calls still go to the old connection, which ignores them: they are made once more.
    expect(textOf(await call(channel))).toBe("hello");
    expect(server.connections.length).toBe(2);
    server.calls[0]?.send("still here");
    await seen.until(() => seen.events.includes("still here"));
    server.calls[0]?.finish();
    await seen.ended();
    expect(seen.events).toEqual(["open", "still here", "end"]);
    await server.until(() => old?.closed === true);
    expect(textOf(await call(channel))).toBe("hello");
    expect(server.connections.length).toBe(2);
  });

  test("ends its calls with the reason", async () => {
    const [server, channel] = pair({ message: (it) => it.path === "/t.S/M" && echo(it) });
    const seen = new Recorder();
    channel.stream("/t.S/Stream", seen);
    await server.until(() => server.calls.length === 1);
    const connection = server.connections[0]!;
    connection.h2.finalGoaway(ErrorCode.ENHANCE_YOUR_CALM, "too_many_pings");
    connection.flush();
    connection.socket.end();
    await seen.ended();
    expect(seen.events.at(-1)).toMatch(
      /^end (protocol 14: lost the connection to .*: the server is going away \(GOAWAY ENHANCE_YOUR_CALM, "too_many_pings"\)|connect 14: .* refused the call before it looked at it)$/,
    );
    expect(textOf(await call(channel))).toBe("hello");
  });

  test("for breaking HTTP/2 says how", async () => {
    const [server, channel] = pair({});
    const seen = new Recorder();
    channel.stream("/t.S/Stream", seen);
    await server.until(() => server.calls.length === 1);
    server.connections[0]?.socket.write(Uint8Array.of(0, 0, 1, 0, 0, 0, 0, 0, 0, 0)); // DATA on stream 0
    await seen.ended();
    expect(seen.events.at(-1)).toMatch(/^end protocol 14: lost the connection to .*: DATA on stream 0$/);
    await server.until(() => server.connections[0]?.closed === true);
  });

  test("renew: running calls go on, new ones get a new connection with the new roots", async () => {
    let reads = 0;
    const [server, channel] = pair({
      message: (it) => it.path === "/t.S/M" && echo(it),
      serve: (it) => it.path === "/t.S/Stream" && it.accept(),
    }, {
      roots: () => (reads++, roots),
    });
    const seen = new Recorder();
    const stream = channel.stream("/t.S/Stream", seen);
    await server.until(() => server.calls.length === 1);
    channel.renew();
    await call(channel);
    await call(channel);
    expect(server.connections.map(({ calls }) => calls.length)).toEqual([1, 2]);
    expect(reads).toBe(2);
    server.calls[0]?.send("on");
    await seen.until(() => seen.events.includes("on"));
    stream.cancel();
    await server.until(() => server.connections[0]?.closed === true);
    channel.renew();
    await server.until(() => server.connections[1]?.closed === true);
  });

  test("renew while connecting: those who wait are served, then it goes", async () => {
    const [server, channel] = pair({ message: echo });
    const first = call(channel);
    await server.until(() => server.connections.length === 1);
    channel.renew();
    const second = call(channel);
    expect((await Promise.all([first, second])).map(textOf)).toEqual(["hello", "hello"]);
    expect(server.connections.length).toBe(2);
    await server.until(() => server.connections[0]?.closed === true);
  });

  test("close ends everything, and later calls fail", async () => {
    const [server, channel] = pair({});
    const seen = new Recorder();
    channel.stream("/t.S/Stream", seen);
    const told = failure(call(channel));
    await server.until(() => server.calls.length === 2);
    channel.close();
    expect(await told).toBe("protocol 1: the channel was closed");
    await seen.ended();
    expect(seen.error?.code).toBe(1);
    await server.until(() => server.connections[0]?.closed === true);
    expect(await failure(call(channel))).toBe("protocol 1: the channel was closed");
    const late = new Recorder();
    channel.stream("/t.S/Stream", late);
    await late.ended();
    expect(server.connections.length).toBe(1);
  });

  test("close while connecting leaves nothing behind", async () => {
    const [server, channel] = pair({ mute: true });
    const told = failure(call(channel));
    await server.until(() => server.connections.length === 1);
    channel.close();
    expect(await told).toBe("protocol 1: the channel was closed");
    await server.until(() => server.connections[0]?.closed === true);
  });
});

test("errors are errors: kind, code, text", async () => {
  const [, channel] = pair({ serve: (it) => (it.accept(), it.finish(5)) });
  const error = await call(channel).catch((reason: GrpcError) => reason) as GrpcError;
  expect(error).toBeInstanceOf(Error);
  expect([error.name, error.kind, error.code, error.message]).toEqual(["GrpcError", "status", 5, "NOT_FOUND"]);
});
