/** However connections end, each is counted and told once, with the same bytes in metrics and access log (spec/ztunnel.md §10). */
import { expect, test } from "bun:test";
import { labSuite, sharedMesh } from "./fixture.ts";
import { LAB_NAMESPACE, total, type Ztunnel } from "./mesh/mod.ts";
import { eventually } from "./topology/mod.ts";
import { Conversation, doubling } from "./traffic/mod.ts";

const OPEN = 8080;
const DENIED = 9090;
/** Nobody listens there. */
const DEAD = 7070;
const VIP = "10.96.0.10";
const ROUNDS = 12;
const AT_ONCE = 30;

function denial(match: Readonly<Record<string, unknown>>) {
  const rules = [[[match]]];
  return { name: "denial", namespace: LAB_NAMESPACE, scope: "Namespace", action: "Deny", rules, dryRun: false };
}

/** What clients do with a connection that may be refused at any time. */
const HABITS: readonly ((conversation: Conversation) => Promise<unknown>)[] = [
  (conversation) => conversation.write("hello").finish().readToEnd(),
  (conversation) => conversation.finish().readToEnd(),
  (conversation) => conversation.write("y".repeat(300_000)).read(600_000),
  (conversation) => Promise.resolve(conversation.socket.terminate()),
  (conversation) => Promise.resolve(conversation.write("hello").socket.terminate()),
  async (conversation) => {
    await conversation.write("x".repeat(100_000)).untilReceived(1000);
    conversation.socket.terminate();
  },
];

labSuite("endings", () => {
  const shared = sharedMesh({
    pods: [
      { name: "client", node: 0, captured: true },
      { name: "outsider", node: 0, captured: false },
      { name: "server", node: 1, captured: true },
      { name: "other", node: 1, captured: true },
    ],
    meshed: ["client", "server", "other"],
    configuration: (lab) => ({
      workloads: [
        { pod: lab.pod("client"), hbone: true },
        { pod: lab.pod("outsider"), hbone: false },
        { pod: lab.pod("server"), hbone: true, services: { server: { 80: OPEN, 90: DENIED, 70: DEAD } } },
        { pod: lab.pod("other"), hbone: true, services: { server: { 80: OPEN, 70: DEAD } } },
      ],
      services: [{ name: "server", vip: VIP, ports: { 80: OPEN, 90: DENIED, 70: DEAD } }],
      policies: [denial({ destinationPorts: [DENIED] })],
    }),
  }, (mesh) => {
    for (const pod of ["server", "other"]) for (const port of [OPEN, DENIED]) mesh.serve(pod, port, doubling);
  });

  const open = (from: string, ip: string, port: number) =>
    Conversation.open(shared().lab.pod(from).namespace, { ip, port });

  async function behave(turn: number): Promise<void> {
    const { lab } = shared();
    const server = lab.pod("server").ip;
    const ports: readonly [ip: string, port: number][] = [
      ...[OPEN, DENIED, DEAD, 15008].map((port): [string, number] => [server, port]),
      ...[80, 90, 70, 71].map((port): [string, number] => [VIP, port]),
      [lab.pod("outsider").ip, 1],
    ];
    const [ip, port] = ports[turn % ports.length]!;
    const conversation = await open(turn % 5 === 0 && ip === server ? "outsider" : "client", ip, port)
      .catch(() => undefined);
    if (conversation === undefined) return;
    await HABITS[Math.floor(turn / ports.length) % HABITS.length]!(conversation).catch(() => undefined);
    conversation.close();
  }

  /** Connections that are still there when the policy, or their pod's end, cuts them. */
  const hold = (pod: string) =>
    Promise.all(Array.from({ length: 5 }, async () => {
      const conversation = await open("client", shared().lab.pod(pod).ip, OPEN);
      await conversation.write("a").read(2);
      return conversation;
    }));

  async function check(ztunnel: Ztunnel): Promise<void> {
    const name = (what: string) => `istio_tcp_${what}_total`;
    await eventually("all connections ended", async () => {
      const metrics = await ztunnel.metrics();
      return total(metrics, name("connections_opened")) === total(metrics, name("connections_closed")) &&
        total(metrics, "istio_tcp_sockets_open", { reporter: "source" }) === 0;
    });
    const metrics = await ztunnel.metrics();
    const closed = total(metrics, name("connections_closed"));
    const well = total(metrics, name("connections_closed"), { response_flags: "-" });
    expect(total(metrics, name("connections_failed"))).toBe(closed - well);
    const lines = (wanted: string) => ztunnel.access.filter(({ message }) => message === wanted);
    const told = () => lines("connection complete").length + lines("connection retried").length;
    await eventually("all lines", () => Promise.resolve(told() >= closed));
    expect(told()).toBe(closed);
    const complete = lines("connection complete");
    expect(total(metrics, "ambient_held_connections")).toBe(0);
    for (
      const [reporter, direction, received, sent] of [
        ["source", "outbound", "bytes_sent", "bytes_recv"],
        ["destination", "inbound", "bytes_recv", "bytes_sent"],
      ] as const
    ) {
      const sum = (field: string) =>
        complete.reduce((all, { fields }) => all + (fields["direction"] === direction ? Number(fields[field]) : 0), 0);
      const counted = (what: string) => total(metrics, name(what), { reporter });
      expect([counted("received_bytes"), counted("sent_bytes")]).toEqual([sum(received), sum(sent)]);
    }
  }

  test("each is counted and told once, with the same bytes", async () => {
    const mesh = shared();
    for (let round = 0; round < ROUNDS; round++) {
      await Promise.all(Array.from({ length: AT_ONCE }, (_, i) => behave(round * AT_ONCE + i)));
    }
    const [denied, deserted] = [await hold("server"), await hold("other")];
    await mesh.configure({ policies: [denial({ destinationIps: [`${mesh.lab.pod("server").ip}/32`] })] });
    for (const conversation of denied) expect(await conversation.readToEnd()).toBe("");
    await mesh.agent(1).remove(mesh.cniPod(mesh.lab.pod("other")).uid);
    for (const conversation of deserted) expect(await conversation.readToEnd()).toBe("");
    for (const conversation of [...denied, ...deserted]) conversation.close();
    for (const node of [0, 1]) await check(mesh.ztunnel(node));
    const flags = await mesh.ztunnel(1).metrics();
    for (const flag of ["-", "DENY", "CONNECT"]) {
      expect(total(flags, "istio_tcp_connections_closed_total", { response_flags: flag })).toBeGreaterThan(5);
    }
  }, 120_000);
});
