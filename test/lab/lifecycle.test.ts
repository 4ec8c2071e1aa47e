/** Pods, proxies, agents and configuration that come, go and go wrong. */
import { expect, test } from "bun:test";
import { renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ACK_DEADLINE_MS } from "./cni/mod.ts";
import { labSuite, Mesh, sharedMesh, TEST_MS } from "./fixture.ts";
import { ambientBinary, LAB_NAMESPACE, READINESS_PORT, total, writeConfiguration, Ztunnel } from "./mesh/mod.ts";
import { findProgram, type Lab, LAB_DEADLINE_MS, LabProcess } from "./topology/mod.ts";
import { eventually } from "./topology/mod.ts";
import { Conversation, doubling, PodServer } from "./traffic/mod.ts";

const PORT = 8080;
const PODS = [
  { name: "client", node: 0, captured: true },
  { name: "server", node: 1, captured: true },
];
const plan = {
  pods: PODS,
  meshed: ["client", "server"],
  configuration: (lab: Lab) => ({
    workloads: [{ pod: lab.pod("client"), hbone: true }, { pod: lab.pod("server"), hbone: true }],
  }),
};

async function open(lab: Lab, port = PORT): Promise<Conversation> {
  const to = { ip: lab.pod("server").ip, port };
  const conversation = await Conversation.open(lab.pod("client").namespace, to);
  expect(await conversation.write("hello world").read(22)).toBe("x".repeat(22));
  return conversation;
}

labSuite("configuration", () => {
  const shared = sharedMesh(plan, (mesh) => void mesh.serve("server", PORT, doubling));

  test("a bad local file is refused with its place, and the last good one keeps serving", async () => {
    const mesh = shared();
    const held = await open(mesh.lab);
    const path = mesh.configurationPath;
    const replace = (text: string) => {
      writeFileSync(`${path}.new`, text);
      renameSync(`${path}.new`, path);
    };
    for (const bad of ["workloads:\n  - name: [unclosed\n", "workloads:\n  - name: x\n    colour: blue\n"]) {
      const since = mesh.ztunnels.map((ztunnel) => ztunnel.process.lines.length);
      replace(bad);
      for (const [index, ztunnel] of mesh.ztunnels.entries()) {
        const line = await ztunnel.process.line((text) => text.includes("mesh.yaml"), undefined, since[index]);
        expect(line).toMatch(/mesh\.yaml:[23](:\d+)?/);
      }
      (await open(mesh.lab)).close();
      expect(await held.write("hello world").read(22)).toBe("x".repeat(22));
    }
    writeConfiguration(path, mesh.configuration);
    held.close();
  }, TEST_MS);
});

labSuite("pods and agents", () => {
  const shared = sharedMesh(plan, (mesh) => void mesh.serve("server", PORT, doubling));

  test("every ack comes within the agent's 5 seconds", () => {
    for (const agent of shared().agents) {
      expect(agent.errors).toEqual([]);
      const times = agent.sessions.flatMap((session) => session.ackTimes);
      expect(times.length).toBe(2);
      expect(Math.max(...times)).toBeLessThan(ACK_DEADLINE_MS);
    }
  });

  test("an agent that restarts: traffic goes on, the proxy comes back to it and is ready again", async () => {
    const mesh = shared();
    const held = await open(mesh.lab);
    const agent = mesh.agent(1);
    agent.disconnect();
    await agent.untilSynchronised(2);
    await mesh.ztunnel(1).untilReady();
    expect(await held.write("hello world").read(22)).toBe("x".repeat(22));
    (await open(mesh.lab)).close();
    held.close();
  }, TEST_MS);

  test("test_server_shutdown: a deleted pod's connections are cut at once; added again, it serves again", async () => {
    const mesh = shared();
    const pod = mesh.lab.pod("server");
    const held = await open(mesh.lab);
    await mesh.agent(1).remove(pod.uid);
    expect(await held.readToEnd()).toBe("");
    await mesh.agent(1).add(mesh.cniPod(pod));
    // The client's side may still find its old tunnel dead once.
    const again = await eventually("the pod to serve again", () => open(mesh.lab));
    again.close();
  }, TEST_MS);

  test(
    "a port that is taken: the add is refused, the pod stays pending, and starts when the port is free",
    async () => {
      const mesh = shared();
      const pod = mesh.lab.pod("server");
      await mesh.agent(1).remove(pod.uid);
      const thief = new PodServer(pod.namespace, 15006, () => {});
      let refusal = "";
      await mesh.agent(1).add(mesh.cniPod(pod)).catch((error: Error) => {
        refusal = error.message;
      });
      expect(refusal).toContain("failure to start proxy : ");
      expect((await mesh.ztunnel(1).ask(READINESS_PORT, "/healthz/ready")).body).toContain("workload proxy manager");
      thief.close();
      await mesh.ztunnel(1).untilReady();
      (await open(mesh.lab)).close();
    },
    TEST_MS,
  );
});

