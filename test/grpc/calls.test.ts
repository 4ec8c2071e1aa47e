import { describe, expect, test } from "bun:test";
import type { GrpcError } from "../../src/grpc/mod.ts";
import { ErrorCode } from "../../src/http2/mod.ts";
import { bytesOf, framed, textOf } from "./bytes.ts";
import { failure, ManualClock } from "./client.ts";
import { call, fixture, IN_TIME, turns } from "./fixture.ts";
import { echo, type ServerCall } from "./server.ts";

const { pair } = await fixture();

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
      "connect 16: the call has not been sent: token file /t is empty",
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
    const clock = new ManualClock();
    const [server, channel] = pair({}, { clock });
    const told = failure(channel.unary("/t.S/M", bytesOf("x"), { timeoutMs: 300 }));
    await server.until(() => server.calls[0]?.messages.length === 1);
    clock.advance(300);
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

  test("whose time is over are not kept for a server that grants no stream", async () => {
    const [, channel] = pair({ http2: { maxConcurrentStreams: 0 } });
    const messages: WeakRef<Uint8Array>[] = [];
    for (let i = 0; i < 50; i++) {
      const message = new Uint8Array(1024);
      messages.push(new WeakRef(message));
      expect(await failure(channel.unary("/t.S/M", message, { timeoutMs: 50 }))).toStartWith("connect 4: ");
    }
    await turns();
    Bun.gc(true);
    expect(messages.filter((message) => message.deref() !== undefined).length).toBeLessThan(10);
  });
});

test("errors are errors: kind, code, text", async () => {
  const [, channel] = pair({ serve: (it) => (it.accept(), it.finish(5)) });
  const error = await call(channel).catch((reason: GrpcError) => reason) as GrpcError;
  expect(error).toBeInstanceOf(Error);
  expect([error.name, error.kind, error.code, error.message]).toEqual(["GrpcError", "status", 5, "NOT_FOUND"]);
});
