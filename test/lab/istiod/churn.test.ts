/** What istiod changes takes effect at once, and nobody else notices (spec/ztunnel.md §3.2, §3.3, §8.4). */
import { expect, test } from "bun:test";
import { type MeshChange, policyText, serviceText } from "../../istiod/mod.ts";
import { Action, Scope } from "../../../proto/gen/authorization_pb.ts";
import { labSuite } from "../fixture.ts";
import { LAB_NAMESPACE } from "../mesh/mod.ts";
import { LAB_DEADLINE_MS } from "../topology/process.ts";
import { Bystanders, figures } from "./bystanders.ts";
import { type ControlledMesh, controlledMesh, PORT } from "./fixture.ts";

const VIP = "10.96.0.10";
const OTHER_VIP = "10.96.0.11";
const SERVICE_PORT = 80;
const KEY = `${LAB_NAMESPACE}/web.${LAB_NAMESPACE}.svc.cluster.local`;
/** Rounds of each change: the median of them counts, for on a busy machine a probe may be late. */
const ROUNDS = 5;
/** From the push being written to the end of the first connection that sees it. */
const IN_FORCE_MS = 100;
/** Between the starts of connections that look for the change. */
const PROBE_MS = 4;
/** What becomes of that on a machine that has nothing else to do. Where it becomes more, limits grow with it. */
const IDLE_PAUSE_MS = 5;

interface Change {
  readonly label: string;
  readonly change: (mesh: ControlledMesh) => MeshChange;
  /** Whether the probe's connections get through when the change is in force. */
  readonly open: boolean;
}

interface Timing {
  readonly tookMs: number;
  /** Mean time between the starts of connections, which is PROBE_MS where nobody else wants the processors. */
  readonly pauseMs: number;
}

/**
 * Makes a change while a connection is tried every few milliseconds, and says how long it took from the push being
 * written to the end of the first one that the change decided about; ms. Those that fall between the two ztunnels may
 * wait for a record that has just gone, so nobody waits for them here: they are added to `probes`.
 */
async function inForce(
  mesh: ControlledMesh,
  { label, change, open }: Change,
  probe: () => Promise<boolean>,
  probes: Promise<void>[],
): Promise<Timing> {
  let seen: number | undefined;
  let begun = 0;
  const start = performance.now();
  const pushed = mesh.istiod.put(change(mesh));
  while (seen === undefined) {
    if (performance.now() - start > LAB_DEADLINE_MS) throw new Error(`${label}: no connection saw it`);
    probes.push(
      probe().then((through) => {
        if (through === open) seen ??= Date.now();
      }),
    );
    begun++;
    await Bun.sleep(PROBE_MS);
  }
  const pauseMs = (performance.now() - start) / begun;
  const push = await pushed;
  await mesh.istiod.answers(push);
  const nonces = new Set(push.sent.map(({ nonce }) => nonce));
  const written = mesh.istiod.seen.all("response").filter(({ nonce }) => nonces.has(nonce)).map(({ at }) => at);
  return { tookMs: seen - Math.max(...written), pauseMs };
}

