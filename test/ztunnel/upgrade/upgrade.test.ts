/** Two processes' ends of an upgrade in one: what they do with connections, descriptors and each other's end. */
import { afterEach, expect, test } from "bun:test";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import process from "node:process";
import { openFdCount, ownNamespace, SeqpacketListener, SeqpacketSocket } from "../../../src/linux/mod.ts";
import type { Connection } from "../../../src/ztunnel/connection.ts";
import { ConnectionTracker } from "../../../src/ztunnel/tracker.ts";
import { Link } from "../../../src/ztunnel/upgrade/link.ts";
import { encodeMessage } from "../../../src/ztunnel/upgrade/messages.ts";
import {
  address,
  cleanUp,
  cleanups,
  leaving,
  next,
  Offered,
  say,
  socketPath,
  successor,
  until,
  upgrade,
} from "./fixtures.ts";

afterEach(cleanUp);

test("taken is released, refused is kept, unanswered is kept when the other one goes", async () => {
  const path = socketPath();
  const connections = [new Offered(), new Offered(), new Offered()];
  const { lines } = leaving(path, connections);
  const socket = successor(path);
  const offers = [await next(socket), await next(socket), await next(socket)];
  expect(offers.map(({ message, fds }) => [message.id, message.relay.age, fds.length])).toEqual([[0, 0, 2], [1, 0, 2], [
    2,
    0,
    2,
  ]]);
  say(socket, { kind: "taken", id: 0 });
  say(socket, { kind: "refused", id: 1, reason: "who is that" });
  say(socket, { kind: "taken", id: 99 });
  await until(() => connections[1]?.fate !== undefined);
  expect(connections.map(({ fate }) => fate)).toEqual(["released", "kept", undefined]);
  say(socket, { kind: "taken", id: 0 });
  socket.shutdown();
  await until(() => connections[2]?.fate !== undefined);
  expect(connections.map(({ fate }) => fate)).toEqual(["released", "kept", "kept"]);
  expect(lines().join("\n")).not.toContain("broken off");
});

test("what was taken before the other one went is taken", async () => {
  const path = socketPath();
  const connections = [new Offered(), new Offered()];
  leaving(path, connections);
  const socket = successor(path);
  await next(socket);
  await next(socket);
  say(socket, { kind: "taken", id: 1 });
  socket.shutdown();
  await until(() => connections.every(({ fate }) => fate !== undefined));
  expect(connections.map(({ fate }) => fate)).toEqual(["kept", "released"]);
});

test("so it is when this one ends without having heard of it; the other one cannot take more then", async () => {
  const path = socketPath();
  const connections = [new Offered(), new Offered()];
  const { made } = leaving(path, connections);
  const socket = successor(path);
  await next(socket);
  await next(socket);
  say(socket, { kind: "taken", id: 1 });
  made.close(); // in the same turn: nothing was read of it
  expect(connections.map(({ fate }) => fate)).toEqual(["kept", "released"]);
  expect(() => say(socket, { kind: "taken", id: 0 })).toThrow("EPIPE");
});

test("a successor that falls silent is left: what it took is its, the rest goes on here or with another one", async () => {
  const path = socketPath();
  const connections = [new Offered(), new Offered(), new Offered()];
  const { lines } = leaving(path, connections, 200);
  const socket = successor(path);
  await next(socket);
  const before = openFdCount();
  await next(socket);
  say(socket, { kind: "taken", id: 1 });
  await until(() => connections.every(({ fate }) => fate !== undefined));
  expect(connections.map(({ fate }) => fate)).toEqual(["kept", "released", "kept"]);
  // It wakes up: an offer with its descriptors is there still, and it cannot say that it takes it.
  expect((await next(socket)).fds.length).toBe(2);
  expect(() => say(socket, { kind: "taken", id: 0 })).toThrow("EPIPE");
  const said = lines().join("\n");
  expect(said).toMatch(/hand-over broken off.*no answer for 200 ms/);
  expect(said).toMatch(/connections handed over.*connections=1 refused="not answered \(2\)"/);
  expect(openFdCount()).toBe(before - 1); // our end of the link
});

test("an answer that is there when time is up counts, and gives the next ones their time", async () => {
  const path = socketPath();
  const connections = [new Offered(), new Offered()];
  leaving(path, connections, 300);
  const socket = successor(path);
  await next(socket);
  await next(socket);
  await Bun.sleep(5);
  say(socket, { kind: "taken", id: 0 });
  // This process stands still for longer than it would wait.
  for (const began = performance.now(); performance.now() - began < 400;);
  await until(() => connections[0]?.fate === "released");
  expect(connections[1]?.fate).toBeUndefined();
  say(socket, { kind: "taken", id: 1 });
  await until(() => connections[1]?.fate !== undefined);
  expect(connections[1]?.fate).toBe("released");
});

