/** Policies under traffic: what comes later, what only pretends, and what a denial says of itself (spec/ztunnel.md §8, §10.2). */
import { afterEach, expect, test } from "bun:test";
import { labSuite, sharedMesh, TEST_MS } from "./fixture.ts";
import {
  ADMIN_PORT,
  hostnameOf,
  identityOf,
  LAB_NAMESPACE,
  type LogLine,
  type PolicyDocument,
  total,
} from "./mesh/mod.ts";
import { eventually } from "./topology/mod.ts";
import { Conversation, doubling } from "./traffic/mod.ts";

const PORT = 8080;
const OTHER_PORT = 9090;
const VIP = "10.96.0.10";
const REQUEST = "hello world";
const POLICY_CHANGE = "connection closed due to policy change";
const DENIALS = "istio_tcp_connections_closed_total";

type Match = Readonly<Record<string, unknown>>;

function policy(name: string, action: "Allow" | "Deny", match: Match | undefined, dryRun = false): PolicyDocument {
  const rules = match === undefined ? [] : [[[match]]];
  return { name, namespace: LAB_NAMESPACE, scope: "Namespace", action, rules, dryRun };
}

const CLIENT = {
  principals: [{ Exact: `cluster.local/ns/${LAB_NAMESPACE}/sa/client` }],
  destinationPorts: [OTHER_PORT],
};
const WITHOUT_IDENTITY = { notPrincipals: [{ Presence: null }] };

