/** Whom a waypoint and Envoy do not believe: certificates of a foreign root, of another trust domain, of another account. */
import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { labSuite, type MeshPlan, sharedMesh, TEST_MS } from "../lab/fixture.ts";
import { LAB_NAMESPACE, OpensslAuthority, waypointGateway } from "../lab/mesh/mod.ts";
import type { EchoedRequest } from "../lab/peers/mod.ts";
import { Conversation, http1, jsonOf } from "../lab/traffic/mod.ts";
import { hboneClient, hboneServer, installEnvoy, startEnvoy } from "./envoy/mod.ts";

const TARGET = 8080;
const PORTS = { 80: TARGET };

/** Servers behind the waypoint, each an Envoy in a pod of its own. */
const SERVERS = {
  good: "10.96.10.1",
  foreign: "10.96.10.2",
  stranger: "10.96.10.3",
  impostor: "10.96.10.4",
  choosy: "10.96.10.5",
} as const;
type ServerName = keyof typeof SERVERS;
const SERVER_NAMES = Object.keys(SERVERS) as ServerName[];

/** Ports of the sidecar on loopback, a tunnel with other credentials at each. */
const TUNNELS = {
  good: 19001,
  foreign: 19002,
  stranger: 19003,
  nameless: 19004,
  expired: 19005,
  choosy: 19006,
} as const;

const plan: MeshPlan = {
  pods: [
    { name: "sidecar", node: 0, captured: false },
    { name: "client", node: 0, captured: true },
    ...SERVER_NAMES.map((name) => ({ name, node: 1, captured: false })),
    { name: "waypoint", node: 1, captured: false },
  ],
  meshed: ["client"],
  waypoints: [{ pod: "waypoint" }],
  configuration: (lab) => {
    const waypoint = lab.pod("waypoint");
    const server = (name: ServerName) => ({ pod: lab.pod(name), hbone: true, services: { [name]: PORTS } });
    const service = (name: ServerName) => ({
      name,
      vip: SERVERS[name],
      ports: PORTS,
      appProtocols: { 80: "HTTP" },
      waypoint,
    });
    return {
      workloads: [
        { pod: lab.pod("client"), hbone: true },
        { pod: lab.pod("sidecar"), hbone: true },
        ...SERVER_NAMES.map(server),
        { pod: waypoint, hbone: true },
      ],
      services: SERVER_NAMES.map(service),
      objects: [waypointGateway()],
    };
  },
};

const identity = (account: string, domain = "cluster.local") => `spiffe://${domain}/ns/${LAB_NAMESPACE}/sa/${account}`;
const installed = installEnvoy();

