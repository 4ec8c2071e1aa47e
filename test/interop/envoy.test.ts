/** Envoy as a neighbour: as an HBONE client through our waypoint, and as an HBONE server behind it. */
import { describe, expect, test } from "bun:test";
import { Buffer } from "node:buffer";
import { join } from "node:path";
import { labSuite, type MeshPlan, sharedMesh, TEST_MS } from "../lab/fixture.ts";
import { hostnameOf, LAB_NAMESPACE, waypointGateway } from "../lab/mesh/mod.ts";
import type { EchoedRequest, PodCaller } from "../lab/peers/mod.ts";
import { Conversation, doubling, fieldOf, http1, Http1Client, jsonOf } from "../lab/traffic/mod.ts";
import { authorization, principal } from "../lab/waypoint/mesh.ts";
import { type Credentials, hboneClient, hboneServer, installEnvoy, startEnvoy } from "./envoy/mod.ts";

const MB = 1 << 20;
const VIP = "10.96.9.1";
const ENVOY_VIP = "10.96.9.2";
const TARGET = 8080;
const TCP_TARGET = 9000;
const GRPC_TARGET = 7070;
const PORTS = { 80: TARGET, 82: TCP_TARGET, 84: GRPC_TARGET };
const PROTOCOLS = { 80: "HTTP", 82: "TCP", 84: "GRPC" };
/** Ports of the sidecar on loopback. */
const TO_WEB = 19080;
const TO_TCP = 19082;
const TO_GRPC = 19084;
const TO_NOWHERE = 19099;

const plan: MeshPlan = {
  pods: [
    { name: "sidecar", node: 0, captured: false },
    { name: "client", node: 0, captured: true },
    { name: "web", node: 1, captured: true },
    { name: "envoy", node: 1, captured: false },
    { name: "waypoint", node: 1, captured: false },
  ],
  meshed: ["client", "web"],
  waypoints: [{ pod: "waypoint" }],
  configuration: (lab) => {
    const waypoint = lab.pod("waypoint");
    const service = (name: string, vip: string) => ({ name, vip, ports: PORTS, appProtocols: PROTOCOLS, waypoint });
    return {
      workloads: [
        { pod: lab.pod("client"), hbone: true },
        { pod: lab.pod("sidecar"), hbone: true },
        { pod: lab.pod("web"), hbone: true, services: { web: PORTS } },
        { pod: lab.pod("envoy"), hbone: true, services: { envoy: PORTS } },
        { pod: waypoint, hbone: true },
      ],
      services: [service("web", VIP), service("envoy", ENVOY_VIP)],
      objects: [waypointGateway()],
    };
  },
};

const installed = installEnvoy();

