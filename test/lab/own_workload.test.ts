/** What a ztunnel does for itself: its certificates of the node's pods, and its own listener. */
import { expect, test } from "bun:test";
import { labSuite, sharedMesh, TEST_MS } from "./fixture.ts";
import { identityOf, LAB_NAMESPACE, type MeshWorkload, STATS_PORT, type Ztunnel } from "./mesh/mod.ts";
import { eventually, type Lab } from "./topology/mod.ts";
import { Conversation, ConversationError, doubling, httpRequest } from "./traffic/mod.ts";

const PORT = 8080;

labSuite("certificates of the node's pods", () => {
  const POD_NAMES = ["client", "twin", "server"] as const;
  const workloads = (lab: Lab, names: readonly string[] = POD_NAMES): MeshWorkload[] =>
    names.map((name) => ({
      pod: lab.pod(name),
      hbone: true,
      // Two pods of one node with one identity.
      ...(name === "twin" ? { serviceAccount: "client" } : {}),
    }));
  const shared = sharedMesh({
    pods: [
      { name: "client", node: 0, captured: true },
      { name: "twin", node: 0, captured: true },
      { name: "server", node: 1, captured: true },
    ],
    meshed: [...POD_NAMES],
    configuration: (lab) => ({ workloads: workloads(lab) }),
  }, (mesh) => void mesh.serve("server", PORT, doubling));

  interface DumpedCertificate {
    readonly identity: string;
    readonly state: string;
    readonly certChain?: readonly { readonly serialNumber: string; readonly validFrom: string }[];
  }

  async function certificates(ztunnel: Ztunnel): Promise<DumpedCertificate[]> {
    return (await ztunnel.configDump())["certificates"] as DumpedCertificate[];
  }

  test(
    "test_prefetch_forget_certs: fetched for pods of the own node only, forgotten with the last of them",
    async () => {
      const mesh = shared();
      const [client, server] = ["client", "server"].map((name) => identityOf({ pod: mesh.lab.pod(name), hbone: true }));
      const held = (index: number, identities: readonly (string | undefined)[]) =>
        eventually(`certificates of ${identities} on node ${index}`, async () => {
          const all = await certificates(mesh.ztunnel(index));
          const available = all.filter(({ state }) => state === "Available");
          return all.length === identities.length && `${available.map(({ identity }) => identity)}` === `${identities}`;
        });
      // Before any connection.
      await held(0, [client]);
      await held(1, [server]);
      const [before] = await certificates(mesh.ztunnel(0));
      const serial = before?.certChain?.[0]?.serialNumber;
      expect(serial).toMatch(/^\d+$/);

      const conversation = await Conversation.open(mesh.lab.pod("client").namespace, {
        ip: mesh.lab.pod("server").ip,
        port: PORT,
      });
      await conversation.write("hello world").read(22);
      conversation.close();
      // The peer's identity is not one of ours, though we have spoken with it.
      await held(0, [client]);

      // One of the two goes: the other still needs it, and it is the same one.
      await mesh.agent(0).remove(mesh.lab.pod("twin").uid);
      await mesh.configure({ workloads: workloads(mesh.lab, ["client", "server"]) });
      await held(0, [client]);
      expect((await certificates(mesh.ztunnel(0)))[0]?.certChain?.[0]?.serialNumber).toBe(serial as string);

      await mesh.agent(0).remove(mesh.lab.pod("client").uid);
      await mesh.configure({ workloads: workloads(mesh.lab, ["server"]) });
      await held(0, []);
      await held(1, [server]);

      // It comes back, with a new one.
      await mesh.configure({ workloads: workloads(mesh.lab, ["client", "server"]) });
      await mesh.agent(0).add(mesh.cniPod(mesh.lab.pod("client")));
      await held(0, [client]);
      expect((await certificates(mesh.ztunnel(0)))[0]?.certChain?.[0]?.serialNumber).not.toBe(serial as string);
    },
    TEST_MS,
  );
});

labSuite("ztunnel as a workload", () => {
  const SYSTEM = "istio-system";
  const shared = sharedMesh({
    pods: [
      { name: "client", node: 0, captured: true },
      { name: "denied", node: 0, captured: true },
    ],
    meshed: ["client", "denied"],
    environment: {
      POD_NAME: "ztunnel",
      POD_NAMESPACE: SYSTEM,
      SERVICE_ACCOUNT: "ztunnel",
      TRUST_DOMAIN: "cluster.local",
    },
    nodes: ["a"],
    configuration: (lab) => ({
      workloads: [
        { pod: lab.pod("client"), hbone: true },
        { pod: lab.pod("denied"), hbone: true },
        {
          pod: lab.pod("client"),
          hbone: true,
          name: "ztunnel",
          namespace: SYSTEM,
          policies: [`${SYSTEM}/scrapers`],
          fields: { workloadIps: [lab.node(0).gateway] },
        },
      ],
      policies: [{
        name: "scrapers",
        namespace: SYSTEM,
        scope: "WorkloadSelector",
        action: "Deny",
        rules: [[[{ principals: [{ Exact: `cluster.local/ns/${LAB_NAMESPACE}/sa/denied` }] }]]],
        dryRun: false,
      }],
    }),
  });
  const scrape = (pod: string) => {
    const { lab } = shared();
    return httpRequest(lab.pod(pod).namespace, { ip: lab.node(0).gateway, port: STATS_PORT }, "/metrics");
  };

  test("test_hbone_metrics_access: its metrics are scraped through the mesh", async () => {
    const mesh = shared();
    const answer = await scrape("client");
    expect(answer.status).toBe(200);
    expect(answer.body).toEndWith("# EOF\n");
    const { gateway } = mesh.lab.node(0);
    const line = await mesh.ztunnel(0).accessLine(({ message, fields }) =>
      message === "connection complete" && fields["direction"] === "inbound"
    );
    expect(line.fields).toMatchObject({
      "src.identity": identityOf({ pod: mesh.lab.pod("client"), hbone: true }),
      "dst.addr": `${gateway}:15008`,
      "dst.hbone_addr": `${gateway}:${STATS_PORT}`,
      "dst.identity": `spiffe://cluster.local/ns/${SYSTEM}/sa/ztunnel`,
      "dst.workload": "ztunnel",
    });
  }, TEST_MS);

  test("policies hold for it as for any pod", async () => {
    const mesh = shared();
    const failure = await scrape("denied").catch((error) => error);
    expect(failure).toBeInstanceOf(Error);
    if (failure instanceof ConversationError) expect(failure.code).toBe("ECONNRESET");
    const error = `connection closed due to policy rejection: explicitly denied by: ${SYSTEM}/scrapers`;
    await mesh.ztunnel(0).accessLine(({ fields }) => fields["error"] === error);
  }, TEST_MS);
});