test("who wakes up when the link is closed uses none of the descriptors that wait there", async () => {
  const path = socketPath();
  const listener = new SeqpacketListener(path);
  const echo = Bun.listen({
    ...{ hostname: "127.0.0.1", port: 0 },
    socket: { data: (socket, bytes) => void socket.write(bytes) },
  });
  cleanups.push(() => echo.stop(true), () => listener.close());
  const heard = Promise.withResolvers<string>();
  const to = { hostname: "127.0.0.1", port: echo.port };
  const client = await Bun.connect({ ...to, socket: { data: (_, bytes) => heard.resolve(`${bytes}`) } });
  const asked: string[] = [];
  const { made, lines } = upgrade(path, {
    continueRelay: (uid) => {
      asked.push(uid);
      return () => asked.push("went on");
    },
  });
  made.start();
  const old = listener.accept();
  const { suspension: _, keep: __, release: ___, ...relay } = new Offered().suspend();
  const there = address(echo.port);
  const facts = { ...relay, source: there, dialled: there, age: 0 };
  const { fd } = client as unknown as { fd: number };
  const before = openFdCount();
  for (const id of [0, 1]) {
    const pod = { uid: `pod-${id}`, namespace: { device: 1n, inode: 1n } };
    old.send(encodeMessage({ kind: "relay", id, pod, relay: facts }), [fd, fd]);
  }
  old.shutdown(); // the old process waited long enough, before this one's turn came
  old.close();
  let said = "";
  await until(() => (said += lines().join("\n")).includes("the process before has gone"));
  expect(asked).toEqual(["pod-0", "pod-1"]);
  expect(said).toContain("connections=0");
  expect(openFdCount()).toBe(before - 2); // both ends of the link
  client.write("hello");
  expect(await heard.promise).toBe("hello");
  client.terminate();
});

test("a few at a time, those that begin later too, and no descriptor is left", async () => {
  const path = socketPath();
  const connections = Array.from({ length: 100 }, () => new Offered());
  const { tracker } = leaving(path, connections);
  const socket = successor(path);
  const late = new Offered();
  let before = 0;
  for (let id = 0; id < 100; id++) {
    expect((await next(socket)).message.id).toBe(id);
    if (id === 0) before = openFdCount();
    if (id === 15) expect(socket.poll(10)).toBeUndefined();
    if (id >= 15) say(socket, { kind: "taken", id: id - 15 });
  }
  for (let id = 85; id < 100; id++) say(socket, { kind: "taken", id });
  await until(() => connections.every(({ fate }) => fate === "released"));
  tracker.relayed?.(late as unknown as Connection);
  expect((await next(socket)).message.id).toBe(100);
  expect(openFdCount()).toBe(before);
});

test("what cannot be offered is kept: no message is long enough, no file can be made", async () => {
  const path = socketPath();
  const connections = [new Offered({ workload: "x".repeat(10_000) }), new Offered()];
  const { lines } = leaving(path, connections);
  const socket = successor(path);
  expect((await next(socket)).message.id).toBe(1);
  say(socket, { kind: "taken", id: 1 });
  await until(() => connections[1]?.fate === "released");
  expect(connections[0]?.fate).toBe("kept");
  expect(lines().at(-1)).toContain("upgrade: a message of 10");
});

test("the newest that said hello is the successor, and the one before when that goes", async () => {
  const path = socketPath();
  const { made } = upgrade(path);
  made.start();
  const silent = SeqpacketSocket.connect(path);
  const [first, second] = [successor(path), successor(path)];
  await Bun.sleep(5);
  const connection = new Offered();
  const tracker = new ConnectionTracker(undefined);
  tracker.add(connection as unknown as Connection);
  made.handOver([{ uid: "pod", namespace: ownNamespace(), tracker }]);
  expect((await next(second)).message.kind).toBe("relay");
  second.shutdown();
  expect((await next(first)).message.kind).toBe("relay");
  expect(silent.poll(10)).toBeUndefined();
  silent.close();
});

test("a process answers offers of the one before it only, and takes the place of its socket", async () => {
  const path = socketPath();
  const connection = new Offered();
  const old = upgrade(path);
  old.made.start();
  const inode = statSync(path).ino;
  expect(statSync(path).mode & 0o777).toBe(0o600);
  const young = upgrade(path);
  young.made.start();
  expect(statSync(path).ino).not.toBe(inode);
  const tracker = new ConnectionTracker(undefined);
  tracker.add(connection as unknown as Connection);
  const connected = openFdCount();
  await until(() => openFdCount() === connected + 1);
  const before = openFdCount();
  old.made.handOver([{ uid: "pod", namespace: ownNamespace(), tracker }]);
  // Descriptors 0 and 1 of this process are no sockets that anybody is connected to.
  await until(() => connection.fate === "kept");
  expect(openFdCount()).toBe(before);

  const stranger = SeqpacketSocket.connect(path);
  const { suspension: _, keep: __, release: ___, ...relay } = connection.suspend();
  const pod = { uid: "pod", namespace: { device: 1n, inode: 1n } };
  stranger.send(encodeMessage({ kind: "relay", id: 1, pod, relay: { ...relay, age: 0 } }), [0, 1]);
  await Bun.sleep(5);
  expect(stranger.poll(10)).toBeUndefined();
  stranger.close();
  await until(() => openFdCount() === before);
});

test("where there can be no socket, or somebody else's file is, there is no hand-over, and it is said", () => {
  const path = socketPath();
  const nowhere = upgrade(`${path}/deeper`);
  nowhere.made.start();
  expect(nowhere.lines().join("\n")).toMatch(/no hand-over to the next process.*bind\(.*\): ENOENT/);
  writeFileSync(path, "a file");
  const file = upgrade(path);
  file.made.start();
  expect(file.lines().join("\n")).toContain("/socket is no socket");
  expect(readFileSync(path, "utf8")).toBe("a file");
});

test("another user's process is nobody to talk to", () => {
  const path = socketPath();
  const listener = new SeqpacketListener(path);
  cleanups.push(() => listener.close());
  const socket = SeqpacketSocket.connect(path);
  const before = openFdCount();
  const user = process.getuid?.() ?? -1;
  expect(() => new Link(socket, user + 1, { received() {}, lost() {} })).toThrow(`is of user ${user}, not ${user + 1}`);
  expect(openFdCount()).toBe(before - 1);
});
