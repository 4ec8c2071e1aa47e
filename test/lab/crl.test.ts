/** Revoked certificates, at the handshake and under open connections, in both directions (spec/ztunnel.md §3.6, §12.1). */
import { afterAll, expect, test } from "bun:test";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { openssl } from "../identity/forging_ca.ts";
import { OpensslPki } from "../tls/openssl_pki.ts";
import { labSuite, type Mesh, sharedMesh } from "./fixture.ts";
import { identityOf, type LogLine, type Proxy, total, waypointGateway, writeFile } from "./mesh/mod.ts";
import { eventually } from "./topology/mod.ts";
import { Conversation, doubling } from "./traffic/mod.ts";

const PORT = 8080;
const REVOKED = "connection closed: peer certificate revoked by CRL";
/** The file is looked at two seconds after it changed. */
const TAKEN_MS = 30_000;
const SUITE_MS = 90_000;

const pki = new OpensslPki();
afterAll(() => pki.remove());

/** Hex serial of a pod's certificate, as the proxy that has it shows it. */
async function serialOf(mesh: Mesh, proxy: Proxy, pod: string): Promise<string> {
  const identity = identityOf({ pod: mesh.lab.pod(pod), hbone: true });
  const { certificates } = await proxy.configDump() as {
    certificates: { identity: string; certChain: { serialNumber: string }[] }[];
  };
  const [leaf] = certificates.find((certificate) => certificate.identity === identity)?.certChain ?? [];
  const hex = BigInt(leaf?.serialNumber ?? 0).toString(16).toUpperCase();
  return hex.length % 2 === 0 ? hex : `0${hex}`;
}

/** A list of the mesh's own root. */
function meshList(mesh: Mesh, serials: readonly string[]): string {
  const file = join(mesh.caDirectory, "root.pem"); // key and certificate
  const pem = openssl(["x509", "-in", file]);
  const authority = { name: "mesh", certificate: file, key: file, pem, serial: "", intermediates: "" };
  return pki.list(authority, serials, { extensions: [] });
}

labSuite("revocation lists", () => {
  const pathOf = (node: number) => join(pki.directory, `node-${node}`, "crl.pem");

  const shared = sharedMesh({
    pods: [
      { name: "client", node: 0, captured: true },
      { name: "bystander", node: 0, captured: true },
      { name: "server", node: 1, captured: true },
      { name: "other", node: 1, captured: true },
    ],
    meshed: ["client", "bystander", "server", "other"],
    environment: (node) => ({ CRL_PATH: pathOf(node) }),
    configuration: (lab) => ({
      workloads: ["client", "bystander", "server", "other"].map((name) => ({ pod: lab.pod(name), hbone: true })),
    }),
  }, (mesh) => {
    for (const pod of ["server", "other"]) mesh.serve(pod, PORT, doubling);
  });

  const open = (from: string, to: string) =>
    Conversation.open(shared().lab.pod(from).namespace, { ip: shared().lab.pod(to).ip, port: PORT });
  const talks = async (conversation: Conversation) => expect(await conversation.write("ab").read(4)).toBe("xxxx");

  /** Gives the ztunnel of a node a list of the mesh's root. */
  function revoke(mesh: Mesh, node: number, serials: readonly string[]): void {
    writeFile(pathOf(node), meshList(mesh, serials));
  }

  const ended = (direction: string) => (line: LogLine) =>
    line.message === "connection complete" && line.fields["error"] === REVOKED &&
    line.fields["direction"] === direction;

  test("a client's certificate: its connections are cut by the server's side, and it comes in no more", async () => {
    const mesh = shared();
    const ztunnel = mesh.ztunnel(1);
    mkdirSync(join(pki.directory, "node-1")); // the folder too may come later
    const [first, second, stays] = [
      await open("client", "server"),
      await open("client", "server"),
      await open("bystander", "server"),
    ];
    for (const conversation of [first, second, stays]) await talks(conversation);
    revoke(mesh, 1, [await serialOf(mesh, mesh.ztunnel(0), "client")]);
    await ztunnel.accessLine(ended("inbound"), 0, TAKEN_MS);
    for (const conversation of [first, second]) {
      await conversation.readToEnd().catch(() => "");
      conversation.close();
    }
    await talks(stays);
    const cut = { reporter: "destination", response_flags: "CERT_REVOKED" };
    await eventually(
      "both are counted",
      async () => total(await ztunnel.metrics(), "istio_tcp_connections_failed_total", cut) === 2,
    );
    const since = ztunnel.access.length;
    const late = await open("client", "server");
    await late.write("ab").readToEnd().catch(() => "");
    late.close();
    const refused = await ztunnel.accessLine(({ message }) => message === "connection failed", since);
    expect(refused.fields["error"]).toStartWith("tls handshake error: CERT_REVOKED: certificate revoked (serial 0x");
    expect(total(await ztunnel.metrics(), "istio_crl_policy_rejections_total", { reporter: "destination" }))
      .toBeGreaterThan(1);
    await talks(stays);
    stays.close();
  }, SUITE_MS);

  test("a server's certificate: connections to it are cut by the client's side, and none are made", async () => {
    const mesh = shared();
    const ztunnel = mesh.ztunnel(0);
    mkdirSync(join(pki.directory, "node-0"));
    const [cut, stays] = [await open("bystander", "other"), await open("bystander", "server")];
    for (const conversation of [cut, stays]) await talks(conversation);
    revoke(mesh, 0, [await serialOf(mesh, mesh.ztunnel(1), "other")]);
    await ztunnel.accessLine(ended("outbound"), 0, TAKEN_MS);
    await cut.readToEnd().catch(() => "");
    cut.close();
    await talks(stays);
    stays.close();
    const metrics = await ztunnel.metrics();
    expect(total(metrics, "istio_tcp_connections_failed_total", { reporter: "source", response_flags: "CERT_REVOKED" }))
      .toBe(1);
    expect(total(metrics, "istio_crl_policy_rejections_total", { reporter: "source" })).toBe(1);
    expect(total(metrics, "istio_crl_untracked_connections_total")).toBe(0);
    const late = await open("bystander", "other");
    await late.write("ab").readToEnd().catch(() => "");
    late.close();
    const refused = await ztunnel.endOf(late.address);
    expect(refused.fields["error"]).toStartWith("io error: CERT_REVOKED: certificate revoked");
    expect(refused.fields["direction"]).toBe("outbound");
  }, SUITE_MS);
});

