/**
 * Certificates that istiod does not give, or gives wrong: the user reads why, the pods that have one do not notice, and
 * the others come in by themselves when it is mended (spec/ztunnel.md §3.4, §3.5).
 */
import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import type { CaSettings, Istiod } from "../../istiod/mod.ts";
import { labSuite } from "../fixture.ts";
import { LAB_NAMESPACE, total } from "../mesh/mod.ts";
import { eventually } from "../topology/mod.ts";
import { Conversation } from "../traffic/mod.ts";
import { Bystanders, figures } from "./bystanders.ts";
import { type ControlledMesh, controlledMesh, logLine, pingPong, PORT } from "./fixture.ts";

/** Of a fault and its end, ms: retries come after 1, 2, 4 … s. */
const FAULT_MS = 90_000;

interface Fault {
  readonly name: string;
  readonly make: (istiod: Istiod) => Promise<unknown>;
  readonly error: RegExp;
  readonly mend: (istiod: Istiod) => Promise<unknown>;
}

function wrong(name: string, settings: Partial<CaSettings>, good: Partial<CaSettings>, error: RegExp): Fault {
  return { name, make: (istiod) => istiod.setCa(settings), mend: (istiod) => istiod.setCa(good), error };
}

const FAULTS: readonly Fault[] = [
  wrong(
    "another's identity in it",
    { identity: "spiffe://cluster.local/ns/demo/sa/somebody" },
    { identity: undefined },
    /did not find expected SAN: spiffe:\/\/cluster\.local\/ns\/demo\/sa\/pod\d+, got [^ ]*\/sa\/somebody/,
  ),
  wrong("a chain of one element", { chain: "leaf" }, { chain: "full" }, /it is the leaf alone, without a root/),
  wrong("no chain at all", { chain: "empty" }, { chain: "full" }, /chain returned from CA is empty for: spiffe:/),
  wrong(
    "no certificate in it",
    { chain: "garbage" },
    { chain: "full" },
    /certificate of the CA's answer \(cert_chain\[0\]\)/,
  ),
  wrong(
    "a key of somebody else",
    { foreignKey: true },
    { foreignKey: false },
    /is for another key than that of our request/,
  ),
  wrong(
    "an end that has passed",
    { shiftSeconds: -1_000_000 },
    { shiftSeconds: 0 },
    /the CA issued a certificate that ended at 20/,
  ),
  wrong(
    "a refusal in its place",
    { refuse: { code: 14, message: "the signer is not ready" } },
    { refuse: undefined },
    /signing gRPC error \(UNAVAILABLE\): \S+: the signer is not ready/,
  ),
  {
    name: "a refusal for the token",
    make: (istiod) => istiod.setPort({ refuseTokens: true }),
    mend: (istiod) => istiod.setPort({ refuseTokens: false }),
    error: /signing gRPC error \(UNAUTHENTICATED\): /,
  },
  {
    name: "no question, as the token file is empty",
    make: (istiod) => Promise.resolve(writeFileSync(istiod.tokenPath, "")),
    mend: (istiod) => Promise.resolve(writeFileSync(istiod.tokenPath, "another-token")),
    error: /signing gRPC error \(UNAUTHENTICATED\): the call has not been sent: the token file \S+ is empty/,
  },
];

const PODS = [
  { name: "client", node: 0, captured: true },
  { name: "server", node: 1, captured: true },
];

