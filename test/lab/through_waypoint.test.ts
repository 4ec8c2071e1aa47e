/**
 * ztunnel sends what is behind a waypoint through it: workload_waypoint, service_waypoint and their kin of the
 * original's tests/namespaced.rs. The waypoint is a captured pod whose application answers on the ports that are asked
 * for, or an end of tunnels by another hand that tells what it was asked for: so only ztunnel is looked at.
 */
import { expect, test } from "bun:test";
import { labSuite, sharedMesh, TEST_MS } from "./fixture.ts";
import { hostnameOf, identityOf, serviceKeyOf } from "./mesh/mod.ts";
import type { TunnelEnd } from "./peers/mod.ts";
import { Conversation, type Destination } from "./traffic/mod.ts";

const PORT = 8080;
const VIP = "10.96.0.10";

labSuite("traffic through a waypoint", () => {
  const shared = sharedMesh({
    pods: [
      { name: "client", node: 0, captured: true },
      { name: "waypoint", node: 1, captured: true },
      { name: "server", node: 1, captured: true },
    ],
    meshed: ["client", "waypoint", "server"],
    configuration: (lab) => {
      const waypoint = lab.pod("waypoint");
      return {
        workloads: [
          { pod: lab.pod("client"), hbone: true },
          { pod: waypoint, hbone: true },
          { pod: lab.pod("server"), hbone: true, services: { server: { 80: PORT } }, waypoint },
        ],
        services: [{ name: "server", vip: VIP, ports: { 80: PORT }, waypoint }],
      };
    },
  }, (mesh) => {
    for (const [pod, port] of [["waypoint", 80], ["waypoint", PORT], ["server", PORT]] as const) {
      mesh.serve(pod, port, (conversation) => {
        conversation.write(`${pod} ${port}\n`).finish();
      });
    }
  });

  /** What answers a pod that connects to a destination, and what its ztunnel says of it. */
  async function ask(from: string, to: Destination) {
    const mesh = shared();
    const pod = mesh.lab.pod(from);
    const ztunnel = mesh.ztunnel(pod.node === mesh.lab.nodes[0] ? 0 : 1);
    const conversation = await Conversation.open(pod.namespace, to);
    conversation.finish();
    const answer = await conversation.readToEnd();
    const line = await ztunnel.endOf(conversation.address);
    expect([line.message, line.fields["direction"]]).toEqual(["connection complete", "outbound"]);
    return { answer, fields: line.fields };
  }

  test("service_waypoint: the waypoint is asked for the VIP", async () => {
    const { lab } = shared();
    const { answer, fields } = await ask("client", { ip: VIP, port: 80 });
    expect(answer).toBe("waypoint 80\n");
    const waypoint = lab.pod("waypoint");
    expect(fields).toMatchObject({
      "dst.addr": `${waypoint.ip}:15008`,
      "dst.hbone_addr": `${VIP}:80`,
      "dst.service": hostnameOf("server"),
      "dst.workload": "waypoint",
      "dst.identity": identityOf({ pod: waypoint, hbone: true }),
    });
  }, TEST_MS);

  test("workload_waypoint: the waypoint is asked for the pod's address", async () => {
    const { lab } = shared();
    const server = { ip: lab.pod("server").ip, port: PORT };
    const { answer, fields } = await ask("client", server);
    expect(answer).toBe(`waypoint ${PORT}\n`);
    expect(fields).toMatchObject({
      "dst.addr": `${lab.pod("waypoint").ip}:15008`,
      "dst.hbone_addr": `${server.ip}:${PORT}`,
      "dst.workload": "waypoint",
    });
    expect(fields["dst.service"]).toBeUndefined();
  }, TEST_MS);

  test("what the waypoint itself sends goes on to the pod, not back", async () => {
    const { lab } = shared();
    const server = lab.pod("server");
    for (const to of [{ ip: server.ip, port: PORT }, { ip: VIP, port: 80 }]) {
      const { answer, fields } = await ask("waypoint", to);
      expect(answer).toBe(`server ${PORT}\n`);
      expect(fields).toMatchObject({
        "dst.addr": `${server.ip}:15008`,
        "dst.hbone_addr": `${server.ip}:${PORT}`,
        "dst.workload": "server",
      });
    }
  }, TEST_MS);
});

