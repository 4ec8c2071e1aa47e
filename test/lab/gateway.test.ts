/**
 * Traffic to another network: a tunnel to its gateway, and inside it a second one to the workload (double HBONE,
 * spec/ztunnel.md §5 step 7). The gateway is an end of tunnels by another hand that forwards what comes to a pod's 15008.
 *
 *     network home                          network remote
 *     client ── ztunnel a ══ outer ══ gateway ── 15008 of server, ztunnel b ── server
 *                    ╚══════ inner: TLS from ztunnel a to ztunnel b ═════╝
 */
import { expect, test } from "bun:test";
import { labSuite, type Mesh, sharedMesh, TEST_MS } from "./fixture.ts";
import { hostnameOf, identityOf, LAB_NAMESPACE, type MeshWorkload, serviceKeyOf, total } from "./mesh/mod.ts";
import type { TunnelEnd } from "./peers/mod.ts";
import { eventually, type Lab } from "./topology/mod.ts";
import { Conversation, doubling } from "./traffic/mod.ts";

const PORT = 8080;
const REQUEST = "hello world";
const PORTS = { 80: PORT };
/** Port of the gateway for tunnels of other networks. */
const GATEWAY_PORT = 15009;
/** Where it really is behind the gateway's service. */
const GATEWAY_TARGET = 15010;
const SERVERS = ["one", "two", "unnamed", "forbidden"] as const;
type Server = (typeof SERVERS)[number];
const VIPS: Readonly<Record<Server | "lost", string>> = {
  one: "10.96.0.1",
  two: "10.96.0.2",
  unnamed: "10.96.0.3",
  forbidden: "10.96.0.4",
  lost: "10.96.0.5",
};

const serverIdentity = (name: string) => `spiffe://cluster.local/ns/${LAB_NAMESPACE}/sa/${name}`;

function workloads(lab: Lab): MeshWorkload[] {
  const gateway = lab.pod("gateway");
  const byAddress = { destination: `home/${gateway.ip}`, hboneMtlsPort: GATEWAY_PORT };
  const byHostname = { destination: serviceKeyOf("gateway"), hboneMtlsPort: GATEWAY_PORT };
  const server = (name: Server, networkGateway: unknown): MeshWorkload => ({
    pod: lab.pod(name),
    hbone: true,
    services: { [name]: PORTS },
    fields: { network: "remote", networkGateway },
    ...(name === "forbidden" ? { policies: [`${LAB_NAMESPACE}/nobody`] } : {}),
  });
  return [
    { pod: lab.pod("client"), hbone: true, fields: { network: "home" } },
    {
      pod: gateway,
      hbone: true,
      services: { gateway: { [GATEWAY_PORT]: GATEWAY_TARGET } },
      fields: { network: "home" },
    },
    server("one", byAddress),
    server("two", byHostname),
    server("unnamed", byAddress),
    server("forbidden", byAddress),
    // Behind a gateway that nobody knows.
    {
      pod: gateway,
      name: "lost",
      hbone: true,
      services: { lost: PORTS },
      fields: {
        network: "remote",
        workloadIps: [],
        networkGateway: { destination: "demo/nowhere.example", hboneMtlsPort: GATEWAY_PORT },
      },
    },
  ];
}