labSuite("a certificate", () => {
  const shared = controlledMesh({ pods: PODS }, (mesh) => void mesh.serve("server"));
  let made = 0;

  /** A pod that comes while something is wrong. */
  async function newPod(mesh: ControlledMesh): Promise<string> {
    const name = `pod${++made}`;
    await mesh.addPod({ name, node: 0, captured: true });
    await mesh.istiod.answers(await mesh.istiod.put({ put: [mesh.workload(name)] }));
    return name;
  }

  test.each(FAULTS.map((fault) => [fault.name, fault] as const))(
    "with %s: told, unnoticed by others, and mended by itself",
    async (_, fault) => {
      const mesh = shared();
      const ztunnel = mesh.ztunnel(0);
      const bystanders = await Bystanders.start(mesh, { from: "client", to: "server" });
      const since = ztunnel.process.lines.length;
      await fault.make(mesh.istiod);
      const name = await newPod(mesh);
      const identity = `spiffe://cluster.local/ns/${LAB_NAMESPACE}/sa/${name}`;
      const line = await logLine(ztunnel, new RegExp(`certificate cannot be fetched.*/sa/${name}" `), since);
      expect(line).toMatch(fault.error);
      expect(line).toMatch(/failures=1 retry=\d/);
      expect(total(await ztunnel.metrics(), "ambient_certificate_requests_total", { result: "failure" }))
        .toBeGreaterThan(0);
      const refused = await mesh.refusal(name, "server");
      expect(refused.fields["error"]).toStartWith("identity error: ");
      expect(refused.fields["error"]).toMatch(fault.error);
      const { certificates } = await ztunnel.configDump() as { certificates: { identity: string; state: string }[] };
      const { state } = certificates.find((certificate) => certificate.identity === identity) ?? { state: "none" };
      expect(state).toStartWith("Unavailable: ");
      expect(state).toMatch(fault.error);
      await fault.mend(mesh.istiod);
      await eventually("the pod to have its certificate", () => mesh.reaches(name, "server"), FAULT_MS);
      const witness = await bystanders.stop();
      expect(witness.failures).toEqual([]);
      expect(witness.tunnelsLost).toEqual([]);
    },
    FAULT_MS,
  );

  test("that comes late: connections wait for it, and go on", async () => {
    const mesh = shared();
    await mesh.istiod.setCa({ delayMs: 1_500 });
    const name = await newPod(mesh);
    const waiting = await Conversation.open(mesh.lab.pod(name).namespace, {
      ip: mesh.lab.pod("server").ip,
      port: PORT,
    });
    const start = performance.now();
    await pingPong(waiting);
    console.log(`waited ${Math.round(performance.now() - start)} ms for its certificate`);
    waiting.close();
    expect(total(await mesh.ztunnel(0).metrics(), "ambient_connections_held_total", { reason: "certificate" }))
      .toBeGreaterThan(0);
    await mesh.istiod.setCa({ delayMs: 0 });
  }, FAULT_MS);
});

const WITHDRAWN = "connection closed: peer certificate leads to no trusted root any more";
/** Renewed every three seconds or so. */
const TTL_SECONDS = 6;

labSuite("roots", () => {
  const shared = controlledMesh({ pods: PODS, istiod: { ca: { ttlSeconds: TTL_SECONDS } } }, (mesh) => {
    mesh.serve("server");
  });

  /** Waits until every identity has been asked for anew since the mark. */
  async function renewed(mesh: ControlledMesh): Promise<void> {
    const mark = await mesh.istiod.caughtUp();
    for (const { name } of PODS) {
      const identity = `spiffe://cluster.local/ns/${LAB_NAMESPACE}/sa/${name}`;
      await mesh.istiod.seen.until("csr", ({ impersonated, status }) => impersonated === identity && status === 0, {
        since: mark,
        deadlineMs: FAULT_MS,
      });
    }
  }

  test(
    "that change, first both, then the new one alone, under traffic: both are accepted meanwhile, and nothing is lost",
    async () => {
      const mesh = shared();
      const ancient = await mesh.talk("client", "server");
      const old = await Bystanders.start(mesh, { from: "client", to: "server" });
      const root = await mesh.istiod.newRoot();
      await mesh.istiod.setCa({ roots: [0, root] });
      await renewed(mesh);
      await mesh.istiod.setCa({ issuer: root });
      await renewed(mesh);
      await old.more(5);
      const during = await old.stop();
      expect(during.failures).toEqual([]);
      await pingPong(ancient);
      const bystanders = await Bystanders.start(mesh, { from: "client", to: "server" });
      const since = mesh.ztunnels.map(({ access }) => access.length);
      await mesh.istiod.setCa({ roots: [root] });
      await renewed(mesh);
      // One from before the change, whose tunnel nobody would trust any more, does not stay; the log says why.
      await ancient.readToEnd(FAULT_MS);
      ancient.close();
      await Promise.any(
        mesh.ztunnels.map((ztunnel, node) =>
          ztunnel.accessLine(({ fields }) => fields["error"] === WITHDRAWN, since[node])
        ),
      );
      await bystanders.more(20);
      const witness = await bystanders.stop();
      console.log(`roots withdrawn: ${figures(witness)}`);
      expect(witness.failures).toEqual([]);
    },
    FAULT_MS,
  );
});
