/** Captured traffic between pods: what the original's tests/namespaced.rs checks of the in-pod mode. */
import { expect, test } from "bun:test";
import { labSuite, sharedMesh, TEST_MS } from "./fixture.ts";
import { hostnameOf, identityOf, LAB_NAMESPACE, type MeshWorkload, total, type Ztunnel } from "./mesh/mod.ts";
import type { Lab } from "./topology/mod.ts";
import { eventually } from "./topology/mod.ts";
import { Conversation, doubling } from "./traffic/mod.ts";

const PORT = 8080;
const VIP = "10.96.0.10";
const GREETING = "220 mail.example ready\r\n";
/** 11 bytes out, 22 back. */
const REQUEST = "hello world";

function workloads(lab: Lab): MeshWorkload[] {
  const services = { server: { 80: PORT } };
  return [
    { pod: lab.pod("client"), hbone: true },
    { pod: lab.pod("local"), hbone: true },
    { pod: lab.pod("server"), hbone: true, services },
    { pod: lab.pod("twin"), hbone: true, services },
    { pod: lab.pod("sick"), hbone: true, services, status: "Unhealthy" },
    { pod: lab.pod("plain"), hbone: false },
  ];
}

interface Counts {
  opened: number;
  closed: number;
  received: number;
  sent: number;
}

async function counts(ztunnel: Ztunnel, labels: Record<string, string>): Promise<Counts> {
  const samples = await ztunnel.metrics();
  return {
    opened: total(samples, "istio_tcp_connections_opened_total", labels),
    closed: total(samples, "istio_tcp_connections_closed_total", labels),
    received: total(samples, "istio_tcp_received_bytes_total", labels),
    sent: total(samples, "istio_tcp_sent_bytes_total", labels),
  };
}

