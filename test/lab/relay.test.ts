/** What happens to bytes and ends of connections on their way through two proxies. */
import { expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { labSuite, sharedMesh, TEST_MS } from "./fixture.ts";
import { eventually } from "./topology/mod.ts";
import { Conversation, doubling } from "./traffic/mod.ts";

const MB = 1 << 20;
/** Connections of one round of the soak, and rounds. */
const SOAK_CONNECTIONS = 4000;
const SOAK_ROUNDS = 10;

function residentKb(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
}

function descriptors(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}

labSuite("relaying", () => {
  const shared = sharedMesh({
    pods: [
      { name: "client", node: 0, captured: true },
      { name: "server", node: 1, captured: true },
    ],
    meshed: ["client", "server"],
    configuration: (lab) => ({
      workloads: [{ pod: lab.pod("client"), hbone: true }, { pod: lab.pod("server"), hbone: true }],
    }),
  });

  const open = (port: number) => {
    const { lab } = shared();
    return Conversation.open(lab.pod("client").namespace, { ip: lab.pod("server").ip, port });
  };

  test("half-close by the client: the server still answers", async () => {
    shared().serve("server", 7001, async (conversation) => {
      const all = await conversation.readToEnd();
      conversation.write(`got ${all.length}`).finish();
    });
    const conversation = await open(7001);
    conversation.write("x".repeat(100_000)).finish();
    expect(await conversation.readToEnd()).toBe("got 100000");
  }, TEST_MS);

  test("half-close by the server: the client can still send", async () => {
    const { promise, resolve } = Promise.withResolvers<string>();
    shared().serve("server", 7002, async (conversation) => {
      conversation.write("bye").finish();
      resolve(await conversation.readToEnd());
    });
    const conversation = await open(7002);
    expect(await conversation.readToEnd()).toBe("bye");
    conversation.write("y".repeat(100_000)).finish();
    expect((await promise).length).toBe(100_000);
  }, TEST_MS);

  test("bulk both ways at once arrives whole and in order", async () => {
    const size = 24 * MB;
    const block = new Uint8Array(size);
    for (let at = 0; at < size; at++) block[at] = (at * 31 + (at >> 13)) & 0xff;
    const sum = new Bun.CryptoHasher("sha256").update(block).digest("hex");
    const { promise, resolve } = Promise.withResolvers<string>();
    shared().serve("server", 7003, async (conversation) => {
      conversation.write(block);
      resolve(new Bun.CryptoHasher("sha256").update(await conversation.readBytes(size, 60_000)).digest("hex"));
    });
    const conversation = await open(7003);
    conversation.write(block);
    const back = new Bun.CryptoHasher("sha256").update(await conversation.readBytes(size, 60_000)).digest("hex");
    expect([back, await promise]).toEqual([sum, sum]);
    conversation.close();
  }, 90_000);

  test("a slow reader stalls the sender, and memory stays bounded", async () => {
    const mesh = shared();
    const reader = Promise.withResolvers<Conversation>();
    mesh.serve("server", 7004, (conversation) => {
      conversation.pause();
      reader.resolve(conversation);
    });
    const pids = mesh.ztunnels.map((ztunnel) => ztunnel.process.pid);
    const before = pids.map(residentKb);
    const conversation = await open(7004);
    const size = 200 * MB;
    conversation.write(new Uint8Array(size));
    const slow = await reader.promise;
    // Stalled: what is left to send does not change over a while.
    let left = conversation.unsent;
    await eventually("the sender to stall", async () => {
      await Bun.sleep(500);
      const stalled = left === conversation.unsent;
      left = conversation.unsent;
      return stalled;
    }, 20_000);
    expect(size - left).toBeLessThan(80 * MB);
    const grown = pids.map((pid, index) => (residentKb(pid) - (before[index] ?? 0)) / 1024);
    for (const mb of grown) expect(mb).toBeLessThan(40);
    slow.resume();
    await slow.untilReceived(size, 60_000);
    expect(slow.received).toBe(size);
    conversation.close();
  }, 120_000);

  test("a client's reset ends the server's side", async () => {
    const ended = Promise.withResolvers<void>();
    shared().serve("server", 7005, async (conversation) => {
      conversation.write("hello");
      await conversation.readToEnd();
      ended.resolve();
    });
    const conversation = await open(7005);
    await conversation.read(5);
    conversation.close();
    await ended.promise;
  }, TEST_MS);

  test("a port where nobody listens closes the client's connection", async () => {
    const conversation = await open(7999);
    expect(await conversation.write("anyone?").readToEnd()).toBe("");
    const asked = `${shared().lab.pod("server").ip}:7999`;
    const line = await shared().ztunnel(1).accessLine(({ message, fields }) =>
      message !== "connection opened" && fields["dst.hbone_addr"] === asked
    );
    expect(line.fields["error"]).toContain("connection failed");
  }, TEST_MS);

  test(
    `${SOAK_CONNECTIONS} connections opened, used and closed ${SOAK_ROUNDS} times: descriptors and memory come back`,
    async () => {
      const mesh = shared();
      mesh.serve("server", 7006, doubling);
      const pids = mesh.ztunnels.map((ztunnel) => ztunnel.process.pid);
      const round = async () => {
        const conversations: Conversation[] = [];
        for (let opened = 0; opened < SOAK_CONNECTIONS; opened += 50) {
          conversations.push(
            ...await Promise.all(Array.from({ length: 50 }, async () => {
              const conversation = await open(7006);
              expect(await conversation.write("ab").read(4)).toBe("xxxx");
              return conversation;
            })),
          );
        }
        const held = pids.map(descriptors);
        for (const conversation of conversations) conversation.finish();
        await Promise.all(conversations.map((conversation) => conversation.untilClosed(20_000)));
        return held;
      };
      const base = pids.map(descriptors);
      const held = await round();
      for (const [index, number] of held.entries()) {
        expect(number - (base[index] ?? 0)).toBeGreaterThanOrEqual(SOAK_CONNECTIONS);
      }
      // Pooled tunnels may stay; connections may not.
      const tunnels = Math.ceil(SOAK_CONNECTIONS / 100) * 2 + 10;
      const settle = () =>
        eventually(
          "the descriptors to come back",
          () => pids.every((pid, index) => descriptors(pid) - (base[index] ?? 0) <= tunnels),
          20_000,
        );
      await settle();
      const memory: number[][] = [];
      for (let turn = 1; turn < SOAK_ROUNDS; turn++) {
        await round();
        await settle();
        memory.push(pids.map((pid) => residentKb(pid) / 1024));
      }
      // No growth once warm. What a round leaves depends on when garbage was last collected, so the least of the later
      // rounds stands beside the least of the earlier ones.
      const half = memory.length >> 1;
      const least = (rounds: readonly number[][], index: number) =>
        Math.min(...rounds.map((figures) => figures[index] ?? Infinity));
      for (const index of pids.keys()) {
        expect(least(memory.slice(half), index) - least(memory.slice(0, half), index)).toBeLessThan(15);
      }
    },
    300_000,
  );
});
