/**
 * ztunnel sends what is behind a waypoint through it: workload_waypoint and service_waypoint of the original's
 * tests/namespaced.rs. The waypoint is a captured pod whose application answers on the ports that are asked for, so
 * only ztunnel is looked at.
 */
import { expect, test } from "bun:test";
import { labSuite, sharedMesh, TEST_MS } from "./fixture.ts";
import { hostnameOf, identityOf } from "./mesh/mod.ts";
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
    const since = ztunnel.access.length;
    const conversation = await Conversation.open(pod.namespace, to);
    const { address } = conversation;
    conversation.finish();
    const answer = await conversation.readToEnd();
    const line = await ztunnel.accessLine(
      ({ message, fields }) =>
        message === "connection complete" && fields["src.addr"] === address && fields["direction"] === "outbound",
      since,
    );
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