labSuite("traffic captured in pods", () => {
  const shared = sharedMesh({
    pods: [
      { name: "client", node: 0, captured: true },
      { name: "local", node: 0, captured: true },
      { name: "server", node: 1, captured: true },
      { name: "twin", node: 1, captured: true },
      { name: "sick", node: 1, captured: true },
      { name: "plain", node: 1, captured: false },
      { name: "outsider", node: 0, captured: false },
    ],
    meshed: ["client", "local", "server", "twin", "sick"],
    configuration: (lab) => ({
      workloads: workloads(lab),
      services: [{ name: "server", vip: VIP, ports: { 80: PORT } }],
    }),
  }, (mesh) => {
    for (const pod of ["local", "server", "twin", "sick", "plain"]) mesh.serve(pod, PORT, doubling);
    mesh.serve("server", 2525, (conversation) => {
      conversation.write(GREETING);
    });
  });

  /** Sends 11 bytes from `client` to `server` and checks the answer, the counters and the log lines of both sides. */
  async function exchange(client: string, server: string): Promise<void> {
    const mesh = shared();
    const from = mesh.lab.pod(client);
    const to = mesh.lab.pod(server);
    const source = mesh.ztunnel(0);
    const destination = mesh.ztunnels.find((ztunnel) => ztunnel.node === to.node) as Ztunnel;
    const labels = { source_workload: client, destination_workload: server, connection_security_policy: "mutual_tls" };
    const reporters = [[source, "source"], [destination, "destination"]] as const;
    const before = await Promise.all(
      reporters.map(([ztunnel, reporter]) => counts(ztunnel, { ...labels, reporter })),
    );

    const conversation = await Conversation.open(from.namespace, { ip: to.ip, port: PORT });
    conversation.write(REQUEST);
    expect(await conversation.read(22)).toBe("x".repeat(22));
    conversation.finish();
    expect(await conversation.readToEnd()).toBe("");

    for (const [index, [ztunnel, reporter]] of reporters.entries()) {
      const base = before[index] as Counts;
      const delta = await eventually(`the ${reporter}'s counters`, async () => {
        const now = await counts(ztunnel, { ...labels, reporter });
        return now.closed > base.closed && {
          opened: now.opened - base.opened,
          closed: now.closed - base.closed,
          received: now.received - base.received,
          sent: now.sent - base.sent,
        };
      });
      expect(delta).toEqual({ opened: 1, closed: 1, received: 11, sent: 22 });
    }

    const identities = {
      "src.identity": identityOf({ pod: from, hbone: true }),
      "dst.identity": identityOf({ pod: to, hbone: true }),
    };
    const names = {
      "src.workload": client,
      "src.namespace": LAB_NAMESPACE,
      "dst.workload": server,
      "dst.namespace": LAB_NAMESPACE,
      "dst.addr": `${to.ip}:15008`,
      "dst.hbone_addr": `${to.ip}:${PORT}`,
    };
    const out = await source.endOf(conversation.address);
    expect(out.message).toBe("connection complete");
    expect(out.level).toBe("info");
    expect(out.fields).toMatchObject({ ...identities, ...names, bytes_sent: "11", bytes_recv: "22" });
    expect(out.fields["duration"]).toMatch(/^\d+ms$/);
    expect(out.fields["error"]).toBeUndefined();
    const into = await destination.accessLine(
      (line) =>
        line.message === "connection complete" && line.fields["direction"] === "inbound" &&
        line.fields["dst.workload"] === server,
    );
    expect(into.fields).toMatchObject({ ...identities, ...names, bytes_sent: "22", bytes_recv: "11" });
  }

  test("local_captured_inpod: both on one node", () => exchange("client", "local"), TEST_MS);
  test("cross_node_captured_inpod", () => exchange("client", "server"), TEST_MS);

  test("the application sees the client pod's address", async () => {
    const mesh = shared();
    const server = mesh.serve("server", 8081, doubling);
    const client = mesh.lab.pod("client");
    const conversation = await Conversation.open(client.namespace, { ip: mesh.lab.pod("server").ip, port: 8081 });
    await conversation.write(REQUEST).read(22);
    expect(server.visits.map((visit) => visit.ip)).toEqual([client.ip]);
    conversation.close();
  }, TEST_MS);

  test("a server that speaks first is heard before the client says anything", async () => {
    const mesh = shared();
    const to = { ip: mesh.lab.pod("server").ip, port: 2525 };
    const conversation = await Conversation.open(mesh.lab.pod("client").namespace, to);
    expect(await conversation.read(GREETING.length)).toBe(GREETING);
    conversation.close();
  }, TEST_MS);

  test("server_uncaptured_inpod: plain TCP to a pod without HBONE", async () => {
    const mesh = shared();
    const to = mesh.lab.pod("plain");
    const conversation = await Conversation.open(mesh.lab.pod("client").namespace, { ip: to.ip, port: PORT });
    expect(await conversation.write(REQUEST).read(22)).toBe("x".repeat(22));
    conversation.finish();
    const line = await mesh.ztunnel(0).endOf(conversation.address);
    expect(line.message).toBe("connection complete");
    expect(line.fields).toMatchObject({ "dst.addr": `${to.ip}:${PORT}`, "dst.workload": "plain", bytes_sent: "11" });
    expect(line.fields["dst.hbone_addr"]).toBeUndefined();
    expect(line.fields["src.identity"]).toBeUndefined();
    const labels = { reporter: "source", destination_workload: "plain", connection_security_policy: "unknown" };
    expect((await counts(mesh.ztunnel(0), labels)).opened).toBe(1);
  }, TEST_MS);

  test("client_uncaptured_inpod: plaintext from outside the mesh, without an identity", async () => {
    const mesh = shared();
    const server = mesh.serve("server", 8083, doubling);
    const outsider = mesh.lab.pod("outsider");
    const conversation = await Conversation.open(outsider.namespace, { ip: mesh.lab.pod("server").ip, port: 8083 });
    expect(await conversation.write(REQUEST).read(22)).toBe("x".repeat(22));
    conversation.finish();
    expect(server.visits.map((visit) => visit.ip)).toEqual([outsider.ip]);
    const line = await mesh.ztunnel(1).endOf(conversation.address);
    expect(line.message).toBe("connection complete");
    expect(line.fields).toMatchObject({ direction: "inbound", "dst.workload": "server", bytes_sent: "22" });
    expect(line.fields["src.identity"]).toBeUndefined();
  }, TEST_MS);

  test("an address that nobody knows is passed through", async () => {
    const mesh = shared();
    const outsider = mesh.serve("outsider", 9000, doubling);
    const to = { ip: mesh.lab.pod("outsider").ip, port: 9000 };
    const conversation = await Conversation.open(mesh.lab.pod("client").namespace, to);
    expect(await conversation.write(REQUEST).read(22)).toBe("x".repeat(22));
    expect(outsider.visits.map((visit) => visit.ip)).toEqual([mesh.lab.pod("client").ip]);
    conversation.close();
  }, TEST_MS);

  test("service_loadbalancing: a VIP spreads over healthy endpoints, with the service's labels", async () => {
    const mesh = shared();
    const before = await mesh.ztunnel(1).metrics();
    const hostname = hostnameOf("server");
    for (let round = 0; round < 40; round++) {
      const conversation = await Conversation.open(mesh.lab.pod("client").namespace, { ip: VIP, port: 80 });
      expect(await conversation.write(REQUEST).read(22)).toBe("x".repeat(22));
      conversation.finish();
      await conversation.readToEnd();
    }
    const opened = async (workload: string) => {
      const labels = { reporter: "destination", destination_workload: workload, destination_service: hostname };
      const name = "istio_tcp_connections_opened_total";
      return total(await mesh.ztunnel(1).metrics(), name, labels) - total(before, name, labels);
    };
    await eventually(
      "40 connections over the service",
      async () => await opened("server") + await opened("twin") === 40,
    );
    expect(await opened("server")).toBeGreaterThan(5);
    expect(await opened("twin")).toBeGreaterThan(5);
    expect(await opened("sick")).toBe(0);
    const source = { reporter: "source", destination_service: hostname };
    expect((await counts(mesh.ztunnel(0), source)).opened).toBe(40);
  }, TEST_MS);

  test("one HBONE connection carries many streams", async () => {
    const mesh = shared();
    const to = { ip: mesh.lab.pod("server").ip, port: PORT };
    const open = async () => {
      const conversation = await Conversation.open(mesh.lab.pod("client").namespace, to);
      await conversation.write(REQUEST).read(22);
      return conversation;
    };
    const conversations = await Promise.all(Array.from({ length: 50 }, open));
    // From a pod's own pool: sockets toward 15008 in the client's namespace, seen from the outside.
    const established = mesh.lab.pod("client").namespace.run([
      "ss",
      "-Htn",
      "state",
      "established",
      "dport",
      "= :15008",
    ]);
    const tunnels = established.split("\n").filter((line) => line.includes(`${to.ip}:15008`)).length;
    expect(tunnels).toBeGreaterThan(0);
    expect(tunnels).toBeLessThanOrEqual(3);
    for (const conversation of conversations) conversation.close();
  }, TEST_MS);
});