labSuite("policies", () => {
  const shared = sharedMesh({
    pods: [
      { name: "client", node: 0, captured: true },
      { name: "outsider", node: 0, captured: false },
      { name: "server", node: 1, captured: true },
    ],
    meshed: ["client", "server"],
    configuration: (lab) => ({
      workloads: [
        { pod: lab.pod("client"), hbone: true },
        { pod: lab.pod("outsider"), hbone: false },
        { pod: lab.pod("server"), hbone: true, services: { server: { 80: PORT, 90: OTHER_PORT } } },
      ],
      services: [{ name: "server", vip: VIP, ports: { 80: PORT, 90: OTHER_PORT } }],
      policies: [],
    }),
  }, (mesh) => {
    mesh.serve("server", PORT, doubling);
    mesh.serve("server", OTHER_PORT, doubling);
  });
  afterEach(() => shared().configure({ policies: [] }));

  const address = (port: number) => ({ ip: shared().lab.pod("server").ip, port });
  const connect = (from: string, to = address(PORT)) => Conversation.open(shared().lab.pod(from).namespace, to);
  async function hold(from: string, to = address(PORT)): Promise<Conversation> {
    const conversation = await connect(from, to);
    expect(await conversation.write(REQUEST).read(22)).toBe("x".repeat(22));
    return conversation;
  }
  /** Waits for the server's line with such an error. */
  const denial = (error: string | undefined, since: number): Promise<LogLine> =>
    shared().ztunnel(1).accessLine(({ fields }) => fields["error"] !== undefined && fields["error"] === error, since);

  /** What a denial over HBONE says of both sides. */
  function bothSides(port: number, service: string | undefined) {
    const { lab } = shared();
    return {
      "src.workload": "client",
      "src.namespace": LAB_NAMESPACE,
      "src.identity": identityOf({ pod: lab.pod("client"), hbone: true }),
      "src.cluster": "Kubernetes",
      "dst.addr": `${lab.pod("server").ip}:15008`,
      "dst.hbone_addr": `${lab.pod("server").ip}:${port}`,
      ...(service === undefined ? {} : { "dst.service": service }),
      "dst.workload": "server",
      "dst.namespace": LAB_NAMESPACE,
      "dst.identity": identityOf({ pod: lab.pod("server"), hbone: true }),
      "dst.cluster": "Kubernetes",
      direction: "inbound",
    };
  }

  test(
    "a policy that comes later: what it denies ends in order, what comes then is reset, the rest goes on",
    async () => {
      const mesh = shared();
      const [denied, allowed] = [await hold("client", address(OTHER_PORT)), await hold("client")];
      const since = mesh.ztunnel(1).access.length;
      const labels = { reporter: "destination", source_workload: "client", response_flags: "DENY" };
      const before = total(await mesh.ztunnel(1).metrics(), DENIALS, labels);
      await mesh.configure({ policies: [policy("later", "Deny", CLIENT)] });

      expect(await denied.readToEnd()).toBe("");
      denied.finish();
      await denied.untilClosed();
      expect(denied.failure).toBeUndefined();
      const late = await denial(POLICY_CHANGE, since);
      expect([late.level, late.message]).toEqual(["error", "connection complete"]);
      const { lines } = mesh.ztunnel(1).process;
      const cut = lines.find((text) => text.includes("closed because it's no longer allowed after a policy update"));
      expect(cut).toMatch(
        /\tproxy::connection_manager:proxy\{wl="demo\/server"\}:inbound\{id=[0-9a-f]{32} peer=([0-9.:]+)\}\tconnection \1->[0-9.]+:9090 /,
      );
      expect(lines).toContainEqual(
        expect.stringMatching(/\tproxy::inbound:proxy\{wl="demo\/server"\}\tlistener established\taddress=/),
      );
      expect(late.fields).toMatchObject({
        ...bothSides(OTHER_PORT, hostnameOf("server")),
        bytes_sent: "22",
        bytes_recv: "11",
        policy: `${LAB_NAMESPACE}/later`,
        rule: expect.stringContaining("rules[0][0][0]"),
      });

      const again = await connect("client", address(OTHER_PORT));
      expect(await again.write(REQUEST).readToEnd()).toBe("");
      await again.untilClosed();
      expect(again.failure?.code).toBe("ECONNRESET");
      const out = await mesh.ztunnel(0).endOf(again.address);
      expect(out.fields["error"]).toBe("http status: 401 Unauthorized");
      await eventually("both denials in the metrics", async () => {
        return total(await mesh.ztunnel(1).metrics(), DENIALS, labels) === before + 2;
      });

      expect(await allowed.write(REQUEST).read(22)).toBe("x".repeat(22));
      allowed.close();
    },
    TEST_MS,
  );

  test("plaintext is cut by a policy that wants an identity, and tunnels are not", async () => {
    const [plain, tunnelled] = [await hold("outsider"), await hold("client")];
    const since = shared().ztunnel(1).access.length;
    await shared().configure({ policies: [policy("strict", "Deny", WITHOUT_IDENTITY)] });
    expect(await plain.readToEnd()).toBe("");
    const line = await denial(POLICY_CHANGE, since);
    expect(line.fields).toMatchObject({ "src.workload": "outsider", policy: `${LAB_NAMESPACE}/strict` });
    expect(line.fields["src.identity"]).toBeUndefined();
    expect(await tunnelled.write(REQUEST).read(22)).toBe("x".repeat(22));
    tunnelled.close();
  }, TEST_MS);

  test("an ALLOW that is taken away, and one that nobody fits", async () => {
    const open = policy("open", "Allow", {});
    const mine = policy("mine", "Allow", { principals: [{ Exact: `cluster.local/ns/${LAB_NAMESPACE}/sa/client` }] });
    await shared().configure({ policies: [mine] });
    const held = await hold("client");
    // A match that says nothing matches nobody; beside one that fits it harms nobody.
    await shared().configure({ policies: [mine, open] });
    expect(await held.write(REQUEST).read(22)).toBe("x".repeat(22));
    const since = shared().ztunnel(1).access.length;
    await shared().configure({ policies: [open] });
    expect(await held.readToEnd()).toBe("");
    expect((await denial(POLICY_CHANGE, since)).fields["policy"]).toBe(`${LAB_NAMESPACE}/open`);
    await shared().configure({ policies: [policy("nobody", "Allow", undefined)] });
    const refused = await connect("client");
    expect(await refused.write(REQUEST).readToEnd()).toBe("");
    const error = "connection closed due to policy rejection: allow policies exist, but none allowed";
    expect((await denial(error, since)).fields["policy"]).toBe(`${LAB_NAMESPACE}/nobody`);
  }, TEST_MS);

  test("a denial names both workloads, both identities, the service, the policy and the rule", async () => {
    const mesh = shared();
    await mesh.configure({ policies: [policy("ports", "Deny", { destinationPorts: [OTHER_PORT] })] });
    const since = mesh.ztunnel(1).access.length;
    const refused = await connect("client", { ip: VIP, port: 90 });
    expect(await refused.write(REQUEST).readToEnd()).toBe("");
    const error = "connection closed due to policy rejection: explicitly denied by: demo/ports";
    const line = await denial(error, since);
    expect(line.fields).toMatchObject({
      ...bothSides(OTHER_PORT, hostnameOf("server")),
      policy: `${LAB_NAMESPACE}/ports`,
      rule: expect.stringContaining("destinationPorts"),
    });
    expect(line.fields["src.addr"]).toStartWith(`${mesh.lab.pod("client").ip}:`);
    // Every field that a completed connection has, and what decided.
    await mesh.configure({ policies: [] });
    (await hold("client", { ip: VIP, port: 90 })).finish();
    const { ip } = mesh.lab.pod("server");
    // All others to that port ended with an error.
    const good = await mesh.ztunnel(1).accessLine(
      ({ message, fields }) =>
        message === "connection complete" && fields["error"] === undefined &&
        fields["dst.hbone_addr"] === `${ip}:${OTHER_PORT}`,
    );
    const extra = ["error", "policy", "rule"];
    expect(Object.keys(line.fields).filter((name) => !extra.includes(name))).toEqual(Object.keys(good.fields));
  }, TEST_MS);

  test("a policy that a pod's record begins to name cuts as one that is new", async () => {
    const mesh = shared();
    const { workloads } = mesh.configuration;
    const chosen = { ...policy("chosen", "Deny", CLIENT), scope: "WorkloadSelector" };
    await mesh.configure({ policies: [chosen] });
    const [denied, allowed] = [await hold("client", address(OTHER_PORT)), await hold("client")];
    const since = mesh.ztunnel(1).access.length;
    const named = { policies: [`${LAB_NAMESPACE}/chosen`] };
    await mesh.configure({
      workloads: workloads.map((workload) => workload.pod.name === "server" ? { ...workload, ...named } : workload),
    });
    expect(await denied.readToEnd()).toBe("");
    expect((await denial(POLICY_CHANGE, since)).fields["policy"]).toBe(`${LAB_NAMESPACE}/chosen`);
    expect(await allowed.write(REQUEST).read(22)).toBe("x".repeat(22));
    allowed.close();
    await mesh.configure({ workloads });
  }, TEST_MS);

  test("a policy that comes when the pod's record is gone cuts all the same", async () => {
    const mesh = shared();
    const { workloads } = mesh.configuration;
    const [denied, allowed] = [await hold("client", address(OTHER_PORT)), await hold("client")];
    await mesh.configure({ workloads: workloads.filter(({ pod }) => pod.name !== "server") });
    const since = mesh.ztunnel(1).access.length;
    await mesh.configure({ policies: [policy("late", "Deny", CLIENT)] });
    expect(await denied.readToEnd()).toBe("");
    expect((await denial(POLICY_CHANGE, since)).fields["policy"]).toBe(`${LAB_NAMESPACE}/late`);
    expect(await allowed.write(REQUEST).read(22)).toBe("x".repeat(22));
    allowed.close();
    await mesh.configure({ workloads });
  }, TEST_MS);

  test("dry run: nothing is denied, and what would have been is counted, told and shown", async () => {
    const mesh = shared();
    const ztunnel = mesh.ztunnel(1);
    // One that runs when the policy comes counts as well as one that comes later.
    const running = await hold("client", address(OTHER_PORT));
    const since = ztunnel.process.lines.length;
    await mesh.configure({ policies: [policy("trial", "Deny", CLIENT, true)] });
    const held = await hold("client", address(OTHER_PORT));
    (await hold("client")).close();

    const flags = { policy: `${LAB_NAMESPACE}/trial`, verdict: "denied" };
    await eventually("the counter", async () => {
      return total(await ztunnel.metrics(), "ambient_policy_dry_run_connections_total", flags) === 2;
    });
    const line = await ztunnel.process.line((text) => text.includes("dry-run: would be denied"), undefined, since);
    for (const part of [`policy="${LAB_NAMESPACE}/trial"`, "destinationPorts", "src.workload", "dst.workload"]) {
      expect(line).toContain(part);
    }
    const shown = JSON.parse((await ztunnel.ask(ADMIN_PORT, "/debug/dryrun")).body);
    expect(shown.flows[0]).toMatchObject({
      policies: [{ policy: `${LAB_NAMESPACE}/trial` }],
      source: {
        identity: identityOf({ pod: mesh.lab.pod("client"), hbone: true }),
        workload: `${LAB_NAMESPACE}/client`,
        ip: mesh.lab.pod("client").ip,
      },
      destination: { workload: `${LAB_NAMESPACE}/server`, ip: mesh.lab.pod("server").ip, port: OTHER_PORT },
      count: 2,
    });
    expect(shown.flows.length).toBe(1);
    expect(await running.write(REQUEST).read(22)).toBe("x".repeat(22));

    // Other changes are no news of connections that were counted.
    await mesh.configure({ policies: [policy("trial", "Deny", CLIENT, true), policy("more", "Deny", CLIENT, true)] });
    const more = { ...flags, policy: `${LAB_NAMESPACE}/more` };
    await eventually("the other policy's count", async () => {
      return total(await ztunnel.metrics(), "ambient_policy_dry_run_connections_total", more) === 2;
    });
    expect(total(await ztunnel.metrics(), "ambient_policy_dry_run_connections_total", flags)).toBe(2);

    // In force, it does what it said that it would.
    await mesh.configure({ policies: [policy("force", "Deny", CLIENT)] });
    expect(await held.readToEnd()).toBe("");
    expect(await running.readToEnd()).toBe("");
  }, TEST_MS);
});
