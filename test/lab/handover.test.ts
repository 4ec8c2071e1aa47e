/** A ztunnel that hands its plain relays to the one that takes its place: nothing breaks that need not. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { statSync } from "node:fs";
import process from "node:process";
import { closeFd, SeqpacketSocket } from "../../src/linux/mod.ts";
import { labSuite, type Mesh, PREPARATION_MS } from "./fixture.ts";
import { formatHandover, handoverMesh, handoverNode, PORT, restartUnderLoad, upgradeSocket } from "./handover_run.ts";
import { LAB_NAMESPACE, type PolicyDocument, total, writeConfiguration, type Ztunnel } from "./mesh/mod.ts";
import { eventually } from "./topology/mod.ts";
import { Conversation, doubling } from "./traffic/mod.ts";
import type { UpgradedNode } from "./upgrade_node.ts";

// `AMBIENT_HANDOVER_RESTARTS=200 AMBIENT_HANDOVER_RATE=1000 npm test -- lab/handover`: as long as a release is asked for.
const RESTARTS = Number(process.env["AMBIENT_HANDOVER_RESTARTS"] ?? 6);
/** New connections a second. */
const RATE = Number(process.env["AMBIENT_HANDOVER_RATE"] ?? 100);
const HELD = 10;
const STREAMS = 2;
const MS_PER_RESTART = 3_000;