labSuite("traffic to another network", () => {
  const gateways: TunnelEnd[] = [];
  const shared = sharedMesh({
    pods: [
      { name: "client", node: 0, captured: true },
      { name: "gateway", node: 1, captured: false },
      ...SERVERS.map((name) => ({ name, node: 1, captured: true })),
    ],
    meshed: ["client", ...SERVERS],
    environment: (node) => ({ NETWORK: node === 0 ? "home" : "remote" }),
    configuration: (lab) => ({
      workloads: workloads(lab),
      services: [
        { name: "gateway", vip: "", ports: { [GATEWAY_PORT]: GATEWAY_TARGET }, fields: { vips: ["home/10.96.0.9"] } },
        ...[...SERVERS, "lost" as const].map((name) => ({
          name,
          vip: "",
          ports: PORTS,
          fields: {
            vips: [`home/${VIPS[name]}`, `remote/${VIPS[name]}`],
            ...(name === "unnamed" ? {} : { subjectAltNames: [serverIdentity(name)] }),
          },
        })),
      ],
      policies: [{
        name: "nobody",
        namespace: LAB_NAMESPACE,
        scope: "WorkloadSelector",
        action: "Allow",
        rules: [],
        dryRun: false,
      }],
    }),
  }, async (mesh) => {
    for (const name of SERVERS) mesh.serve(name, PORT, doubling);
    const { lab } = mesh;
    const identity = identityOf({ pod: lab.pod("gateway"), hbone: true });
    const to = Object.fromEntries(
      SERVERS.map((name) => [`${hostnameOf(name)}:80`, { ip: lab.pod(name).ip, port: 15008 }]),
    );
    for (const port of [GATEWAY_PORT, GATEWAY_TARGET]) {
      gateways.push(await mesh.tunnelEnd("gateway", identity, { port, to }));
    }
  });

  const open = (mesh: Mesh, name: Server | "lost") =>
    Conversation.open(mesh.lab.pod("client").namespace, { ip: VIPS[name], port: 80 });

  const cases: readonly [label: string, server: Server, gateway: number, port: number][] = [
    ["double_hbone1: a gateway by address", "one", 0, GATEWAY_PORT],
    ["double_hbone2: a gateway by its service's hostname", "two", 1, GATEWAY_TARGET],
  ];
  for (const [label, server, gateway, port] of cases) {
    test(`${label}; whom the inner tunnel met is in log and metrics`, async () => {
      const mesh = shared();
      const before = gateways[gateway]?.seen.length ?? 0;
      const conversation = await open(mesh, server);
      expect(await conversation.write(REQUEST).read(22)).toBe("x".repeat(22));
      conversation.finish();
      expect(await conversation.readToEnd()).toBe("");

      const client = identityOf({ pod: mesh.lab.pod("client"), hbone: true });
      const authority = `${hostnameOf(server)}:80`;
      const outer = await gateways[gateway]?.asked(before);
      expect(outer).toMatchObject({ identity: client, headers: { ":authority": authority } });
      // Who it is for comes from inside, of the inner peer's own word and certificate.
      const met = { "dst.workload": server, "dst.namespace": LAB_NAMESPACE, "dst.identity": serverIdentity(server) };
      const out = await mesh.ztunnel(0).endOf(conversation.address);
      expect(out.message).toBe("connection complete");
      expect(out.fields).toMatchObject({
        ...met,
        "src.identity": client,
        "dst.addr": `${mesh.lab.pod("gateway").ip}:${port}`,
        "dst.hbone_addr": authority,
        "dst.service": hostnameOf(server),
        bytes_sent: "11",
        bytes_recv: "22",
      });
      const into = await mesh.ztunnel(1).accessLine(
        ({ message, fields }) => message === "connection complete" && fields["dst.hbone_addr"] === authority,
      );
      expect(into.fields["direction"]).toBe("inbound");
      expect(into.fields).toMatchObject({
        ...met,
        "src.identity": client,
        "src.workload": "client",
        "dst.addr": `${mesh.lab.pod(server).ip}:15008`,
        bytes_sent: "22",
        bytes_recv: "11",
      });
      const labels = {
        reporter: "source",
        destination_workload: server,
        destination_principal: serverIdentity(server),
        destination_service: hostnameOf(server),
        connection_security_policy: "mutual_tls",
      };
      for (const name of ["opened", "closed"]) {
        await eventually(`one connection ${name}`, async () => {
          return total(await mesh.ztunnel(0).metrics(), `istio_tcp_connections_${name}_total`, labels) === 1;
        });
      }
    }, TEST_MS);
  }

  test("connections of several applications share the outer tunnel, not the inner one", async () => {
    const mesh = shared();
    const conversations = await Promise.all(Array.from({ length: 5 }, () => open(mesh, "one")));
    for (const conversation of conversations) {
      expect(await conversation.write(REQUEST).read(22)).toBe("x".repeat(22));
    }
    const { ip } = mesh.lab.pod("gateway");
    // The inner tunnel of an earlier connection may take a while to end.
    const established = (name: string, filter: string, wanted: number) =>
      eventually(`${wanted} connections of ${name}, ${filter}`, () => {
        const filters = ["state", "established", ...filter.split(" ")];
        const lines = mesh.lab.pod(name).namespace.run(["ss", "-Htn", ...filters]).trim().split("\n");
        if (lines.length !== wanted) throw new Error(`there are ${lines.length}`);
        return true;
      });
    await established("client", `dst ${ip} dport = :${GATEWAY_PORT}`, 1);
    await established("one", `src ${mesh.lab.pod("one").ip} sport = :15008`, 5);
    for (const conversation of conversations) conversation.close();
  }, TEST_MS);

  const refused: readonly [label: string, server: Server | "lost", error: RegExp][] = [
    [
      "a service that names no identities: nobody can be trusted",
      "unnamed",
      /did not present the expected SAN \(\), got spiffe:.*unnamed/,
    ],
    ["a policy of the workload's: the inner CONNECT is refused", "forbidden", /http status: 401 Unauthorized/],
    ["a gateway that nobody knows", "lost", /unknown network gateway: /],
  ];
  for (const [label, server, error] of refused) {
    test(`${label}; the application is cut`, async () => {
      const mesh = shared();
      const conversation = await open(mesh, server);
      expect(await conversation.write(REQUEST).readToEnd()).toBe("");
      const line = await mesh.ztunnel(0).endOf(conversation.address);
      expect(line.fields["error"]).toMatch(error);
    }, TEST_MS);
  }
});
