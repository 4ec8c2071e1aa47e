import { describe, expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { ErrorCode } from "../../src/http2/mod.ts";
import { textOf } from "./bytes.ts";
import { failure, Recorder } from "./client.ts";
import { call, fixture, turns, until } from "./fixture.ts";
import { echo } from "./server.ts";

const { pair, roots } = await fixture();
const descriptors = () => readdirSync("/proc/self/fd").length;

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

  test("with a reason and then without one ends its calls with the reason", async () => {
    const [server, channel] = pair({});
    const seen = new Recorder();
    channel.stream("/t.S/Stream", seen);
    await server.until(() => server.calls.length === 1);
    const { socket } = server.connections[0]!;
    const goaway = (code: number) => socket.write(Uint8Array.of(0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, code));
    goaway(ErrorCode.ENHANCE_YOUR_CALM);
    goaway(ErrorCode.NO_ERROR);
    socket.end();
    await seen.ended();
    expect(seen.events.at(-1)).toMatch(/the server is going away \(GOAWAY ENHANCE_YOUR_CALM\)$/);
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

  test("for breaking HTTP/2 goes also where the server does not read our last words", async () => {
    const [server, channel] = pair({
      serve: (it) => it.accept(),
      http2: { initialWindowSize: 1 << 28, connectionWindowSize: 1 << 28 },
    });
    const seen = new Recorder();
    const stream = channel.stream("/t.S/Stream", seen);
    await server.until(() => server.calls.length === 1);
    const { socket } = server.connections[0]!;
    socket.pause();
    for (let i = 0; i < 24; i++) stream.send(new Uint8Array(1 << 20)); // more than sockets hold
    await turns();
    const open = descriptors();
    socket.write(Uint8Array.of(0, 0, 1, 0, 0, 0, 0, 0, 0, 0)); // DATA on stream 0
    await seen.ended();
    await until(() => descriptors() < open);
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
