/**
 * Pushes that come late, in pieces or with something wrong in them, and a server that goes away in order
 * (spec/ztunnel.md §3.2).
 */
import { expect, test } from "bun:test";
import { AUTHORIZATION_TYPE, badResources, badService, type PolicyPlan, policyText } from "../../istiod/mod.ts";
import { Action, Scope } from "../../../proto/gen/authorization_pb.ts";
import { labSuite } from "../fixture.ts";
import { ADMIN_PORT, LAB_NAMESPACE, total } from "../mesh/mod.ts";
import { Bystanders } from "./bystanders.ts";
import { controlledMesh, logLine, PORT } from "./fixture.ts";

const SUITE_MS = 120_000;

const PODS = [
  { name: "client", node: 0, captured: true },
  { name: "server", node: 1, captured: true },
  { name: "guarded", node: 1, captured: true },
  { name: "selected", node: 1, captured: true },
];

const policy = (name: string, port: number, more: Partial<PolicyPlan> = {}) =>
  policyText({
    name,
    namespace: LAB_NAMESPACE,
    scope: Scope.WORKLOAD_SELECTOR,
    action: Action.DENY,
    rules: [{ clauses: [{ matches: [{ destinationPorts: [port] }] }] }],
    ...more,
  });

labSuite("pushes", () => {
  const shared = controlledMesh({
    pods: PODS,
    workloads: {
      guarded: { policies: [`${LAB_NAMESPACE}/guard`] },
      selected: { policies: [`${LAB_NAMESPACE}/unread`] },
    },
  }, (mesh) => {
    for (const pod of ["server", "guarded", "selected"]) mesh.serve(pod);
  });

  test("answers that come late and in small pieces are taken when they are there", async () => {
    const mesh = shared();
    const bystanders = await Bystanders.start(mesh, { from: "client", to: "server" });
    await mesh.istiod.setDiscovery({ delayMs: 500, pieceBytes: 7 });
    const push = await mesh.istiod.put({ put: [policy("guard", PORT)] });
    const answers = await mesh.istiod.answers(push);
    expect(answers.map(({ meaning }) => meaning)).toEqual(["ack", "ack"]);
    expect(await mesh.reaches("client", "guarded")).toBe(false);
    await mesh.istiod.setDiscovery({ delayMs: 0, pieceBytes: undefined });
    await mesh.istiod.answers(await mesh.istiod.put({ removedPolicies: [`${LAB_NAMESPACE}/guard`] }));
    expect(await mesh.reaches("client", "guarded")).toBe(true);
    const witness = await bystanders.stop();
    expect(witness.failures).toEqual([]);
    expect(witness.tunnelsLost).toEqual([]);
  }, SUITE_MS);

  test(
    "of a push with bad resources the good ones are in force, and istiod and the user are told what is wrong with each",
    async () => {
      const mesh = shared();
      const bystanders = await Bystanders.start(mesh, { from: "client", to: "server" });
      const since = mesh.ztunnel(1).process.lines.length;
      const bad = Object.values(badResources());
      // The good one is known by what it does: it takes the policy away from its pod.
      await mesh.istiod.answers(await mesh.istiod.put({ put: [policy("guard", PORT)] }));
      expect(await mesh.reaches("client", "guarded")).toBe(false);
      const push = await mesh.istiod.put({ put: [...bad, badService(), mesh.workload("guarded")] });
      const answers = await mesh.istiod.answers(push);
      expect(answers).toHaveLength(mesh.ztunnels.length);
      for (const { meaning, error } of answers) {
        expect(meaning).toBe("nack");
        for (const { name } of [...bad, badService()]) expect(error?.message).toContain(name);
        expect(error?.message).not.toContain("guarded");
      }
      console.log(`NACK: ${answers[0]?.error?.message}`);
      expect(await mesh.reaches("client", "guarded")).toBe(true);
      const line = await logLine(mesh.ztunnel(1), "refused a part of a push, all else of it is in force", since);
      expect(line).toContain(`refused=${bad.length + 1}`);
      expect(line).toContain(bad[0]?.name);
      expect(total(await mesh.ztunnel(1).metrics(), "ambient_xds_resources_refused_total")).toBe(bad.length + 1);
      const page = JSON.parse((await mesh.ztunnel(1).ask(ADMIN_PORT, "/debug/controlplane")).body);
      expect(page).toMatchObject({
        discovery: { connected: true, types: [{ refused: { error: answers[0]?.error?.message } }, {}] },
      });
      // The next good push of that type is accepted as if nothing had been.
      const again = await mesh.istiod.answers(
        await mesh.istiod.put({
          put: [mesh.workload("guarded", { policies: [`${LAB_NAMESPACE}/guard`] })],
          removedAddresses: [...bad, badService()].map(({ name }) => name),
        }),
      );
      expect(again.map(({ meaning }) => meaning)).toEqual(["ack", "ack"]);
      expect(await mesh.reaches("client", "guarded")).toBe(false);
      const witness = await bystanders.stop();
      expect(witness.failures).toEqual([]);
      expect(witness.tunnelsLost).toEqual([]);
    },
    SUITE_MS,
  );

  test(
    "a policy that cannot be read: its last good version stays, and a new one denies until it can be read",
    async () => {
      const mesh = shared();
      const bystanders = await Bystanders.start(mesh, { from: "client", to: "server" });
      await mesh.istiod.answers(await mesh.istiod.put({ put: [policy("guard", PORT + 1)] }));
      expect(await mesh.reaches("client", "guarded")).toBe(true);
      expect(await mesh.reaches("client", "selected")).toBe(true);
      const since = mesh.ztunnel(1).process.lines.length;
      const garbage = (name: string) => ({
        typeUrl: AUTHORIZATION_TYPE,
        name: `${LAB_NAMESPACE}/${name}`,
        value: Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]).toString("base64"),
      });
      const push = await mesh.istiod.put({ put: [garbage("guard"), garbage("unread")] });
      for (const { meaning, error } of await mesh.istiod.answers(push)) {
        expect(meaning).toBe("nack");
        expect(error?.message).toMatch(/demo\/guard: .+; demo\/unread: .+/);
      }
      const kept = await logLine(mesh.ztunnel(1), "policy refused, its last good version stays", since);
      expect(kept).toContain('policy="demo/guard"');
      const denied = await logLine(mesh.ztunnel(1), "policy refused, all that it selects is denied", since);
      expect(denied).toContain('policy="demo/unread"');
      expect(await mesh.reaches("client", "guarded")).toBe(true);
      expect(await mesh.reaches("client", "selected")).toBe(false);
      // One from before whose end is under way still may be cut by the policy that comes.
      const cut = "connection closed due to policy change";
      const line = await mesh.ztunnel(1).accessLine(({ fields }) =>
        fields["policy"] === "demo/unread" && fields["error"] !== cut
      );
      expect(line.fields["error"]).toBe(
        "connection closed due to policy rejection: explicitly denied by: demo/unread",
      );
      await mesh.istiod.answers(await mesh.istiod.put({ put: [policy("unread", PORT + 1), policy("guard", PORT)] }));
      expect(await mesh.reaches("client", "selected")).toBe(true);
      expect(await mesh.reaches("client", "guarded")).toBe(false);
      const witness = await bystanders.stop();
      expect(witness.failures).toEqual([]);
      expect(witness.tunnelsLost).toEqual([]);
    },
    SUITE_MS,
  );

  test(
    "a server that goes away in order (GOAWAY) ends no stream; certificates come over another connection",
    async () => {
      const mesh = shared();
      const bystanders = await Bystanders.start(mesh, { from: "client", to: "server" });
      const mark = await mesh.istiod.caughtUp();
      await mesh.istiod.breakStreams({ how: "goaway", code: 0, end: false });
      const answers = await mesh.istiod.answers(await mesh.istiod.put({ put: [policy("guard", PORT + 2)] }));
      expect(answers.map(({ meaning }) => meaning)).toEqual(["ack", "ack"]);
      expect(await mesh.reaches("client", "guarded")).toBe(true);
      await mesh.istiod.caughtUp();
      expect(mesh.istiod.seen.events.slice(mark).filter(({ kind }) => kind === "ended")).toEqual([]);
      const witness = await bystanders.stop();
      expect(witness.failures).toEqual([]);
      expect(witness.tunnelsLost).toEqual([]);
    },
    SUITE_MS,
  );
});
