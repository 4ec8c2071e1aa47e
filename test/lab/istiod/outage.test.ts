/**
 * istiod is gone for a while: what it told goes on being so, certificates end when they end, and all is well again by
 * itself when it is back (spec/ztunnel.md §3.2, §3.5). With AMBIENT_LAB_LONG=1 it is gone for five minutes.
 */
import { expect, test } from "bun:test";
import process from "node:process";
import { policyText } from "../../istiod/mod.ts";
import { Action, Scope } from "../../../proto/gen/authorization_pb.ts";
import { labSuite } from "../fixture.ts";
import { LAB_NAMESPACE, READINESS_PORT, total, type Ztunnel } from "../mesh/mod.ts";
import { eventually } from "../topology/mod.ts";
import { Conversation } from "../traffic/mod.ts";
import { Bystanders, figures } from "./bystanders.ts";
import { controlledMesh, logLine, pingPong, PORT } from "./fixture.ts";

const LONG = process.env["AMBIENT_LAB_LONG"] === "1";
/** How long istiod is away at least; ms. */
const OUTAGE_MS = LONG ? 300_000 : 3_000;
/** Life of certificates that end during the outage; s. */
const TTL_SECONDS = LONG ? 120 : 6;
/** The last certificate may be as young as a new one when istiod goes; ms. */
const EXPIRED_MS = TTL_SECONDS * 1_000 + 20_000;
/** The longest back-off of the stream and of certificates, and then some; ms. */
const BACK_MS = LONG ? 240_000 : 45_000;
const SUITE_MS = LONG ? 900_000 : 150_000;

const RECORD_MISSING = "failed to fetch information about local workload: late.demo (late)";

const connected = async (ztunnel: Ztunnel) => total(await ztunnel.metrics(), "ambient_xds_connected");

labSuite("istiod is killed", () => {
  const shared = controlledMesh({
    pods: [
      { name: "client", node: 0, captured: true },
      { name: "second", node: 0, captured: true },
      { name: "server", node: 1, captured: true },
      { name: "guarded", node: 1, captured: true },
    ],
    workloads: { guarded: { policies: [`${LAB_NAMESPACE}/guard`] } },
    content: () => [
      policyText({
        name: "guard",
        namespace: LAB_NAMESPACE,
        scope: Scope.WORKLOAD_SELECTOR,
        action: Action.DENY,
        rules: [{ clauses: [{ matches: [{ destinationPorts: [PORT] }] }] }],
      }),
    ],
  }, (mesh) => {
    for (const pod of ["server", "guarded"]) mesh.serve(pod);
  });

  test(
    "traffic and new connections go on with the last good state; after its return deletions of meanwhile are taken over",
    async () => {
      const mesh = shared();
      const since = mesh.ztunnels.map((ztunnel) => ztunnel.process.lines.length);
      const bystanders = await Bystanders.start(mesh, { from: "client", to: "server" });
      const killed = performance.now();
      await mesh.istiod.kill("kept");
      for (const [node, ztunnel] of mesh.ztunnels.entries()) {
        await logLine(ztunnel, "disconnected from the control plane", since[node]);
        await logLine(ztunnel, "cannot connect to the control plane", since[node]);
        expect(await connected(ztunnel)).toBe(0);
        expect((await ztunnel.ask(READINESS_PORT, "/healthz/ready")).status).toBe(200);
      }
      // A pod that has not talked yet, and a policy: all as before.
      expect(await mesh.reaches("second", "server")).toBe(true);
      expect(await mesh.reaches("second", "guarded")).toBe(false);

      // The CNI goes on working; nobody knows who the pod is.
      const late = await mesh.addPod({ name: "late", node: 0, captured: true });
      const held = await Conversation.open(late.namespace, { ip: mesh.lab.pod("server").ip, port: PORT });
      held.write("ab");
      const waiting = { reason: "workload" };
      await eventually(
        "the connection to be held",
        async () => total(await mesh.ztunnel(0).metrics(), "ambient_held_connections", waiting) === 1,
      );
      await held.readToEnd();
      held.close();
      const refused = await mesh.ztunnel(0).endOf(held.address);
      expect(refused.fields["error"]).toBe(RECORD_MISSING);

      await Bun.sleep(Math.max(0, OUTAGE_MS - (performance.now() - killed)));
      const before = await bystanders.stop();
      console.log(`${Math.round(performance.now() - killed)} ms without istiod: ${figures(before)}`);
      expect(before.failures).toEqual([]);
      expect(before.tunnelsLost).toEqual([]);

      const returning = await Bystanders.start(mesh, { from: "client", to: "server" });
      const start = performance.now();
      await mesh.istiod.start(() =>
        mesh.istiod.put({
          put: [mesh.workload("late")],
          removedPolicies: [`${LAB_NAMESPACE}/guard`],
          removedAddresses: [mesh.workload("second").name],
        })
      );
      await eventually("the policy to be gone", () => mesh.reaches("client", "guarded"), BACK_MS);
      await eventually("the late pod to be known", () => mesh.reaches("late", "server"), BACK_MS);
      for (const ztunnel of mesh.ztunnels) {
        await eventually("the stream to be back", async () => await connected(ztunnel) === 1, BACK_MS);
        await eventually(
          "the deletion",
          async () => !JSON.stringify((await ztunnel.configDump())["workloads"]).includes("second"),
        );
      }
      console.log(`all is as it should be ${Math.round(performance.now() - start)} ms after its return`);
      // It was told what is known already, and told only the difference.
      await mesh.istiod.caughtUp();
      const again = mesh.istiod.seen.requests().filter(({ initialCount }) => initialCount > 0);
      expect(again.length).toBeGreaterThanOrEqual(mesh.ztunnels.length);
      const after = await returning.stop();
      expect(after.failures).toEqual([]);
      expect(after.tunnelsLost).toEqual([]);
    },
    SUITE_MS,
  );
});

