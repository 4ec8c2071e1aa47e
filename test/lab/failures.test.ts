/** Endpoints that fail and records that are late: what is tried again, what waits, and what is told of it. */
import { expect, test } from "bun:test";
import { labSuite, type Mesh, sharedMesh, TEST_MS } from "./fixture.ts";
import { hostnameOf, LAB_NAMESPACE, type MeshWorkload, total } from "./mesh/mod.ts";
import { eventually, type Lab } from "./topology/mod.ts";
import { Conversation, doubling } from "./traffic/mod.ts";

const PORT = 8080;
const PORTS = { 80: PORT };
const REQUEST = "hello world";
const ROUNDS = 16;
/** Services, each with one endpoint that works and one that fails in its own way. */
const SERVICES = {
  plain: { vip: "10.96.0.1", endpoints: ["plain", "silent"] },
  tunnel: { vip: "10.96.0.2", endpoints: ["server", "deaf"] },
  application: { vip: "10.96.0.3", endpoints: ["server", "idle"] },
  lost: { vip: "10.96.0.4", endpoints: ["silent", "mute"] },
} as const;
type ServiceName = keyof typeof SERVICES;

function configuration(lab: Lab) {
  const member = (name: string) => {
    const of = Object.entries(SERVICES).filter(([, { endpoints }]) => (endpoints as readonly string[]).includes(name));
    return Object.fromEntries(of.map(([service]) => [service, PORTS]));
  };
  const hbone = ["server", "deaf", "idle"];
  const names = ["plain", "silent", "mute", "server", "deaf", "idle"];
  return {
    workloads: [
      { pod: lab.pod("client"), hbone: true },
      ...names.map((name) => ({ pod: lab.pod(name), hbone: hbone.includes(name), services: member(name) })),
    ],
    services: Object.entries(SERVICES).map(([name, { vip }]) => ({ name, vip, ports: PORTS })),
  };
}

const plan = {
  pods: [
    { name: "client", node: 0, captured: true },
    { name: "plain", node: 1, captured: false },
    // Nobody listens there.
    { name: "silent", node: 1, captured: false },
    { name: "mute", node: 1, captured: false },
    { name: "server", node: 1, captured: true },
    // Known as a member of the mesh, without a ztunnel.
    { name: "deaf", node: 1, captured: false },
    // In the mesh, without its application.
    { name: "idle", node: 1, captured: true },
  ],
  meshed: ["client", "server", "idle"],
  configuration,
};

/** One exchange with a service; undefined: it was cut. */
async function exchange(mesh: Mesh, service: ServiceName): Promise<number | undefined> {
  const to = { ip: SERVICES[service].vip, port: 80 };
  const conversation = await Conversation.open(mesh.lab.pod("client").namespace, to);
  const answer = await conversation.write(REQUEST).read(22).then((text) => text.length, () => undefined);
  conversation.close();
  return answer;
}

async function count(mesh: Mesh, name: string, labels: Record<string, string> = {}): Promise<number> {
  return total(await mesh.ztunnel(0).metrics(), name, labels);
}

labSuite("endpoints that fail", () => {
  const shared = sharedMesh(plan, (mesh) => {
    for (const name of ["plain", "server"]) mesh.serve(name, PORT, doubling);
  });

  const cases: readonly [label: string, service: ServiceName, failing: string][] = [
    ["a refused TCP connect", "plain", "silent"],
    ["a refused tunnel", "tunnel", "deaf"],
    ["an application that does not listen, behind a tunnel", "application", "idle"],
  ];
  for (const [label, service, failing] of cases) {
    test(`${label}: another endpoint is tried, and the one that failed is passed over`, async () => {
      const mesh = shared();
      const retries = await count(mesh, "ambient_connect_retries_total");
      for (let round = 0; round < ROUNDS; round++) expect([round, await exchange(mesh, service)]).toEqual([round, 22]);
      const line = await mesh.ztunnel(0).accessLine(
        ({ message, fields }) => message === "connection retried" && fields["dst.service"] === hostnameOf(service),
      );
      expect(line.level).toBe("warn");
      expect(line.fields).toMatchObject({ "src.workload": "client", "dst.workload": failing });
      expect(line.fields["retry"]).toMatch(/^10\.77\.2\.\d+:\d+$/);
      // Without being passed over, half of the rounds would have met it.
      const tried = await count(mesh, "ambient_connect_retries_total") - retries;
      expect(tried).toBeGreaterThan(0);
      expect(tried).toBeLessThanOrEqual(3);
      expect(await count(mesh, "ambient_endpoint_ejections_total")).toBeGreaterThan(0);
      // Every attempt is a connection of its own in the metrics, and none stays open.
      const labels = { reporter: "source", destination_service_name: service };
      for (const name of ["opened", "closed"]) {
        await eventually(`connections ${name}`, async () => {
          return await count(mesh, `istio_tcp_connections_${name}_total`, labels) === ROUNDS + tried;
        });
      }
      expect(await count(mesh, "istio_tcp_connections_failed_total", labels)).toBe(tried);
    }, TEST_MS);
  }

  test("where all fail, one more is tried and no further, and all are tried again by the next", async () => {
    const mesh = shared();
    for (let round = 0; round < 3; round++) {
      const retries = await count(mesh, "ambient_connect_retries_total");
      const since = mesh.ztunnel(0).access.length;
      expect(await exchange(mesh, "lost")).toBeUndefined();
      const line = await mesh.ztunnel(0).accessLine(
        ({ message, fields }) => message === "connection complete" && fields["dst.service"] === hostnameOf("lost"),
        since,
      );
      expect(line.fields["error"]).toContain("Connection refused (os error 111)");
      expect(await count(mesh, "ambient_connect_retries_total") - retries).toBe(1);
    }
  }, TEST_MS);
});

