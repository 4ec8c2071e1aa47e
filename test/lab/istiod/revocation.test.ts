/** Certificates that the mesh's authority revokes, at the handshake and under open connections (spec/ztunnel.md §3.6). */
import { expect, test } from "bun:test";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { labSuite } from "../fixture.ts";
import { LAB_NAMESPACE, type LogLine, total, writeFile } from "../mesh/mod.ts";
import type { Lab } from "../topology/mod.ts";
import type { Conversation } from "../traffic/mod.ts";
import { Bystanders } from "./bystanders.ts";
import { type ControlledMesh, controlledMesh, pingPong } from "./fixture.ts";

const CUT = "connection closed: peer certificate revoked by CRL";
/** The file is looked at two seconds after it changed. */
const TAKEN_MS = 30_000;
const SUITE_MS = 90_000;

const pathOf = (lab: Lab, node: number) => join(lab.directory, `crl-${node}`, "ca-crl.pem");

labSuite("a revoked certificate", () => {
  const shared = controlledMesh({
    pods: [
      { name: "client", node: 0, captured: true },
      { name: "thief", node: 0, captured: true },
      { name: "server", node: 1, captured: true },
      { name: "stolen", node: 1, captured: true },
    ],
    environment: (node, lab) => ({ CRL_PATH: pathOf(lab, node) }),
    prepare: (mesh) => {
      for (const node of mesh.lab.nodes.keys()) mkdirSync(join(pathOf(mesh.lab, node), ".."));
      return Promise.resolve();
    },
  }, (mesh) => {
    for (const pod of ["server", "stolen"]) mesh.serve(pod);
  });

  /** Revokes all that was issued to a pod, for the ztunnel of one node to read. */
  async function revoke(mesh: ControlledMesh, pod: string, node: number): Promise<void> {
    const identity = `spiffe://cluster.local/ns/${LAB_NAMESPACE}/sa/${pod}`;
    writeFile(pathOf(mesh.lab, node), await mesh.istiod.revoke({ identities: [identity] }));
  }

  const cut = (direction: string) => (line: LogLine) =>
    line.message === "connection complete" && line.fields["error"] === CUT && line.fields["direction"] === direction;

  async function isOver(conversation: Conversation): Promise<void> {
    await conversation.readToEnd(TAKEN_MS);
    conversation.close();
  }

  const rejections = async (mesh: ControlledMesh, node: number, reporter: string) =>
    total(await mesh.ztunnel(node).metrics(), "istio_crl_policy_rejections_total", { reporter });
  const revoked = (reporter: string) => ({ reporter, response_flags: "CERT_REVOKED" });

  test("crl_inbound_terminates_existing_connection_on_revocation", async () => {
    const mesh = shared();
    const ztunnel = mesh.ztunnel(1);
    const bystanders = await Bystanders.start(mesh, { from: "client", to: "server" });
    const open = await mesh.talk("thief", "server");
    await revoke(mesh, "thief", 1);
    await ztunnel.accessLine(cut("inbound"), 0, TAKEN_MS);
    await isOver(open);
    expect(await rejections(mesh, 1, "destination")).toBe(1);
    expect(total(await ztunnel.metrics(), "istio_tcp_connections_failed_total", revoked("destination"))).toBe(1);
    const witness = await bystanders.stop();
    expect(witness.failures).toEqual([]);
    expect(witness.tunnelsLost).toEqual([]);
  }, SUITE_MS);

  test("crl_inbound_rejects_revoked_cert", async () => {
    const mesh = shared();
    const ztunnel = mesh.ztunnel(1);
    const before = await rejections(mesh, 1, "destination");
    expect(await mesh.reaches("thief", "server")).toBe(false);
    const refused = await ztunnel.accessLine(({ message }) => message === "connection failed");
    expect(refused.fields["direction"]).toBe("inbound");
    expect(refused.fields["error"]).toStartWith("tls handshake error: CERT_REVOKED: certificate revoked (serial 0x");
    expect(await rejections(mesh, 1, "destination")).toBeGreaterThan(before);
    expect(await mesh.reaches("client", "server")).toBe(true);
  }, SUITE_MS);

  test("crl_outbound_terminates_existing_connection_on_revocation", async () => {
    const mesh = shared();
    const ztunnel = mesh.ztunnel(0);
    const bystanders = await Bystanders.start(mesh, { from: "client", to: "server" });
    const open = await mesh.talk("client", "stolen");
    await revoke(mesh, "stolen", 0);
    await ztunnel.accessLine(cut("outbound"), 0, TAKEN_MS);
    await isOver(open);
    expect(await rejections(mesh, 0, "source")).toBe(1);
    expect(total(await ztunnel.metrics(), "istio_tcp_connections_failed_total", revoked("source"))).toBe(1);
    expect(total(await ztunnel.metrics(), "istio_crl_untracked_connections_total")).toBe(0);
    const witness = await bystanders.stop();
    expect(witness.failures).toEqual([]);
    expect(witness.tunnelsLost).toEqual([]);
  }, SUITE_MS);

  test("crl_outbound_rejects_revoked_cert", async () => {
    const mesh = shared();
    const before = await rejections(mesh, 0, "source");
    const refused = await mesh.refusal("client", "stolen");
    expect(refused.fields["direction"]).toBe("outbound");
    expect(refused.fields["error"]).toStartWith("io error: CERT_REVOKED: certificate revoked (serial 0x");
    expect(await rejections(mesh, 0, "source")).toBeGreaterThan(before);
    expect(await mesh.reaches("client", "server")).toBe(true);
  }, SUITE_MS);

  test("of the authority between root and workloads ends all that it signed", async () => {
    const mesh = shared();
    const open = await pingPong(await mesh.talk("client", "server"));
    writeFile(pathOf(mesh.lab, 0), await mesh.istiod.revoke({ intermediates: [0] }));
    await isOver(open);
    const ended = await mesh.ztunnel(0).endOf(open.address);
    expect([ended.fields["error"], ended.fields["direction"]]).toEqual([CUT, "outbound"]);
    const refused = await mesh.refusal("client", "server");
    expect(refused.fields["error"]).toStartWith("io error: CERT_REVOKED: certificate revoked (serial 0x");
  }, SUITE_MS);
});