function envoySuite(): void {
  const identity = (account: string) => `spiffe://cluster.local/ns/${LAB_NAMESPACE}/sa/${account}`;
  const processes: { stop(signal: "SIGKILL"): Promise<number> }[] = [];
  const shared = sharedMesh(plan, async (mesh) => {
    if (installed.kind !== "installed") throw new Error(installed.reason);
    await Promise.all(["web", "envoy"].map((pod) => mesh.echo(pod, { http: [TARGET], grpc: [GRPC_TARGET] })));
    mesh.serve("web", TCP_TARGET, doubling);
    const directory = join(mesh.lab.directory, "envoy");
    const issuer = mesh.issuer();
    const credentials = (account: string, peer: string): Credentials => ({
      certificate: issuer.issue({ identity: identity(account) }),
      peers: { exact: identity(peer) },
    });
    const sidecar = credentials("sidecar", "waypoint");
    const tunnels = [
      { port: TO_WEB, authority: `${VIP}:80` },
      { port: TO_TCP, authority: `${VIP}:82` },
      { port: TO_GRPC, authority: `${VIP}:84` },
      { port: TO_NOWHERE, authority: "10.99.0.1:80" },
    ];
    const client = hboneClient(mesh.lab.pod("waypoint").ip, tunnels.map((tunnel) => ({ ...tunnel, ...sidecar })));
    const server = hboneServer([TARGET, GRPC_TARGET], credentials("envoy", "waypoint"));
    for (const pod of ["sidecar", "client"]) callers.set(pod, await mesh.caller(pod));
    for (const [pod, configuration] of [["sidecar", client], ["envoy", server]] as const) {
      processes.push(await startEnvoy(installed.binary, mesh.lab.pod(pod), directory, configuration));
    }
    mesh.onClose(async () => {
      await Promise.all(processes.map((process) => process.stop("SIGKILL")));
    });
  });
  /** Pods that call gRPC. */
  const callers = new Map<string, PodCaller>();
  const sidecar = () => shared().lab.pod("sidecar").namespace;
  const client = () => shared().lab.pod("client").namespace;
  const pattern = Buffer.alloc(10 * MB, "0123456789abcdef");
  const sum = new Bun.CryptoHasher("sha256").update(pattern).digest("hex");

  test("Envoy's CONNECT streams are served: HTTP, many at once on one connection", async () => {
    const request = async (index: number) => {
      const connection = await Http1Client.open(sidecar(), { ip: "127.0.0.1", port: TO_WEB });
      for (let sent = 0; sent < 10; sent++) {
        const answer = await connection.exchange({ path: `/${index}/${sent}`, host: hostnameOf("web") });
        expect([answer.status, fieldOf(answer.fields, "server")]).toEqual([200, "istio-envoy"]);
        expect(jsonOf<EchoedRequest>(answer)).toMatchObject({ pod: "web", path: `/${index}/${sent}` });
      }
      connection.close();
    };
    await Promise.all(Array.from({ length: 40 }, (_, index) => request(index)));
  }, TEST_MS);

  test("bodies of 10 MB both ways from Envoy's tunnel", async () => {
    const to = { ip: "127.0.0.1", port: TO_WEB };
    const up = await http1(sidecar(), to, { method: "POST", body: pattern }, 30_000);
    expect(jsonOf<EchoedRequest>(up)).toMatchObject({ bytes: pattern.length, sha256: sum });
    const down = await http1(sidecar(), to, { path: `/?size=${pattern.length}` }, 30_000);
    expect(new Bun.CryptoHasher("sha256").update(down.body).digest("hex")).toBe(sum);
  }, 120_000);

  const grpcWays = [
    { name: "from Envoy's tunnel", from: "sidecar", target: `127.0.0.1:${TO_GRPC}` },
    { name: "to an Envoy behind the waypoint", from: "client", target: `${ENVOY_VIP}:84` },
  ];
  for (const { name, from, target } of grpcWays) {
    test(`gRPC ${name}: unary, failed, both directions streaming`, async () => {
      const caller = callers.get(from);
      const unary = await caller?.grpc({ target, method: "Echo", messages: [{ text: "hi" }] });
      expect([unary?.code, unary?.responses.length]).toEqual([0, 1]);
      const failed = await caller?.grpc({ target, method: "Echo", messages: [{ code: 5 }] });
      expect([failed?.code, failed?.responses.length]).toEqual([5, 0]);
      const texts = Array.from({ length: 20 }, (_, index) => ({ text: `message ${index}` }));
      const chat = await caller?.grpc({ target, method: "Chat", messages: texts });
      expect([chat?.code, chat?.responses.length]).toEqual([0, 20]);
    }, TEST_MS);
  }

  test("TCP from Envoy's tunnel, half-close included", async () => {
    const conversation = await Conversation.open(sidecar(), { ip: "127.0.0.1", port: TO_TCP });
    conversation.write("hello");
    expect((await conversation.read(10)).length).toBe(10);
    conversation.finish();
    expect(await conversation.readToEnd()).toBe("");
    conversation.close();
  }, TEST_MS);

  test("what the waypoint refuses ends Envoy's stream, not its connection", async () => {
    const conversation = await Conversation.open(sidecar(), { ip: "127.0.0.1", port: TO_NOWHERE });
    conversation.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    expect(await conversation.readToEnd()).toBe("");
    conversation.close();
    expect((await http1(sidecar(), { ip: "127.0.0.1", port: TO_WEB })).status).toBe(200);
  }, TEST_MS);

  test("policies know Envoy by its certificate", async () => {
    const policy = authorization("sidecar-reads", "ALLOW", [{
      from: [{ source: { principals: [principal("sidecar")] } }],
      to: [{ operation: { methods: ["GET"] } }],
    }]);
    await shared().apply(policy);
    const to = { ip: "127.0.0.1", port: TO_WEB };
    expect((await http1(sidecar(), to)).status).toBe(200);
    expect((await http1(sidecar(), to, { method: "DELETE" })).status).toBe(403);
    expect((await http1(client(), { ip: VIP, port: 80 })).status).toBe(403);
    await shared().remove(policy);
  }, TEST_MS);

  test("an Envoy behind the waypoint: requests, bodies of 10 MB, many at once", async () => {
    const to = { ip: ENVOY_VIP, port: 80 };
    const answer = await http1(client(), to, { path: "/behind" });
    expect(jsonOf<EchoedRequest>(answer)).toMatchObject({ pod: "envoy", path: "/behind" });
    const up = await http1(client(), to, { method: "POST", body: pattern }, 30_000);
    expect(jsonOf<EchoedRequest>(up)).toMatchObject({ bytes: pattern.length, sha256: sum });
    const down = await http1(client(), to, { path: `/?size=${pattern.length}` }, 30_000);
    expect(new Bun.CryptoHasher("sha256").update(down.body).digest("hex")).toBe(sum);
    const statuses = await Promise.all(
      Array.from({ length: 60 }, async () => (await http1(client(), to, { path: "/?delay=50" })).status),
    );
    expect(statuses).toEqual(Array.from({ length: 60 }, () => 200));
  }, 120_000);
}

if (installed.kind === "installed") labSuite("Envoy as a neighbour", envoySuite);
else describe.skip(`Envoy as a neighbour (${installed.reason})`, envoySuite);