labSuite("endpoints that fail, with AMBIENT_ENDPOINT_EJECTION=false", () => {
  const shared = sharedMesh({ ...plan, environment: { AMBIENT_ENDPOINT_EJECTION: "false" } }, (mesh) => {
    for (const name of ["plain", "server"]) mesh.serve(name, PORT, doubling);
  });

  test("each is met as often as any other, and nothing is tried again", async () => {
    const mesh = shared();
    const answers: (number | undefined)[] = [];
    await eventually("one that failed and one that did not", async () => {
      answers.push(await exchange(mesh, "plain"));
      return answers.includes(22) && answers.includes(undefined);
    });
    expect(await count(mesh, "ambient_connect_retries_total")).toBe(0);
    expect(mesh.ztunnel(0).access.filter(({ message }) => message === "connection retried")).toEqual([]);
  }, TEST_MS);
});

labSuite("records that are late", () => {
  const workloads = (lab: Lab, names: readonly string[]): MeshWorkload[] =>
    names.map((name) => ({ pod: lab.pod(name), hbone: true }));
  const shared = sharedMesh({
    pods: [
      { name: "client", node: 0, captured: true },
      { name: "server", node: 1, captured: true },
      { name: "never", node: 0, captured: true },
    ],
    meshed: ["client", "server", "never"],
    configuration: (lab) => ({ workloads: workloads(lab, ["server"]) }),
  }, (mesh) => void mesh.serve("server", PORT, doubling));

  test("first connections wait for the record of their pod, and are counted", async () => {
    const mesh = shared();
    const held = { reason: "workload" };
    const to = { ip: mesh.lab.pod("server").ip, port: PORT };
    const open = () => Conversation.open(mesh.lab.pod("client").namespace, to);
    const conversations = await Promise.all([open(), open(), open()]);
    for (const conversation of conversations) conversation.write(REQUEST);
    await eventually("all three to wait", async () => await count(mesh, "ambient_held_connections", held) === 3);
    await mesh.configure({ workloads: workloads(mesh.lab, ["client", "server"]) });
    for (const conversation of conversations) expect(await conversation.read(22)).toBe("x".repeat(22));
    expect(await count(mesh, "ambient_held_connections", held)).toBe(0);
    expect(await count(mesh, "ambient_connections_held_total", held)).toBe(3);
    for (const conversation of conversations) conversation.close();
  }, TEST_MS);

  test("a record that never comes: the connection ends, and no policy is blamed", async () => {
    const mesh = shared();
    const to = { ip: mesh.lab.pod("server").ip, port: PORT };
    const conversation = await Conversation.open(mesh.lab.pod("never").namespace, to);
    expect(await conversation.write(REQUEST).readToEnd()).toBe("");
    const line = await mesh.ztunnel(0).endOf(conversation.address);
    expect(line.message).toBe("connection failed");
    expect(line.fields["error"]).toBe(
      `failed to fetch information about local workload: never.${LAB_NAMESPACE} (never)`,
    );
    expect(line.fields["policy"]).toBeUndefined();
    expect(await count(mesh, "ambient_held_connections")).toBe(0);
  }, TEST_MS);
});
