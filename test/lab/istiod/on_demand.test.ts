/** XDS_ON_DEMAND: records come when a connection asks for them (spec/ztunnel.md §3.2). */
import { expect, test } from "bun:test";
import { ADDRESS_TYPE, serviceText } from "../../istiod/mod.ts";
import { labSuite } from "../fixture.ts";
import { LAB_NAMESPACE, type LogLine, total } from "../mesh/mod.ts";
import { eventually } from "../topology/mod.ts";
import { Conversation } from "../traffic/mod.ts";
import { Bystanders } from "./bystanders.ts";
import { type ControlledMesh, controlledMesh, pingPong, PORT } from "./fixture.ts";

const VIP = "10.96.0.10";
const SERVICE_PORT = 80;
const KEY = `${LAB_NAMESPACE}/web.${LAB_NAMESPACE}.svc.cluster.local`;
/** The longest back-off of the stream, and then some; ms. */
const BACK_MS = 45_000;
const SUITE_MS = 150_000;

labSuite("records on demand", () => {
  const shared = controlledMesh({
    pods: [
      { name: "client", node: 0, captured: true },
      { name: "server", node: 1, captured: true },
      { name: "backend", node: 1, captured: true },
      { name: "stranger", node: 1, captured: false },
      { name: "later", node: 1, captured: true },
    ],
    strangers: ["stranger"],
    workloads: { backend: { services: { [KEY]: { [SERVICE_PORT]: PORT } } } },
    content: () => [
      serviceText({ name: "web", namespace: LAB_NAMESPACE, addresses: [VIP], ports: { [SERVICE_PORT]: PORT } }),
    ],
    environment: { XDS_ON_DEMAND: "true", ISTIO_META_DNS_CAPTURE: "false" },
  }, (mesh) => {
    for (const pod of ["server", "backend", "stranger", "later"]) mesh.serve(pod);
    mesh.lab.node(0).namespace.run(["ip", "route", "add", "local", "10.96.0.0/16", "dev", "lo"]);
  });

  /** Names that the ztunnels have asked for since the mark. */
  const asked = async (mesh: ControlledMesh, since: number): Promise<string[]> => {
    await mesh.istiod.caughtUp();
    return mesh.istiod.seen.events.slice(since).flatMap((event) =>
      event.kind === "request" && event.typeUrl === ADDRESS_TYPE ? event.subscribe : []
    );
  };
  const names = async (mesh: ControlledMesh, node: number): Promise<string[]> => {
    const { workloads } = await mesh.ztunnel(node).configDump() as { workloads: { name: string }[] };
    return workloads.map(({ name }) => name);
  };
  /** Makes a connection, and gives its line in the log of the client's node. */
  async function lineOf(mesh: ControlledMesh, to: string, port = PORT): Promise<LogLine> {
    const conversation = await mesh.talk("client", to, port);
    conversation.close();
    const line = await mesh.ztunnel(0).endOf(conversation.address);
    expect([line.message, line.fields["direction"]]).toEqual(["connection complete", "outbound"]);
    return line;
  }

  test("a node knows its own pods and nobody else", async () => {
    const mesh = shared();
    await mesh.istiod.caughtUp();
    const [request] = mesh.istiod.seen.requests(ADDRESS_TYPE);
    expect(request?.subscribe).toEqual(["*"]);
    expect(request?.unsubscribe).toEqual(["*"]);
    // They come with the first answer.
    await mesh.talk("client", "server");
    expect(await names(mesh, 0)).toContain("client");
    expect(await names(mesh, 0)).not.toContain("backend");
  }, SUITE_MS);

  test("an unknown destination is fetched when a connection asks, by address and by VIP, and is used", async () => {
    const mesh = shared();
    for (const [address, port] of [[mesh.lab.pod("backend").ip, PORT], [VIP, SERVICE_PORT]] as const) {
      const mark = await mesh.istiod.caughtUp();
      const line = await lineOf(mesh, address, port);
      expect(await asked(mesh, mark)).toContain(`/${address}`);
      expect(line.fields["dst.workload"]).toBe("backend");
      expect(line.fields["dst.hbone_addr"]).toBe(`${mesh.lab.pod("backend").ip}:${PORT}`);
      const later = await mesh.istiod.caughtUp();
      (await mesh.talk("client", address, port)).close();
      expect(await asked(mesh, later)).toEqual([]);
    }
  }, SUITE_MS);

  test("what was fetched is kept up to date", async () => {
    const mesh = shared();
    expect(await mesh.reaches("client", VIP, SERVICE_PORT)).toBe(true);
    const bystanders = await Bystanders.start(mesh, { from: "client", to: "server" });
    await mesh.istiod.answers(await mesh.istiod.put({ put: [mesh.workload("backend")] }));
    expect(await mesh.reaches("client", VIP, SERVICE_PORT)).toBe(false);
    await mesh.istiod.answers(
      await mesh.istiod.put({ put: [mesh.workload("backend", { services: { [KEY]: { [SERVICE_PORT]: PORT } } })] }),
    );
    expect(await mesh.reaches("client", VIP, SERVICE_PORT)).toBe(true);
    const witness = await bystanders.stop();
    expect(witness.failures).toEqual([]);
    expect(witness.tunnelsLost).toEqual([]);
  }, SUITE_MS);

  test(
    "connections to an address that nobody has pass through after the answer; once somebody has it, they find it",
    async () => {
      const mesh = shared();
      const { ip } = mesh.lab.pod("stranger");
      const mark = await mesh.istiod.caughtUp();
      for (let count = 0; count < 3; count++) {
        const { fields } = await lineOf(mesh, "stranger");
        expect(fields["dst.addr"]).toBe(`${ip}:${PORT}`);
        expect(fields["dst.workload"]).toBeUndefined();
      }
      expect(await asked(mesh, mark)).toContain(`/${ip}`);
      // istiod does not tell by itself: nobody has subscribed to the pod.
      const record = mesh.workload("stranger", { meshed: false });
      for (const there of [true, false, true]) {
        await mesh.istiod.answers(
          await mesh.istiod.put(there ? { put: [record] } : { removedAddresses: [record.name] }),
        );
        const { fields } = await lineOf(mesh, "stranger");
        expect(fields["dst.workload"]).toBe(there ? "stranger" : undefined);
      }
    },
    SUITE_MS,
  );

  test(
    "while istiod is away a connection to the unknown waits, the known goes on, and all goes on when it is back",
    async () => {
      const mesh = shared();
      const { ip } = mesh.lab.pod("later");
      const bystanders = await Bystanders.start(mesh, { from: "client", to: "server" });
      await mesh.istiod.kill("kept");
      const waiting = await Conversation.open(mesh.lab.pod("client").namespace, { ip, port: PORT });
      const answer = pingPong(waiting, BACK_MS);
      const held = { reason: "resource" };
      await eventually(
        "the connection to be held",
        async () => total(await mesh.ztunnel(0).metrics(), "ambient_held_connections", held) === 1,
      );
      await bystanders.more(5);
      await mesh.istiod.start();
      await answer;
      waiting.close();
      const line = await mesh.ztunnel(0).endOf(waiting.address);
      expect([line.message, line.fields["dst.workload"]]).toEqual(["connection complete", "later"]);
      expect(line.fields["dst.hbone_addr"]).toBe(`${ip}:${PORT}`);
      const witness = await bystanders.stop();
      expect(witness.failures).toEqual([]);
      expect(witness.tunnelsLost).toEqual([]);
    },
    SUITE_MS,
  );
});
