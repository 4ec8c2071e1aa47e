/** Two ztunnels on a node at a time, as during a rolling update: nothing new fails, and what is old lives on until its deadline. */
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "bun:test";
import { join } from "node:path";
import { labSuite, type Mesh, PREPARATION_MS } from "./fixture.ts";
import { LAB_NAMESPACE, READINESS_PORT } from "./mesh/mod.ts";
import { eventually } from "./topology/mod.ts";
import { Conversation, doubling } from "./traffic/mod.ts";
import { tally } from "./upgrade_load.ts";
import type { UpgradedNode } from "./upgrade_node.ts";
import { formatReport, PORT, rollingUpgrades, startLoad, upgradedNodes, upgradeMesh } from "./upgrade_run.ts";

const RESTARTS = 6;
/** Longer than a new connection takes on a busy machine, ms. */
const PATIENT_MS = 3_000;
/** Long enough for what has to happen before a process goes, ms. */
const LEAVING_MS = 6_000;
const LOAD = { rate: 100, questions: 30, held: 10 };

labSuite("rolling updates", () => {
  let mesh: Mesh;
  beforeAll(async () => {
    mesh = await upgradeMesh().start();
  }, PREPARATION_MS);
  afterAll(() => mesh.close());

  test(`${RESTARTS} restarts under load: no new connection fails, no question stays without an answer`, async () => {
    const report = await rollingUpgrades(mesh, { ...LOAD, restarts: RESTARTS, deadlineMs: PATIENT_MS });
    const said = formatReport(report);
    expect(report.failed, said).toEqual([]);
    expect(report.unanswered, said).toEqual([]);
    expect(report.served + report.slow.length, said).toBe(report.begun);
    expect(report.served, said).toBeGreaterThan(RESTARTS * 10);
    // Old connections break where a process has waited for them in vain, and nowhere else.
    expect(report.broken.length, said).toBeGreaterThan(0);
    expect(report.unexplained, said).toEqual([]);
    expect(Object.keys(report.ends).sort(), said).toEqual(["", "connection closed due to connection drain"]);
    expect(report.statuses, said).toEqual(Array.from({ length: RESTARTS }, () => 0));
    expect(report.leftAfter[0], said).toBeGreaterThan(PATIENT_MS - 100);
  }, 120_000);
});

labSuite("an upgrade that does not go well", () => {
  let mesh: Mesh;
  let client: UpgradedNode, server: UpgradedNode;
  beforeEach(async () => {
    mesh = await upgradeMesh().start();
    [client, server] = await upgradedNodes(mesh, LEAVING_MS);
  }, PREPARATION_MS);
  afterEach(() => mesh.close());

  const open = async (from = "client", to = "server") => {
    const conversation = await Conversation.open(mesh.lab.pod(from).namespace, { ip: mesh.lab.pod(to).ip, port: PORT });
    expect(await conversation.write("hello world").read(22)).toBe("x".repeat(22));
    return conversation;
  };

  test("an old process that stalls holds up nobody: all that is new is the newer one's", async () => {
    const load = startLoad(mesh, { ...LOAD, held: 0 });
    // In this order: tunnels that a client has made go on where they lead, and its new process has none yet.
    const old = [await server.begin(), await client.begin()];
    await eventually("some connections of before", () => Promise.resolve(load.served > 20));
    for (const ztunnel of old) ztunnel?.process.signal("SIGSTOP");
    const since = performance.now();
    const before = load.served;
    await eventually("connections meanwhile", () => Promise.resolve(load.served > before + 100));
    await eventually("answers meanwhile", () => Promise.resolve(load.answered > 30));
    await load.stop();
    for (const ztunnel of old) await ztunnel?.process.stop("SIGKILL");
    // What runs through a process when it stalls waits for it.
    const late = [...load.failed, ...load.unanswered].filter(({ at, age }) => at - age > since);
    expect(tally(late)).toEqual({});
  }, 120_000);

  test("a new process that is killed leaves everything to the old one", async () => {
    const load = startLoad(mesh, LOAD);
    const [first, second] = [client.ztunnel, server.ztunnel];
    await Promise.all([client.begin(), server.begin()]);
    await eventually("connections through the new ones", () => Promise.resolve(load.served > 20));
    await Promise.all([client.ztunnel, server.ztunnel].map(({ process }) => process.stop("SIGKILL")));
    client.reinstate(first);
    server.reinstate(second);
    const since = performance.now();
    const before = load.served;
    await eventually("connections through the old ones", () => Promise.resolve(load.served > before + 100));
    await load.stop();
    const late = [...load.failed, ...load.unanswered].filter(({ at, age }) => at - age > since);
    expect(tally(late)).toEqual({});
    expect(first.process.exitCode).toBeUndefined();
  }, 120_000);

  test(
    "pods come and go in the middle of it; a second SIGTERM cuts nothing short; the end says who held it up",
    async () => {
      mesh.serve("server", PORT, doubling);
      mesh.serve("late", PORT, doubling);
      const agent = mesh.agent(1);
      const late = mesh.cniPod(mesh.lab.pod("late"));
      const held = await open();
      const old = await server.begin();
      if (old === undefined) throw new Error("there was no process before");
      await agent.add(late); // the newer one hears of it
      const toLate = await open("client", "late");
      old.process.signal("SIGTERM");
      const asked = performance.now();
      await eventually("one session", () => Promise.resolve(agent.sessions.length === 1));
      old.process.signal("SIGTERM");
      for (let i = 0; i < 10; i++) (await open()).close();
      expect(await held.write("hello world").read(22)).toBe("x".repeat(22));
      await agent.remove(late.uid);
      expect(await toLate.readToEnd()).toBe("");
      await agent.add(late);
      (await open("client", "late")).close();
      expect(await old.process.exited).toBe(0);
      expect(performance.now() - asked).toBeGreaterThan(LEAVING_MS - 100);
      expect(await held.readToEnd()).toBe("");
      const last = old.process.lines.find((line) => line.includes("forcefully shutting down")) ?? "";
      const [from, to] = [mesh.lab.pod("client").ip, mesh.lab.pod("server").ip];
      expect(last).toContain("connections=1");
      expect(last).toContain(`${LAB_NAMESPACE}/server: 1`);
      expect(last).toContain(`${LAB_NAMESPACE}/server inbound HBONE ${from}:`);
      expect(last).toContain(`(${LAB_NAMESPACE}/client) -> `);
      expect(last).toContain(`${to}:${PORT} (${LAB_NAMESPACE}/server) since 20`);
      expect(agent.errors).toEqual([]);
    },
    120_000,
  );

  test("a new process that gets no certificates takes nothing over, and is not ready", async () => {
    const load = startLoad(mesh, { ...LOAD, held: 5 });
    const { ztunnel } = server.spawn({
      CA_ADDRESS: "https://127.0.0.1:1",
      CA_ROOT_CA: join(mesh.caDirectory, "root.pem"),
      AUTH_TOKEN: "fake",
    });
    try {
      await eventually("a refusal", () => Promise.resolve(mesh.agent(1).errors.length > 0), 30_000);
      expect(mesh.agent(1).errors[0]?.message).toContain("another process serves this pod");
      expect((await ztunnel.ask(READINESS_PORT, "/healthz/ready")).body).toContain("workload proxy manager");
      const before = load.served;
      await eventually("connections through the old one", () => Promise.resolve(load.served > before + 50));
    } finally {
      await ztunnel.process.stop("SIGKILL");
    }
    await load.stop();
    expect([tally(load.failed), tally(load.unanswered), tally(load.broken)]).toEqual([{}, {}, {}]);
  }, 120_000);
});