labSuite("a pod that goes before it is known", () => {
  test("its connections end with it, and none leaves through the pod that comes next", async () => {
    const records = (lab: Lab, names: readonly string[]) =>
      names.map((name) => ({ pod: lab.pod(name), hbone: name !== "raw" }));
    const mesh = new Mesh({
      pods: [
        { name: "late", node: 1, captured: true },
        { name: "next", node: 1, captured: true },
        { name: "raw", node: 0, captured: false },
      ],
      meshed: ["late"],
      configuration: (lab) => ({ workloads: records(lab, ["next", "raw"]) }),
    });
    try {
      await mesh.start();
      const raw = mesh.serve("raw", PORT, doubling);
      const [late, next] = [mesh.lab.pod("late"), mesh.lab.pod("next")];
      const to = { ip: mesh.lab.pod("raw").ip, port: PORT };
      // Its record is not in the mesh yet, so the proxy holds the connection.
      const waiting = await Conversation.open(late.namespace, to);
      waiting.write("for late only");
      await mesh.agent(1).remove(late.uid);
      expect(await waiting.readToEnd()).toBe("");
      // The next pod's namespace gets the descriptor's number that is free again.
      await mesh.agent(1).add(mesh.cniPod(next));
      await mesh.configure({ workloads: records(mesh.lab, ["late", "next", "raw"]) });
      await eventually("the record to come", async () => {
        const { workloads } = await mesh.ztunnel(1).configDump() as { workloads: { name: string }[] };
        return workloads.some(({ name }) => name === "late");
      });
      const control = await Conversation.open(next.namespace, to);
      expect(await control.write("hello world").read(22)).toBe("x".repeat(22));
      expect(raw.visits.map(({ ip }) => ip)).toEqual([next.ip]);
    } finally {
      await mesh.close();
    }
  }, 120_000);
});

labSuite("shutdown", () => {
  test("test_ztunnel_shutdown: old connections run on until the deadline, new ones are refused", async () => {
    // Longer than where nothing is said (5 s), and long enough for what has to happen before it.
    const mesh = new Mesh({ ...plan, environment: { CONNECTION_TERMINATION_DEADLINE: "6s" } });
    try {
      await mesh.start();
      mesh.serve("server", PORT, doubling);
      const held = await open(mesh.lab);
      const start = performance.now();
      mesh.ztunnel(0).process.signal("SIGTERM");
      await eventually("new connections to be refused", async () => {
        const to = { ip: mesh.lab.pod("server").ip, port: PORT };
        const attempt = await Conversation.open(mesh.lab.pod("client").namespace, to).catch((error) => error.code);
        if (attempt instanceof Conversation) attempt.close();
        return attempt === "ECONNREFUSED";
      });
      expect(await held.write("hello world").read(22)).toBe("x".repeat(22));
      expect(await mesh.ztunnel(0).process.exited).toBe(0);
      const took = performance.now() - start;
      expect(took).toBeGreaterThan(5900);
      expect(took).toBeLessThan(20_000);
      expect(await held.readToEnd()).toBe("");
    } finally {
      await mesh.close();
    }
  }, 120_000);

  test("a connection that waits for the pod's record is one that the end tells of", async () => {
    const mesh = new Mesh({
      ...plan,
      pods: [...PODS, { name: "raw", node: 0, captured: false }],
      configuration: (lab) => ({ workloads: [{ pod: lab.pod("client"), hbone: true }] }),
      environment: { CONNECTION_TERMINATION_DEADLINE: "500ms" },
    });
    try {
      await mesh.start();
      const { lab } = mesh;
      const waiting = await Conversation.open(lab.pod("raw").namespace, { ip: lab.pod("server").ip, port: 15008 });
      const { process } = mesh.ztunnel(1);
      await eventually(
        "it to wait",
        async () => total(await mesh.ztunnel(1).metrics(), "ambient_held_connections") === 1,
      );
      process.signal("SIGTERM");
      expect(await process.line((line) => line.includes("forcefully shutting down"))).toContain(
        `pods="${LAB_NAMESPACE}/server: 0 and 1 not let in yet"`,
      );
      expect(await process.exited).toBe(0);
      waiting.close();
    } finally {
      await mesh.close();
    }
  }, 120_000);

  test("without connections it ends at once, and leaves nothing bound", async () => {
    const mesh = new Mesh({ ...plan, environment: { CONNECTION_TERMINATION_DEADLINE: "60s" } });
    try {
      await mesh.start();
      // Long before the deadline, or it is killed and ends with another status.
      expect(await mesh.ztunnel(1).process.stop("SIGTERM", LAB_DEADLINE_MS)).toBe(0);
      expect(mesh.lab.pod("server").namespace.run(["ss", "-Hltn"]).trim()).toBe("");
    } finally {
      await mesh.close();
    }
  }, 120_000);
});

