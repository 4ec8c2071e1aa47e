/** The CNI agent comes, goes and comes back (spec/ztunnel.md §2.2, §2.3): what runs goes on, and its next snapshot decides. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { rmSync } from "node:fs";
import { type CniPod, CniStandIn } from "./cni/mod.ts";
import { labSuite, Mesh, PREPARATION_MS } from "./fixture.ts";
import { READINESS_PORT, total } from "./mesh/mod.ts";
import { eventually } from "./topology/mod.ts";
import { Conversation, doubling, PodServer } from "./traffic/mod.ts";

const PORT = 8080;
const NODE = 1;
const NAMES = ["client", "server", "other", "late"] as const;

labSuite("the agent comes back", () => {
  let mesh: Mesh;
  beforeEach(async () => {
    mesh = await new Mesh({
      pods: NAMES.map((name) => ({ name, node: name === "client" ? 0 : NODE, captured: true })),
      meshed: ["client", "server", "other"],
      configuration: (lab) => ({ workloads: NAMES.map((name) => ({ pod: lab.pod(name), hbone: true })) }),
    }).start();
    for (const name of NAMES) mesh.serve(name, PORT, doubling);
  }, PREPARATION_MS);
  afterEach(() => mesh.close());

  const open = async (to: string) => {
    const { lab } = mesh;
    const conversation = await Conversation.open(lab.pod("client").namespace, { ip: lab.pod(to).ip, port: PORT });
    expect(await conversation.write("hello world").read(22)).toBe("x".repeat(22));
    return conversation;
  };
  const readiness = async () => (await mesh.ztunnel(NODE).ask(READINESS_PORT, "/healthz/ready")).body;
  const listening = (pod: string) => mesh.lab.pod(pod).namespace.run(["ss", "-Hltn"]).includes(":15008");

  /** The agent goes away. @returns what brings another one, which knows these pods */
  async function away(): Promise<
    (pods: readonly string[], kept?: readonly string[], others?: readonly CniPod[]) => Promise<CniStandIn>
  > {
    const { path } = mesh.agent(NODE);
    mesh.agent(NODE).close();
    rmSync(path);
    await eventually("unreadiness", async () => (await readiness()).includes("workload proxy manager"));
    return async (pods, kept = [], others = []) => {
      const agent = await CniStandIn.listen(path, [
        ...pods.map((name) => mesh.cniPod(mesh.lab.pod(name))),
        ...kept.map((name) => ({ ...mesh.cniPod(mesh.lab.pod(name)), namespacePath: undefined })),
        ...others,
      ]);
      mesh.agents[NODE] = agent;
      return agent;
    };
  }

  test("pods that its snapshot names go on, those that it does not are stopped, new ones start", async () => {
    const [kept, dropped] = [await open("server"), await open("other")];
    const back = await away();
    // Without an agent nothing that runs is touched.
    for (const held of [kept, dropped]) expect(await held.write("hello world").read(22)).toBe("x".repeat(22));
    (await open("server")).close();
    const agent = await back(["server", "late"]);
    await mesh.ztunnel(NODE).untilReady();
    expect(await dropped.readToEnd()).toBe("");
    expect([listening("server"), listening("other"), listening("late")]).toEqual([true, false, true]);
    expect(await kept.write("hello world").read(22)).toBe("x".repeat(22));
    (await open("late")).close();
    expect(agent.errors).toEqual([]);
  }, 120_000);

  test("a pod that it knows without a namespace is kept", async () => {
    const held = await open("server");
    const agent = await (await away())(["other"], ["server"]);
    await mesh.ztunnel(NODE).untilReady();
    expect(await held.write("hello world").read(22)).toBe("x".repeat(22));
    expect(listening("server")).toBe(true);
    expect(agent.errors).toEqual([]);
  }, 120_000);

  test(
    "a pod that could not start is forgotten with the connection, and tried with the next that names it",
    async () => {
      const { ztunnels: [, ztunnel] } = mesh;
      const thief = new PodServer(mesh.lab.pod("late").namespace, 15006, () => {});
      const late = mesh.cniPod(mesh.lab.pod("late"));
      await mesh.agent(NODE).add(late).catch(() => {});
      const pending = async () => total(await ztunnel?.metrics() ?? [], "workload_manager_pending_proxy_count");
      expect(await pending()).toBe(1);
      expect(await readiness()).toContain("workload proxy manager");
      await (await away())(["server", "other"]);
      await ztunnel?.untilReady();
      expect(await pending()).toBe(0);
      const again = await (await away())(["server", "other", "late"]);
      await eventually("the refusal", () => Promise.resolve(again.errors.length > 0));
      expect(again.errors[0]?.message).toContain("failure to start proxy : ");
      thief.close();
      await again.add(late);
      expect(listening("late")).toBe(true);
      (await open("late")).close();
    },
    120_000,
  );

  test("an agent that goes again in the middle of its snapshot stops nobody", async () => {
    const held = await open("server");
    const back = await away();
    // The namespace of the first pod cannot be opened: it says nothing, not even that this was all.
    const stuck = await back([], [], [{ ...mesh.cniPod(mesh.lab.pod("other")), namespacePath: "/nonexistent" }]);
    await eventually("the silence", () => Promise.resolve(stuck.errors.length > 0));
    expect(await held.write("hello world").read(22)).toBe("x".repeat(22));
    expect(await readiness()).toContain("workload proxy manager");
    await (await away())(["server"]);
    await mesh.ztunnel(NODE).untilReady();
    expect(await held.write("hello world").read(22)).toBe("x".repeat(22));
    expect([listening("server"), listening("other")]).toEqual([true, false]);
  }, 120_000);
});