labSuite("certificates end while istiod is gone", () => {
  const shared = controlledMesh({
    pods: [
      { name: "client", node: 0, captured: true },
      { name: "server", node: 1, captured: true },
    ],
    istiod: { ca: { ttlSeconds: TTL_SECONDS } },
  }, (mesh) => void mesh.serve("server"));

  test("an expired certificate is reported in log and metrics and not used; all recovers by itself", async () => {
    const mesh = shared();
    const ztunnel = mesh.ztunnel(0);
    const bystanders = await Bystanders.start(mesh, { from: "client", to: "server", opening: false });
    expect(await mesh.reaches("client", "server")).toBe(true);
    const since = ztunnel.process.lines.length;
    const killed = performance.now();
    await mesh.istiod.kill("kept");
    await logLine(ztunnel, "certificate cannot be renewed, the present one serves on", since, EXPIRED_MS);
    const line = await logLine(ztunnel, /certificate expired and there is no other.*sa\/client/, since, EXPIRED_MS);
    expect(line).toContain("\terror\t");
    expect(line).toContain("connections of this identity are refused");
    expect(line).toContain('identity="spiffe://cluster.local/ns/demo/sa/client"');
    expect(line).toContain("signing gRPC error");
    expect(total(await ztunnel.metrics(), "ambient_certificates_expired_total")).toBeGreaterThan(0);
    const refused = await mesh.refusal("client", "server");
    expect(refused.fields["error"]).toStartWith("identity error: spiffe://cluster.local/ns/demo/sa/client: ");
    expect(refused.fields["error"]).toContain("signing gRPC error");
    const failed = { reporter: "source", response_flags: "IDENTITY_ERROR" };
    expect(total(await ztunnel.metrics(), "istio_tcp_connections_failed_total", failed)).toBeGreaterThan(0);
    const { certificates } = await ztunnel.configDump() as { certificates: { identity: string; state: string }[] };
    expect(certificates.find(({ identity }) => identity.endsWith("/sa/client"))?.state).toStartWith("Unavailable: ");

    await Bun.sleep(Math.max(0, OUTAGE_MS - (performance.now() - killed)));
    const start = performance.now();
    await mesh.istiod.start();
    await eventually("new connections", () => mesh.reaches("client", "server"), BACK_MS);
    // The stream is tried more often than certificates are, and brings them with it.
    console.log(`new connections ${Math.round(performance.now() - start)} ms after the return`);
    const witness = await bystanders.stop();
    console.log(`connections from before: ${figures(witness)}`);
    expect(witness.failures).toEqual([]);
  }, SUITE_MS);

  test("certificates of a few seconds are renewed under traffic, and nothing breaks", async () => {
    const mesh = shared();
    await mesh.istiod.caughtUp();
    const asked = mesh.istiod.seen.certificateRequests().length;
    const bystanders = await Bystanders.start(mesh, { from: "client", to: "server" });
    await eventually(
      "several renewals",
      () => mesh.istiod.seen.certificateRequests().length >= asked + 6,
      EXPIRED_MS * 2,
    );
    const witness = await bystanders.stop();
    console.log(`${mesh.istiod.seen.certificateRequests().length - asked} certificates: ${figures(witness)}`);
    expect(witness.failures).toEqual([]);
    // A connection of now shows a certificate of now.
    (await pingPong(await mesh.talk("client", "server"))).close();
  }, SUITE_MS);
});