labSuite("revocation lists of a waypoint", () => {
  const VIP = "10.96.9.1";
  const path = join(pki.directory, "waypoint.pem");
  const shared = sharedMesh({
    pods: [
      { name: "client", node: 0, captured: true },
      { name: "bystander", node: 0, captured: true },
      { name: "server", node: 1, captured: true },
      { name: "waypoint", node: 1, captured: false },
    ],
    meshed: ["client", "bystander", "server"],
    waypoints: [{ pod: "waypoint", environment: { CRL_PATH: path } }],
    configuration: (lab) => ({
      workloads: [
        { pod: lab.pod("client"), hbone: true },
        { pod: lab.pod("bystander"), hbone: true },
        { pod: lab.pod("server"), hbone: true, services: { web: { 80: PORT } } },
        { pod: lab.pod("waypoint"), hbone: true },
      ],
      services: [
        { name: "web", vip: VIP, ports: { 80: PORT }, waypoint: lab.pod("waypoint"), appProtocols: { 80: "TCP" } },
      ],
      objects: [waypointGateway()],
    }),
  }, (mesh) => void mesh.serve("server", PORT, doubling));

  test("cut a client's tunnel, then the tunnel to a server, and nobody else's", async () => {
    const mesh = shared();
    const waypoint = mesh.waypoint();
    const open = (from: string) => Conversation.open(mesh.lab.pod(from).namespace, { ip: VIP, port: 80 });
    const talks = async (conversation: Conversation) => expect(await conversation.write("ab").read(4)).toBe("xxxx");
    const rejections = async (reporter: string) =>
      total(await waypoint.metrics(), "istio_crl_policy_rejections_total", { reporter });
    const [first, second] = [await open("client"), await open("bystander")];
    for (const conversation of [first, second]) await talks(conversation);
    const client = await serialOf(mesh, mesh.ztunnel(0), "client");
    writeFile(path, meshList(mesh, [client]));
    await eventually("the client is cut", async () => await rejections("destination") === 1, TAKEN_MS);
    await first.readToEnd().catch(() => "");
    await talks(second);
    writeFile(path, meshList(mesh, [client, await serialOf(mesh, mesh.ztunnel(1), "server")]));
    await eventually("the server is cut", async () => await rejections("source") > 0, TAKEN_MS);
    await second.readToEnd().catch(() => "");
    for (const conversation of [first, second]) conversation.close();
  }, SUITE_MS);
});