function refusalSuite(): void {
  const shared = sharedMesh(plan, async (mesh) => {
    if (installed.kind !== "installed") throw new Error(installed.reason);
    const { binary } = installed;
    const directory = join(mesh.lab.directory, "envoy");
    const issuer = mesh.issuer();
    const foreigner = OpensslAuthority.create(join(mesh.lab.directory, "foreign"));
    // It shows a chain of its own root, and believes the mesh's.
    const roots = issuer.issue({ identity: identity("nobody") }).roots;
    const foreign = (account: string) => ({ ...foreigner.issue({ identity: identity(account) }), roots });
    const toWaypoint = { peers: { exact: identity("waypoint") } };
    const client = hboneClient(
      mesh.lab.pod("waypoint").ip,
      ([
        ["good", { certificate: issuer.issue({ identity: identity("sidecar") }), ...toWaypoint }],
        ["foreign", { certificate: foreign("sidecar"), ...toWaypoint }],
        ["stranger", { certificate: issuer.issue({ identity: identity("sidecar", "elsewhere") }), ...toWaypoint }],
        ["nameless", { certificate: issuer.issue({}), ...toWaypoint }],
        ["expired", { certificate: issuer.issue({ identity: identity("sidecar"), days: -1 }), ...toWaypoint }],
        ["choosy", {
          certificate: issuer.issue({ identity: identity("sidecar") }),
          peers: { exact: identity("another-waypoint") },
        }],
      ] as const).map(([name, credentials]) => ({
        port: TUNNELS[name],
        authority: `${SERVERS.good}:80`,
        ...credentials,
      })),
    );
    const certificates = {
      good: issuer.issue({ identity: identity("good") }),
      foreign: foreign("foreign"),
      stranger: issuer.issue({ identity: identity("stranger", "elsewhere") }),
      impostor: issuer.issue({ identity: identity("good") }),
      choosy: issuer.issue({ identity: identity("choosy") }),
    };
    await Promise.all(SERVER_NAMES.map((name) => mesh.echo(name, { http: [TARGET] })));
    const starts = SERVER_NAMES.map((name) => {
      const peers = { exact: identity(name === "choosy" ? "another-waypoint" : "waypoint") };
      const server = hboneServer([TARGET], { certificate: certificates[name], peers });
      return startEnvoy(binary, mesh.lab.pod(name), directory, server);
    });
    const envoys = await Promise.all([...starts, startEnvoy(binary, mesh.lab.pod("sidecar"), directory, client)]);
    mesh.onClose(async () => {
      await Promise.all(envoys.map((envoy) => envoy.stop("SIGKILL")));
    });
  });

  test("a client with a good certificate is served", async () => {
    const { lab } = shared();
    const answer = await http1(lab.pod("sidecar").namespace, { ip: "127.0.0.1", port: TUNNELS.good });
    expect(jsonOf<EchoedRequest>(answer)).toMatchObject({ pod: "good" });
  }, TEST_MS);

  const clients: [keyof typeof TUNNELS, string][] = [
    ["foreign", "the waypoint refuses a client whose certificate is of a foreign root"],
    ["stranger", "the waypoint refuses a client of another trust domain"],
    ["nameless", "the waypoint refuses a client without an identity"],
    ["expired", "the waypoint refuses a client whose certificate has expired"],
    ["choosy", "Envoy refuses a waypoint with another identity than it expects"],
  ];
  for (const [tunnel, name] of clients) {
    test(name, async () => {
      const { lab } = shared();
      const to = { ip: "127.0.0.1", port: TUNNELS[tunnel] };
      const conversation = await Conversation.open(lab.pod("sidecar").namespace, to);
      conversation.write(`GET /${tunnel} HTTP/1.1\r\nHost: good\r\n\r\n`);
      expect(await conversation.readToEnd()).toBe("");
      conversation.close();
      const good = await http1(lab.pod("sidecar").namespace, { ip: "127.0.0.1", port: TUNNELS.good });
      expect(good.status).toBe(200);
    }, TEST_MS);
  }

  test("a server with the endpoint's own certificate is believed", async () => {
    const answer = await http1(shared().lab.pod("client").namespace, { ip: SERVERS.good, port: 80 });
    expect(jsonOf<EchoedRequest>(answer)).toMatchObject({ pod: "good" });
  }, TEST_MS);

  const servers: [ServerName, string][] = [
    ["foreign", "the waypoint refuses a server whose certificate is of a foreign root"],
    ["stranger", "the waypoint refuses a server of another trust domain"],
    ["impostor", "the waypoint refuses a server with another account's certificate"],
    ["choosy", "Envoy refuses a waypoint that it does not expect"],
  ];
  for (const [server, name] of servers) {
    test(name, async () => {
      const answer = await http1(shared().lab.pod("client").namespace, { ip: SERVERS[server], port: 80 });
      expect(answer.status).toBe(503);
      expect(answer.body.toString()).toStartWith("upstream connect error or disconnect/reset before headers");
    }, TEST_MS);
  }
}

if (installed.kind === "installed") labSuite("whom a waypoint and Envoy do not believe", refusalSuite);
else describe.skip(`whom a waypoint and Envoy do not believe (${installed.reason})`, refusalSuite);