labSuite("hand-over", () => {
  let mesh: Mesh;
  beforeEach(async () => {
    mesh = await handoverMesh().start();
  }, PREPARATION_MS);
  afterEach(() => mesh.close());

  const open = async (from: string, to: string) => {
    const destination = { ip: mesh.lab.pod(to).ip, port: PORT };
    const conversation = await Conversation.open(mesh.lab.pod(from).namespace, destination);
    expect(await ask(conversation)).toBe(22);
    return conversation;
  };
  const ask = async (conversation: Conversation) => (await conversation.write("hello world").read(22)).length;
  const both = () => Promise.all([open("inside", "outside"), open("outside", "inside")]);
  const serve = () => ["inside", "outside"].forEach((pod) => void mesh.serve(pod, PORT, doubling));
  /** Lines of the access log about ends. */
  const ends = ({ process: { lines } }: Ztunnel) =>
    lines.filter((line) => line.includes("\taccess\t") && line.includes("connection complete"));

  test(`${RESTARTS} restarts under load: no connection fails, new or old, and no byte is lost`, async () => {
    const plan = { restarts: RESTARTS, rate: RATE / 2, held: HELD, streams: STREAMS };
    const report = await restartUnderLoad(mesh, plan);
    const said = formatHandover(report);
    if (RESTARTS > 20) console.log(said);
    expect([report.failed, report.broken, report.corrupt], said).toEqual([[], [], []]);
    expect(report.served + report.frozen.length, said).toBe(report.begun);
    expect(report.handedOver, said).toBeGreaterThanOrEqual(RESTARTS * 2 * (HELD + STREAMS));
    expect(report.takenOver, said).toBe(report.handedOver);
    expect(Object.keys(report.ends), said).toEqual([""]);
    expect(report.statuses, said).toEqual(Array.from({ length: RESTARTS }, () => 0));
    // Nobody had to wait for the deadline.
    expect(report.slowest, said).toBeLessThan(30_000);
  }, 120_000 + RESTARTS * MS_PER_RESTART);

  test("it is opened once, closed once, and told once: by the last, with all of its bytes and time", async () => {
    serve();
    const node = await handoverNode(mesh);
    const first = node.ztunnel;
    const began = performance.now();
    const conversations = await both();
    const opened = total(await first.metrics(), "istio_tcp_connections_opened_total");
    const seen = [first];
    for (let restart = 0; restart < 2; restart++) {
      await node.upgrade();
      await node.settled();
      for (const conversation of conversations) expect(await ask(conversation)).toBe(22);
      seen.push(node.ztunnel);
    }
    const age = performance.now() - began;
    expect(opened).toBe(2);
    for (const conversation of conversations) conversation.finish();
    await eventually("both ends are told", () => Promise.resolve(ends(node.ztunnel).length === 2));
    expect(seen.slice(0, 2).map((ztunnel) => ends(ztunnel).length)).toEqual([0, 0]);
    const lines = ends(node.ztunnel);
    for (const line of lines) {
      expect(line).not.toContain("error=");
      expect(Number(/duration="(\d+)ms"/.exec(line)?.[1])).toBeGreaterThanOrEqual(Math.floor(age) - 100);
    }
    const bytes = (direction: string) => {
      const line = lines.find((text) => text.includes(`direction="${direction}"`)) ?? "";
      return [/bytes_sent=(\d+)/, /bytes_recv=(\d+)/].map((field) => Number(field.exec(line)?.[1]));
    };
    // As the reporter's own pod sees them: the client sent 11 bytes three times, and had 22 each time.
    expect([bytes("outbound"), bytes("inbound")]).toEqual([[33, 66], [66, 33]]);
    const metrics = await node.ztunnel.metrics();
    const counted = ["opened", "closed"].map((what) => total(metrics, `istio_tcp_connections_${what}_total`));
    expect(counted).toEqual([0, 2]);
    expect(total(metrics, "istio_tcp_sockets_open")).toBe(0);
    // What came before was counted where it came.
    expect(total(metrics, "istio_tcp_received_bytes_total")).toBe(2 * 11);
  }, 120_000);

  test("whoever starts when the other one is ending already takes over too", async () => {
    serve();
    const node = await handoverNode(mesh);
    const conversations = await both();
    const old = node.ztunnel;
    old.process.signal("SIGTERM");
    await old.process.line((line) => line.includes("shutdown: draining"));
    for (const conversation of conversations) expect(await ask(conversation)).toBe(22);
    await successor(node);
    expect(await old.process.exited).toBe(0);
    for (const conversation of conversations) expect(await ask(conversation)).toBe(22);
  }, 120_000);

  test("policies that come later still cut it", async () => {
    serve();
    const node = await handoverNode(mesh);
    const [outbound, inbound] = await both();
    await node.upgrade();
    await node.settled();
    const deny: PolicyDocument = {
      ...{ namespace: LAB_NAMESPACE, name: "nobody", scope: "Namespace", action: "Deny", dryRun: false },
      rules: [[[{ notPrincipals: [{ Presence: null }] }]]],
    };
    writeConfiguration(mesh.configurationPath, { ...mesh.configuration, policies: [deny] });
    expect(await inbound.readToEnd()).toBe("");
    expect(await ask(outbound)).toBe(22);
    await node.ztunnel.process.line((line) =>
      line.includes("connection complete") && line.includes("connection closed due to policy change")
    );
  }, 120_000);

  test("what is said wrongly is refused, and costs nothing", async () => {
    serve();
    const node = await handoverNode(mesh);
    const path = upgradeSocket(mesh);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    const conversations = await both();
    const { process: { lines, pid } } = node.ztunnel;
    const descriptors = () => openDescriptors(pid);
    const before = descriptors();
    const messages = [
      ["not JSON", "hello"],
      ["message.version: 2 is not 1", JSON.stringify({ version: 2, kind: "hello" })],
      ["message.kind:", JSON.stringify({ version: 1, kind: "hallo" })],
      ["a packet that is too long", " ".repeat(10_000)],
      ["1 descriptors with", JSON.stringify({ version: 1, kind: "hello" })],
    ] as const;
    for (const [index, [error, text]] of messages.entries()) {
      const socket = SeqpacketSocket.connect(path);
      socket.send(new TextEncoder().encode(text), index === messages.length - 1 ? [0] : []);
      await node.ztunnel.process.line((line) =>
        line.includes("hand-over broken off") && (index === 0 || line.includes(error))
      );
      expect(socket.receive(100).bytes.length).toBe(0); // it hung up
      socket.close();
    }
    await eventually("no descriptor is left", () => Promise.resolve(descriptors() === before));
    expect(lines.filter((line) => line.includes("hand-over broken off")).length).toBe(messages.length);
    await node.upgrade();
    await node.settled();
    for (const conversation of conversations) expect(await ask(conversation)).toBe(22);
  }, 120_000);

  test("what a successor that dies was offered goes on in the old process, or with another successor", async () => {
    serve();
    const node = await handoverNode(mesh);
    const conversations = await both();
    const old = node.ztunnel;
    const hello = new TextEncoder().encode(JSON.stringify({ version: 1, kind: "hello" }));
    const dying = SeqpacketSocket.connect(upgradeSocket(mesh));
    dying.send(hello);
    old.process.signal("SIGTERM");
    const offers = [dying.receive(10_000), dying.receive(10_000)];
    expect(offers.map(({ fds }) => fds.length)).toEqual([2, 2]);
    // They stand still: nobody reads the question.
    for (const conversation of conversations) conversation.write("hello world");
    for (const { fds } of offers) fds.forEach(closeFd);
    dying.close();
    for (const conversation of conversations) expect((await conversation.read(22)).length).toBe(22);
    await successor(node);
    expect(await old.process.exited).toBe(0);
    for (const conversation of conversations) expect(await ask(conversation)).toBe(22);
  }, 120_000);

  test(
    "a successor that hangs holds what it was offered for a moment only, and has none of it when it wakes up",
    async () => {
      serve();
      const node = await handoverNode(mesh);
      const conversations = await both();
      const old = node.ztunnel;
      const hung = SeqpacketSocket.connect(upgradeSocket(mesh));
      hung.send(new TextEncoder().encode(JSON.stringify({ version: 1, kind: "hello" })));
      old.process.signal("SIGTERM");
      const offers = [hung.receive(10_000), hung.receive(10_000)];
      for (const conversation of conversations) conversation.write("hello world");
      for (const conversation of conversations) expect((await conversation.read(22)).length).toBe(22);
      const taken = new TextEncoder().encode(JSON.stringify({ version: 1, kind: "taken", id: 0 }));
      expect(() => hung.send(taken)).toThrow("EPIPE");
      await successor(node);
      expect(await old.process.exited).toBe(0);
      for (const conversation of conversations) expect(await ask(conversation)).toBe(22);
      for (const { fds } of offers) fds.forEach(closeFd);
      hung.close();
    },
    120_000,
  );

  test("a ztunnel that wakes up too late to take over leaves the old one what that goes on with", async () => {
    serve();
    const node = await handoverNode(mesh);
    const conversations = await both();
    const old = node.ztunnel;
    const { ztunnel } = node.spawn();
    mesh.onClose(async () => void (await ztunnel.process.stop("SIGKILL")));
    await ztunnel.untilReady(30_000);
    ztunnel.process.signal("SIGSTOP");
    old.process.signal("SIGTERM");
    await old.process.line((line) => line.includes("shutdown: draining"));
    for (const conversation of conversations) expect(await ask(conversation)).toBe(22);
    await old.process.line((line) => line.includes("no answer for"));
    ztunnel.process.signal("SIGCONT");
    const gone = await ztunnel.process.line((line) => line.includes("the process before has gone"));
    expect(gone).toContain("connections=0");
    for (const conversation of conversations) expect(await ask(conversation)).toBe(22);
    for (const conversation of conversations) conversation.finish();
    expect(await old.process.exited).toBe(0);
    expect([ends(old).length, ends(ztunnel).length]).toEqual([2, 0]);
  }, 120_000);
});

/** Starts the node's next process beside the one that is ending. */
async function successor(node: UpgradedNode): Promise<void> {
  const { ztunnel } = node.spawn();
  await ztunnel.untilReady(30_000);
  node.reinstate(ztunnel);
}

function openDescriptors(pid: number): number {
  return [...new Bun.Glob("*").scanSync({ cwd: `/proc/${pid}/fd`, onlyFiles: false })].length;
}
