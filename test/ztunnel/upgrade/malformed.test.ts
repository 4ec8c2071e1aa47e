/** What a process does that is told or given something wrong by the other one: it loses nothing, and says what was wrong. */
import { afterEach, describe, expect, test } from "bun:test";
import { rmSync } from "node:fs";
import { closeFd, memoryFile, openFdCount, SeqpacketListener, SeqpacketSocket } from "../../../src/linux/mod.ts";
import type { Connection } from "../../../src/ztunnel/connection.ts";
import { encodeMessage, MAX_PACKET, parseMessage, type UpgradeMessage } from "../../../src/ztunnel/upgrade/messages.ts";
import type { UpgradeOptions } from "../../../src/ztunnel/upgrade/upgrade.ts";
import { seeded } from "../../mesh/random_mesh.ts";
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

test("an answer that comes after a broken message, when the link is being closed, still counts", async () => {
  const path = socketPath();
  const connections = [new Offered(), new Offered()];
  leaving(path, connections);
  const socket = successor(path);
  await next(socket);
  await next(socket);
  socket.send(new TextEncoder().encode("what?"), [0, 1]);
  say(socket, { kind: "taken", id: 1 });
  await until(() => connections.every(({ fate }) => fate !== undefined));
  expect(connections.map(({ fate }) => fate)).toEqual(["kept", "released"]);
});

describe("an offer that is malformed in its descriptors or answers", () => {
  const { suspension: _, keep: __, release: ___, ...relay } = new Offered().suspend();
  const pod = { uid: "pod", namespace: { device: 1n, inode: 1n } };

  /** The answer of a process that is offered one relay with these descriptors; all is closed then. */
  async function answer(
    continueRelay: UpgradeOptions["continueRelay"],
    unsent: number,
    third: (socket: number) => readonly number[] = () => [],
  ): Promise<UpgradeMessage | string> {
    const path = socketPath();
    const listener = new SeqpacketListener(path);
    const echo = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
    const client = await Bun.connect({ hostname: "127.0.0.1", port: echo.port, socket: { data() {} } });
    cleanups.push(() => client.terminate(), () => echo.stop(true), () => listener.close());
    upgrade(path, { continueRelay }).made.start();
    const old = listener.accept();
    cleanups.push(() => old.close());
    expect(parseMessage(old.receive(10_000).bytes)).toEqual({ kind: "hello" });
    const before = openFdCount();
    const there = address(echo.port);
    const facts = { ...relay, source: there, dialled: there, age: 0, unsentUp: unsent };
    const { fd } = client as unknown as { fd: number };
    old.send(encodeMessage({ kind: "relay", id: 7, pod, relay: facts }), [fd, fd, ...third(fd)]);
    let packet = old.poll(10_000);
    for (; packet === undefined; packet = old.poll(10_000)) await Bun.sleep(1);
    await until(() => openFdCount() === before);
    return parseMessage(packet.bytes);
  }

  test("a file that is a socket", async () => {
    const reason = expect.stringContaining("ESPIPE");
    expect(await answer(() => () => {}, 5, (socket) => [socket])).toEqual({ kind: "refused", id: 7, reason });
  });

  test("a file that is shorter than was said", async () => {
    const file = memoryFile([new Uint8Array(4)]);
    const reason = "not all of the unsent bytes are there";
    expect(await answer(() => () => {}, 5, () => [file])).toEqual({ kind: "refused", id: 7, reason });
    closeFd(file);
  });

  test("a refusal that is too long for a packet", async () => {
    const reason = "\u0001".repeat(1_000);
    expect(await answer(() => `${reason}${reason}`, 0)).toEqual({ kind: "refused", id: 7, reason });
  });

  test("a relay with which it cannot go on after all", async () => {
    const fails = () => () => {
      throw new Error("a bug");
    };
    expect(await answer(fails, 0)).toEqual({ kind: "taken", id: 7 });
  });
});

test("whatever is said, no descriptor is left and the next one is heard", async () => {
  const random = seeded(6);
  const pick = (below: number) => Math.floor(random() * below);
  const { suspension: _, keep: __, release: ___, ...relay } = new Offered().suspend();
  const offer: UpgradeMessage = {
    ...{ kind: "relay", id: 1, pod: { uid: "pod", namespace: { device: 1n, inode: 1n } } },
    relay: { ...relay, age: 0, unsentUp: 3 },
  };
  const messages = [
    { kind: "hello" },
    { kind: "taken", id: 0 },
    { kind: "refused", id: 1, reason: "no" },
    offer,
  ] as const;
  const broken = (): Uint8Array => {
    const bytes = Uint8Array.from(encodeMessage(messages[pick(messages.length)] as UpgradeMessage));
    const at = pick(bytes.length);
    if (pick(4) === 0) return bytes.subarray(0, at + 1);
    if (pick(8) === 0) return new Uint8Array(MAX_PACKET + 1).fill(0x20);
    for (let changes = pick(4); changes > 0; changes--) bytes[pick(bytes.length)] = pick(256);
    return bytes;
  };
  const file = memoryFile([new Uint8Array(3)]);
  const before = openFdCount();

  const path = socketPath();
  const connections = Array.from({ length: 3 }, () => new Offered());
  const old = leaving(path, connections);
  const own = openFdCount();
  const babble = (socket: SeqpacketSocket) => {
    for (let count = 1 + pick(5); count > 0; count--) {
      try {
        socket.send(broken(), Array.from({ length: pick(6) }, () => [file, socket.fd, 0][pick(3)] as number));
      } catch (error) {
        expect(`${error}`).toMatch(/EPIPE|ECONNRESET/); // it has hung up
        return;
      }
    }
  };
  // To one that ends, before and while it gives.
  for (let round = 0; round < 300; round++) {
    const socket = SeqpacketSocket.connect(path);
    if (pick(2) === 0) socket.send(encodeMessage({ kind: "hello" }));
    babble(socket);
    await Bun.sleep(0);
    babble(socket);
    socket.close();
  }
  await until(() => openFdCount() === own);
  const late = new Offered();
  await until(() => connections.every(({ fate }) => fate !== undefined));
  const socket = successor(path);
  await until(() => old.tracker.relayed !== undefined);
  old.tracker.relayed?.(late as unknown as Connection);
  for (let offers = connections.length + 1; offers > 0; offers--) {
    say(socket, { kind: "taken", id: (await next(socket)).message.id });
  }
  await until(() => late.fate !== undefined);
  expect(late.fate).toBe("released");
  socket.shutdown();
  old.made.close();

  // To one that has begun.
  const place = socketPath();
  for (let round = 0; round < 300; round++) {
    const listener = new SeqpacketListener(place);
    const { made } = upgrade(place);
    made.start();
    const giver = listener.accept();
    babble(giver);
    await Bun.sleep(0);
    made.close();
    giver.close();
    listener.close();
    rmSync(place);
  }
  cleanUp();
  await until(() => openFdCount() <= before);
  closeFd(file);
});