labSuite("an agent that is not ours", () => {
  const python = findProgram("python3");
  const event = (process: LabProcess, wanted: Record<string, unknown>, since = 0, deadlineMs?: number) =>
    process.line(
      (line) => {
        const said = line.startsWith("{") ? JSON.parse(line) as Record<string, unknown> : {};
        return Object.entries(wanted).every(([key, value]) => said[key] === value);
      },
      deadlineMs,
      since,
    );

  test.skipIf(python === undefined)(
    "istio-cni's side in Python: acks, idle silence, removal, protocol violation",
    async () => {
      const mesh = new Mesh({ ...plan, meshed: [] });
      const agents: LabProcess[] = [];
      const proxies: Ztunnel[] = [];
      try {
        for (const node of mesh.lab.nodes) {
          const path = join(mesh.lab.directory, `py-${node.name}.sock`);
          const agent = new LabProcess([python ?? "", join(import.meta.dir, "cni_python", "cni.py"), path], {
            talk: true,
          });
          agents.push(agent);
          await event(agent, { event: "listening" });
          for (const pod of mesh.lab.pods.filter((candidate) => candidate.node === node)) {
            agent.say(`add ${pod.uid} ${pod.name} ${LAB_NAMESPACE} ${pod.name} ${pod.namespace.path}`);
          }
          agent.say("keep 0b7e6f0e-unknown-pod");
          proxies.push(
            new Ztunnel({
              binary: ambientBinary(),
              node,
              configuration: mesh.configurationPath,
              caDirectory: mesh.caDirectory,
              socket: path,
            }),
          );
          agent.say("snapshot");
        }
        for (const agent of agents) {
          await event(agent, { event: "hello" });
          await event(agent, { event: "ack", request: "keep 0b7e6f0e-unknown-pod", error: null });
          await event(agent, { event: "ack", request: "snapshot", error: null });
        }
        await Promise.all(proxies.map((proxy) => proxy.untilReady()));
        mesh.serve("server", PORT, doubling);
        const held = await open(mesh.lab);
        // The keepalive of istio-cni: a read that must time out.
        const [client, server] = agents as [LabProcess, LabProcess];
        await event(server, { event: "idle" });
        const uid = mesh.lab.pod("server").uid;
        server.say(`del ${uid}`);
        await event(server, { event: "ack", request: `del ${uid}`, error: null });
        expect(await held.readToEnd()).toBe("");
        // A second snapshot_sent on one connection breaks the protocol: a nack, then the process ends with 1.
        client.say("raw 1a00");
        const nack = await client.line((line) => line.includes('"request": "raw"'));
        expect(nack).toContain("failure to process message : ProtocolError");
        expect(nack).toContain("pod snapshot received already");
        expect(await (proxies[0] as Ztunnel).process.exited).toBe(1);
      } finally {
        await Promise.all(proxies.map((proxy) => proxy.process.stop("SIGKILL")));
        await Promise.all(agents.map((agent) => agent.stop("SIGKILL")));
        await mesh.close();
      }
    },
    120_000,
  );
});

labSuite("upgrade", () => {
  test("a second ztunnel takes the pods over while the first drains: no connection attempt fails", async () => {
    const mesh = new Mesh({ ...plan, pods: [...PODS, { name: "successor", node: 1, captured: false }] });
    try {
      await mesh.start();
      mesh.serve("server", PORT, doubling);
      const held = await open(mesh.lab);
      const node = mesh.lab.node(1);
      // A namespace of its own, as the pod of a rolling update has: the admin ports are not shared.
      const successor = new Ztunnel({
        binary: ambientBinary(),
        node,
        namespace: mesh.lab.pod("successor").namespace,
        configuration: mesh.configurationPath,
        caDirectory: mesh.caDirectory,
        socket: join(mesh.lab.directory, "cni-b.sock"),
      });
      try {
        await successor.untilReady();
        mesh.ztunnel(1).process.signal("SIGTERM");
        for (let attempt = 0; attempt < 20; attempt++) (await open(mesh.lab)).close();
        expect(await held.write("hello world").read(22)).toBe("x".repeat(22));
        held.close();
      } finally {
        await successor.process.stop("SIGKILL");
      }
    } finally {
      await mesh.close();
    }
  }, 120_000);
});