labSuite("what a waypoint is asked for", () => {
  const HOSTNAME = "waypoint.example";
  let end: TunnelEnd | undefined;
  const shared = sharedMesh({
    pods: [
      { name: "client", node: 0, captured: true },
      { name: "waypoint", node: 1, captured: false },
      { name: "server", node: 1, captured: true },
    ],
    meshed: ["client", "server"],
    configuration: (lab) => {
      const waypoint = lab.pod("waypoint");
      const by = (destination: string) => ({ fields: { waypoint: { destination, hboneMtlsPort: 15008 } } });
      const ports = { 80: PORT };
      return {
        workloads: [
          { pod: lab.pod("client"), hbone: true },
          {
            pod: waypoint,
            hbone: true,
            services: { waypoint: { 15008: 15008 } },
            fields: { hostname: HOSTNAME },
          },
          {
            pod: lab.pod("server"),
            hbone: true,
            services: { address: ports, vip: ports, hostname: ports, workload: ports, weighted: ports },
            ...by(`/${waypoint.ip}`),
          },
        ],
        services: [
          { name: "waypoint", vip: "10.96.0.20", ports: { 15008: 15008 } },
          { name: "address", vip: "10.96.0.21", ports, ...by(`/${waypoint.ip}`) },
          { name: "vip", vip: "10.96.0.22", ports, ...by("/10.96.0.20") },
          { name: "hostname", vip: "10.96.0.23", ports, ...by(serviceKeyOf("waypoint")) },
          { name: "workload", vip: "10.96.0.24", ports, ...by(`demo/${HOSTNAME}`) },
          {
            name: "weighted",
            vip: "10.96.0.25",
            ports,
            fields: {
              weightedWaypoints: [
                { destination: { destination: "demo/nowhere.example", hboneMtlsPort: 15008 }, weight: 0 },
                { destination: { destination: `/${waypoint.ip}`, hboneMtlsPort: 15008 }, weight: 5 },
              ],
            },
          },
        ],
      };
    },
  }, async (mesh) => {
    end = await mesh.tunnelEnd("waypoint", identityOf({ pod: mesh.lab.pod("waypoint"), hbone: true }));
    for (const port of [80, PORT]) {
      mesh.serve("waypoint", port, (conversation) => {
        conversation.write(`waypoint ${port}\n`).finish();
      });
    }
  });

  const cases: readonly [label: string, service: string | undefined, vip: string][] = [
    ["workload_waypoint: by address, for a pod", undefined, ""],
    ["service_waypoint: by address, for a service", "address", "10.96.0.21"],
    ["service_waypoint: by VIP", "vip", "10.96.0.22"],
    ["service_waypoint_hostname", "hostname", "10.96.0.23"],
    ["service_waypoint_workload_hostname", "workload", "10.96.0.24"],
    ["weighted waypoints: none of weight 0", "weighted", "10.96.0.25"],
  ];
  for (const [label, service, vip] of cases) {
    test(`${label}: the authority is the address that the application asked for`, async () => {
      const mesh = shared();
      const before = end?.seen.length ?? 0;
      const client = mesh.lab.pod("client");
      const to = service === undefined ? { ip: mesh.lab.pod("server").ip, port: PORT } : { ip: vip, port: 80 };
      const conversation = await Conversation.open(client.namespace, to);
      const { address } = conversation;
      conversation.finish();
      expect(await conversation.readToEnd()).toBe(`waypoint ${to.port}\n`);
      const seen = await end?.asked(before);
      expect(seen).toMatchObject({
        identity: identityOf({ pod: client, hbone: true }),
        remote: client.ip,
        headers: { ":method": "CONNECT", ":authority": `${to.ip}:${to.port}` },
      });
      const host = service === undefined ? "" : `;host=${hostnameOf(service)}`;
      expect(seen?.headers["forwarded"]).toBe(`for="${address}"${host}`);
      expect(seen?.headers["baggage"]).toContain("k8s.deployment.name=client,service.name=client");
      expect(seen?.headers["traceparent"]).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/);
      // Nothing else is sent (spec/ztunnel.md §5.1).
      expect(Object.keys(seen?.headers ?? {}).sort()).toEqual(
        [":authority", ":method", "baggage", "forwarded", "traceparent"],
      );
    }, TEST_MS);
  }
});