labSuite("changes under traffic", () => {
  const shared = controlledMesh({
    pods: [
      { name: "client", node: 0, captured: true },
      { name: "prober", node: 0, captured: true },
      { name: "server", node: 1, captured: true },
      { name: "backend", node: 1, captured: true },
    ],
    content: () => [
      serviceText({ name: "web", namespace: LAB_NAMESPACE, addresses: [VIP], ports: { [SERVICE_PORT]: PORT } }),
    ],
  }, (mesh) => {
    for (const pod of ["server", "backend"]) mesh.serve(pod);
    // Addresses of services that nobody knows are refused at once; of unreachable ones routers seldom tell.
    mesh.lab.node(0).namespace.run(["ip", "route", "add", "local", "10.96.0.0/16", "dev", "lo"]);
  });

  const deny = (name: string) =>
    policyText({
      name,
      namespace: LAB_NAMESPACE,
      scope: Scope.WORKLOAD_SELECTOR,
      action: Action.DENY,
      rules: [{ clauses: [{ matches: [{ destinationPorts: [PORT] }] }] }],
    });

  const backend = (mesh: ControlledMesh) => mesh.workload("backend", { services: { [KEY]: { [SERVICE_PORT]: PORT } } });
  const alone = (mesh: ControlledMesh) => mesh.workload("backend");

  /** Goes through pairs of changes, several times, with bystanders all along. */
  async function rounds(to: string, port: number, changes: readonly Change[]): Promise<void> {
    const mesh = shared();
    const bystanders = await Bystanders.start(mesh, { from: "client", to: "server" });
    const times = new Map<string, number[]>();
    const pauses: number[] = [];
    const probes: Promise<void>[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      for (const change of changes) {
        const { tookMs, pauseMs } = await inForce(mesh, change, () => mesh.reaches("prober", to, port), probes);
        times.set(change.label, [...times.get(change.label) ?? [], tookMs]);
        pauses.push(pauseMs);
      }
    }
    await Promise.all(probes);
    await bystanders.more(5);
    const witness = await bystanders.stop();
    const pauseMs = pauses.reduce((sum, pause) => sum + pause, 0) / pauses.length;
    const slowness = Math.max(1, pauseMs / IDLE_PAUSE_MS);
    console.log(
      `a probe every ${pauseMs.toFixed(1)} ms: limits are those of an idle machine times ${slowness.toFixed(1)}`,
    );
    for (const [label, list] of times) {
      const sorted = [...list].sort((left, right) => left - right);
      const ms = (value: number | undefined) => (value ?? NaN).toFixed(0);
      console.log(
        `${label}: fastest ${ms(sorted[0])}, median ${ms(sorted[ROUNDS >> 1])}, slowest ${ms(sorted.at(-1))} ms`,
      );
      expect(sorted[ROUNDS >> 1], label).toBeLessThan(IN_FORCE_MS * slowness);
    }
    console.log(`meanwhile elsewhere: ${figures(witness)}`);
    expect(witness.failures).toEqual([]);
    expect(witness.tunnelsLost).toEqual([]);
  }

  test(
    "a pod that is added, or removed, is an endpoint, or none, within 100 ms of the push, and nothing else is disturbed",
    async () => {
      await rounds(VIP, SERVICE_PORT, [
        { label: "pod added", open: true, change: (mesh) => ({ put: [backend(mesh)] }) },
        { label: "pod removed", open: false, change: (mesh) => ({ removedAddresses: [backend(mesh).name] }) },
      ]);
      const mesh = shared();
      await mesh.istiod.answers(await mesh.istiod.put({ put: [alone(mesh)] }));
    },
    120_000,
  );

  test(
    "a service that is added, changed or removed is so within 100 ms of the push, and nothing else is disturbed",
    async () => {
      const mesh = shared();
      const service = (addresses: readonly string[]) =>
        serviceText({ name: "web", namespace: LAB_NAMESPACE, addresses, ports: { [SERVICE_PORT]: PORT } });
      await mesh.istiod.answers(await mesh.istiod.put({ removedAddresses: [service([]).name] }));
      await rounds(VIP, SERVICE_PORT, [
        { label: "service added", open: true, change: (mesh) => ({ put: [service([VIP]), backend(mesh)] }) },
        { label: "service moved to another address", open: false, change: () => ({ put: [service([OTHER_VIP])] }) },
        { label: "service moved back", open: true, change: () => ({ put: [service([VIP])] }) },
        {
          label: "service removed",
          open: false,
          change: (mesh) => ({ put: [alone(mesh)], removedAddresses: [service([]).name] }),
        },
      ]);
    },
    120_000,
  );

  test(
    "a policy that is added, changed or removed is so within 100 ms of the push, and nothing else is disturbed",
    async () => {
      const mesh = shared();
      const name = `${LAB_NAMESPACE}/closed`;
      await mesh.istiod.answers(await mesh.istiod.put({ put: [mesh.workload("backend", { policies: [name] })] }));
      const elsewhere = policyText({
        name: "closed",
        namespace: LAB_NAMESPACE,
        scope: Scope.WORKLOAD_SELECTOR,
        action: Action.DENY,
        rules: [{ clauses: [{ matches: [{ destinationPorts: [PORT + 1] }] }] }],
      });
      await rounds("backend", PORT, [
        { label: "policy added", open: false, change: () => ({ put: [deny("closed")] }) },
        { label: "policy changed", open: true, change: () => ({ put: [elsewhere] }) },
        { label: "policy changed back", open: false, change: () => ({ put: [deny("closed")] }) },
        { label: "policy removed", open: true, change: () => ({ removedPolicies: [name] }) },
      ]);
    },
    120_000,
  );

  test("a policy that comes cuts the connections it denies, and no other", async () => {
    const mesh = shared();
    await mesh.istiod.answers(
      await mesh.istiod.put({ put: [mesh.workload("backend", { policies: [`${LAB_NAMESPACE}/cut`] })] }),
    );
    const bystanders = await Bystanders.start(mesh, { from: "client", to: "server" });
    const denied = await mesh.talk("prober", "backend");
    await mesh.istiod.put({ put: [deny("cut")] });
    await denied.readToEnd();
    denied.close();
    // By its policy: connections of the tests before may have been cut too.
    const line = await mesh.ztunnel(1).accessLine(({ fields }) => fields["policy"] === `${LAB_NAMESPACE}/cut`);
    expect(line.fields["error"]).toBe("connection closed due to policy change");
    await bystanders.more(3);
    const witness = await bystanders.stop();
    expect(witness.failures).toEqual([]);
    expect(witness.tunnelsLost).toEqual([]);
    await mesh.istiod.answers(await mesh.istiod.put({ removedPolicies: [`${LAB_NAMESPACE}/cut`] }));
  }, 120_000);
});
