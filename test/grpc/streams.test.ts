import { describe, expect, test } from "bun:test";
import { ErrorCode } from "../../src/http2/mod.ts";
import { bytesOf, framed, joined, textOf } from "./bytes.ts";
import { Recorder } from "./client.ts";
import { call, fixture } from "./fixture.ts";
import { echo, type TestServerOptions } from "./server.ts";

const { pair } = await fixture();

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

  test("hear that they are accepted by headers that refuse nothing, once, before anything else of the server", async () => {
    const heard: string[] = [];
    class Listener extends Recorder {
      onAccepted(): void {
        heard.push(`accepted after ${this.events.length}`);
      }
    }
    const outcome = async (serve: NonNullable<TestServerOptions["serve"]>) => {
      const [server, channel] = pair({ serve });
      const seen = new Listener();
      channel.stream("/t.S/Stream", seen);
      await server.until(() => server.calls.length === 1);
      await seen.ended();
    };
    await outcome((it) => (it.accept(), it.send("m"), it.finish()));
    expect(heard).toEqual(["accepted after 1"]);
    await outcome((it) =>
      it.stream.respond([[":status", "200"], ["content-type", "application/grpc"], ["grpc-status", "16"]], true)
    );
    await outcome((it) => it.stream.respond([[":status", "503"]], true));
    expect(heard).toHaveLength(1);
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
    expect(stream.holds).toBe(true);
    for (let i = 2; i <= COUNT; i++) {
      stream.resume();
      await seen.until(() => seen.events.length > i || seen.over);
    }
    stream.resume();
    await seen.ended();
    expect(stream.holds).toBe(false);
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

  test("end when the server reads nothing of all that is sent: it is not kept for ever", async () => {
    const [server, channel] = pair({ serve: (it) => it.accept(), http2: { initialWindowSize: 1 } });
    const seen = new Recorder();
    const stream = channel.stream("/t.S/Stream", seen);
    await server.until(() => server.calls.length === 1);
    server.connections[0]?.socket.pause();
    let sent = 0;
    for (; !seen.over && sent < 64; sent++) {
      stream.send(new Uint8Array(1 << 20));
      await Promise.resolve();
    }
    expect(sent).toBeLessThan(36);
    expect(seen.events.at(-1)).toMatch(/^end protocol 8: the server does not read: 3\d{7} bytes wait for it$/);
  });
});
