/** A ztunnel's start beside its control plane, and what its admin pages tell of it (spec/ztunnel.md §11.2, §14.3). */
import { afterEach, expect, test } from "bun:test";
import { labSuite } from "../fixture.ts";
import { LAB_NAMESPACE, READINESS_PORT, type Ztunnel } from "../mesh/mod.ts";
import { eventually } from "../topology/mod.ts";
import { ControlledMesh, logLine } from "./fixture.ts";

const SUITE_MS = 120_000;
const PODS = [
  { name: "client", node: 0, captured: true },
  { name: "server", node: 1, captured: true },
];

const readiness = (ztunnel: Ztunnel) => ztunnel.ask(READINESS_PORT, "/healthz/ready");

/** Waits until it listens, and gives what it says. */
const pending = (ztunnel: Ztunnel) =>
  eventually("an answer about readiness", async () => (await readiness(ztunnel).catch(() => undefined))?.body);

labSuite("a start", () => {
  let mesh: ControlledMesh | undefined;
  let ztunnel: Ztunnel | undefined;
  afterEach(async () => {
    await ztunnel?.process.stop("SIGKILL");
    await mesh?.close();
    mesh = ztunnel = undefined;
  });

  test("is ready only when istiod's state and the CNI's pods are there, and stays so when istiod goes", async () => {
    mesh = await ControlledMesh.start({ pods: PODS, start: false, istiod: { listen: false } });
    mesh.serve("server");
    ztunnel = mesh.startZtunnel(mesh.lab.node(0));
    await logLine(ztunnel, "cannot connect to the control plane");
    expect(await pending(ztunnel)).toBe("not ready, pending: state manager, workload proxy manager\n");
    // Asked, but nothing is said.
    await mesh.istiod.setDiscovery({ silent: true });
    await mesh.istiod.setPort({ connections: "accept" });
    await mesh.istiod.seen.until("request", () => true, { deadlineMs: SUITE_MS });
    expect((await readiness(ztunnel)).status).toBe(500);
    expect(mesh.agent(0).sessions).toHaveLength(0);
    await mesh.istiod.setDiscovery({ silent: false });
    await mesh.istiod.breakStreams({ how: "status", code: 14, message: "again" });
    const synced = await logLine(ztunnel, "synced with the control plane");
    expect(synced).toContain("istio.workload.Address=2 istio.security.Authorization=0");
    await mesh.agent(0).untilSynchronised();
    await ztunnel.untilReady();
    await mesh.istiod.kill("lost");
    await logLine(ztunnel, "disconnected from the control plane");
    expect((await readiness(ztunnel)).body).toBe("ready\n");
  }, SUITE_MS);

  test("shows in its dump what istiod told, and the certificates it gave; explain reads the same", async () => {
    mesh = await ControlledMesh.start({ pods: PODS });
    mesh.serve("server");
    expect(await mesh.reaches("client", "server")).toBe(true);
    const dump = await mesh.ztunnel(0).configDump() as {
      workloads: { name: string; uid: string; protocol: string; serviceAccount: string; node: string }[];
      certificates: { identity: string; state: string; certChain: unknown[]; rootCerts: unknown[] }[];
      workloadState: Record<string, { state: string; info: { name: string } }>;
    };
    expect(dump.workloads.find(({ name }) => name === "server")).toMatchObject({
      uid: `Kubernetes//Pod/${LAB_NAMESPACE}/server`,
      protocol: "HBONE",
      serviceAccount: "server",
      node: "b",
    });
    const own = dump.certificates.find(({ identity }) => identity.endsWith("/sa/client"));
    expect(own).toMatchObject({ identity: `spiffe://cluster.local/ns/${LAB_NAMESPACE}/sa/client`, state: "Available" });
    expect(own?.certChain).toHaveLength(2);
    expect(own?.rootCerts).toHaveLength(1);
    // Of pods of other nodes it has none.
    expect(dump.certificates.some(({ identity }) => identity.endsWith("/sa/server"))).toBe(false);
    expect(dump.workloadState[mesh.lab.pod("client").uid]).toMatchObject({ state: "Up", info: { name: "client" } });
    const { body } = await mesh.ztunnel(0).ask(
      15000,
      `/debug/explain?src=${LAB_NAMESPACE}/client&dst=${mesh.lab.pod("server").ip}:8080`,
    );
    expect(JSON.parse(body)).toMatchObject({ verdict: { outcome: "allowed" } });
    expect(body).toContain("the address belongs to workload demo/server");
  }, SUITE_MS);
});
