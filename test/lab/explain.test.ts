/** `ambient explain` beside what really happens: the answer first, then the connection that it speaks of. */
import { expect, test } from "bun:test";
import { labSuite, sharedMesh, TEST_MS } from "./fixture.ts";
import { ambientBinary, identityOf, LAB_NAMESPACE, READINESS_PORT } from "./mesh/mod.ts";
import type { Explanation } from "../../src/explain/mod.ts";
import { Conversation, doubling } from "./traffic/mod.ts";

const PORT = 8080;
const OTHER_PORT = 9090;
/** Nobody listens there. */
const DEAD_PORT = 9091;
const REQUEST = "hello world";

labSuite("explain", () => {
  const shared = sharedMesh({
    pods: [
      { name: "client", node: 0, captured: true },
      { name: "server", node: 1, captured: true },
      { name: "plain", node: 1, captured: false },
      { name: "stranger", node: 1, captured: false },
      { name: "waypoint", node: 1, captured: false },
    ],
    meshed: ["client", "server"],
    configuration: (lab) => {
      const waypoint = lab.pod("waypoint");
      const ports = { 80: PORT };
      return {
        workloads: [
          { pod: lab.pod("client"), hbone: true },
          { pod: lab.pod("server"), hbone: true, services: { server: ports, guarded: ports } },
          { pod: lab.pod("plain"), hbone: false, services: { dead: { 80: DEAD_PORT } } },
          { pod: waypoint, hbone: true },
        ],
        services: [
          { name: "server", vip: "10.96.0.10", ports },
          { name: "guarded", vip: "10.96.0.11", ports, waypoint },
          { name: "empty", vip: "10.96.0.12", ports },
          { name: "dead", vip: "10.96.0.13", ports: { 80: DEAD_PORT } },
        ],
        policies: [{
          name: "closed",
          namespace: LAB_NAMESPACE,
          scope: "Namespace",
          action: "Deny",
          rules: [[[{ destinationPorts: [OTHER_PORT] }]]],
          dryRun: false,
        }],
      };
    },
  }, async (mesh) => {
    for (const pod of ["server", "plain", "stranger"]) mesh.serve(pod, PORT, doubling);
    mesh.serve("server", OTHER_PORT, doubling);
    mesh.serve("client", PORT, doubling);
    mesh.serve("waypoint", 80, doubling);
    await mesh.tunnelEnd("waypoint", identityOf({ pod: mesh.lab.pod("waypoint"), hbone: true }));
  });

  const run = (node: number, ...words: readonly string[]) =>
    shared().ztunnel(node).namespace.attempt([ambientBinary(), "explain", ...words]);

  function explain(destination: string): Explanation {
    const { ok, stdout, stderr } = run(0, "client", destination, "--json");
    if (stdout === "") throw new Error(stderr);
    const explanation = JSON.parse(stdout) as Explanation;
    expect(ok).toBe(["allowed", "unknown"].includes(explanation.verdict.outcome));
    return explanation;
  }

  const flows: readonly {
    readonly label: string;
    readonly to: () => readonly [ip: string, port: number];
    readonly outcome: Explanation["verdict"]["outcome"];
    readonly action: string;
    readonly works: boolean;
  }[] = [
    {
      label: "an allowed flow to a pod",
      to: () => [shared().lab.pod("server").ip, PORT],
      outcome: "allowed",
      action: "hbone",
      works: true,
    },
    {
      label: "an allowed flow to a service",
      to: () => ["10.96.0.10", 80],
      outcome: "allowed",
      action: "hbone",
      works: true,
    },
    {
      label: "a denied flow",
      to: () => [shared().lab.pod("server").ip, OTHER_PORT],
      outcome: "denied",
      action: "hbone",
      works: false,
    },
    {
      label: "a flow through a waypoint",
      to: () => ["10.96.0.11", 80],
      outcome: "unknown",
      action: "hbone",
      works: true,
    },
    {
      label: "a flow to a pod outside the mesh",
      to: () => [shared().lab.pod("plain").ip, PORT],
      outcome: "allowed",
      action: "tcp",
      works: true,
    },
    {
      label: "a flow to an address that nobody knows",
      to: () => [shared().lab.pod("stranger").ip, PORT],
      outcome: "allowed",
      action: "passthrough",
      works: true,
    },
    {
      label: "a flow to a port that its service does not have",
      to: () => ["10.96.0.10", 81],
      outcome: "refused",
      action: "refuse",
      works: false,
    },
    {
      label: "a flow to a service without endpoints",
      to: () => ["10.96.0.12", 80],
      outcome: "refused",
      action: "refuse",
      works: false,
    },
  ];
  for (const { label, to, outcome, action, works } of flows) {
    test(`${label}: what is said is what happens`, async () => {
      const mesh = shared();
      const [ip, port] = to();
      const said = explain(`${ip}:${port}`);
      expect(`${said.verdict.outcome} ${said.hops[0]?.outbound.action}`).toBe(`${outcome} ${action}`);
      const conversation = await Conversation.open(mesh.lab.pod("client").namespace, { ip, port });
      const answer = await conversation.write(REQUEST).read(22).catch(() => "");
      conversation.finish();
      expect(answer.length).toBe(works ? 22 : 0);
      const line = await mesh.ztunnel(0).endOf(conversation.address);
      const { outbound } = said.hops[0]!;
      if (outbound.dial !== undefined) expect(line.fields["dst.addr"]).toBe(outbound.dial);
      expect(line.fields["dst.hbone_addr"]).toBe(outbound.authority as string);
      expect(line.fields["dst.workload"]).toBe(outbound.workload?.name as string);
      if (outbound.error !== undefined) expect(line.fields["error"]).toBe(outbound.error);
    }, TEST_MS);
  }

  test("a denied flow names the policy, the rule and the field that decided", () => {
    const { ip } = shared().lab.pod("server");
    const said = explain(`${ip}:${OTHER_PORT}`);
    const json = JSON.stringify(said.hops[0]?.inbound?.policies);
    expect(json).toContain(`${LAB_NAMESPACE}/closed`);
    expect(json).toContain("destinationPorts");
    const text = run(0, "client", `${ip}:${OTHER_PORT}`).stdout;
    for (const part of ["client", "server", `${LAB_NAMESPACE}/closed`, "destinationPorts", "denied"]) {
      expect(text).toContain(part);
    }
  }, TEST_MS);

  test("an endpoint that refuses casts a doubt on the next connection, in the words of the access log", async () => {
    const mesh = shared();
    expect(explain("dead").verdict).toMatchObject({
      outcome: "allowed",
      summary: expect.stringContaining("not captured"),
    });
    const conversation = await Conversation.open(mesh.lab.pod("client").namespace, { ip: "10.96.0.13", port: 80 });
    expect(await conversation.read(1).catch(() => "")).toBe("");
    conversation.finish();
    const { fields } = await mesh.ztunnel(0).endOf(conversation.address);
    const said = explain("dead");
    expect(said.hops[0]?.outbound.failedLately).toMatchObject([{ error: fields["error"] as string, dialled: true }]);
    expect(said.verdict.doubt).toContain(fields["error"] as string);
    expect(run(0, "client", "dead").stdout).toContain("ALLOWED, BUT DOUBTFUL");
  }, TEST_MS);

  test("a pod that calls itself goes past the proxy, as is said", async () => {
    const mesh = shared();
    const { ip, namespace } = mesh.lab.pod("client");
    const said = explain(`${ip}:${PORT}`);
    expect([said.verdict.outcome, said.hops[0]?.outbound.action]).toEqual(["allowed", "uncaptured"]);
    const conversation = await Conversation.open(namespace, { ip, port: PORT });
    expect((await conversation.write(REQUEST).read(22)).length).toBe(22);
    conversation.finish();
    await conversation.untilClosed();
    // A line about it would come before the last one of a connection made later.
    const later = await Conversation.open(namespace, { ip: mesh.lab.pod("plain").ip, port: PORT });
    later.finish();
    await mesh.ztunnel(0).endOf(later.address);
    const told = mesh.ztunnel(0).access.filter(({ fields }) => fields["src.addr"] === conversation.address);
    expect(told.map(({ message }) => message)).toEqual([]);
  }, TEST_MS);

  test("by names of pods and of services; the certificate's state is said", () => {
    const byName = explain("server");
    expect(byName.hops[0]?.outbound.dial).toBe(`${shared().lab.pod("server").ip}:15008`);
    expect(byName.hops[0]?.certificate).toMatchObject({
      identity: identityOf({ pod: shared().lab.pod("client"), hbone: true }),
      state: "available",
    });
    expect(explain(`server.${LAB_NAMESPACE}.svc.cluster.local:80`).hops[0]?.outbound.service).toContain("server");
  }, TEST_MS);

  test("questions that cannot be answered end with an error, and the process goes on", async () => {
    for (
      const words of [["nobody", "server:80"], ["client", "nowhere.example:80"], ["client", "10.0.0.1:99999"], [
        "client",
      ], []]
    ) {
      const { ok, stdout, stderr } = run(0, ...words);
      expect([words, ok, stdout]).toEqual([words, false, ""]);
      expect(stderr).not.toBe("");
    }
    expect((await shared().ztunnel(0).ask(READINESS_PORT, "/healthz/ready")).status).toBe(200);
  }, TEST_MS);
});
