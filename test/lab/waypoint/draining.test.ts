/** A waypoint that is told to stop under load, alone and beside another one: no request is lost. */
import { expect, test } from "bun:test";
import { labSuite, Mesh } from "../fixture.ts";
import { hostnameOf, LAB_NAMESPACE, waypointGateway } from "../mesh/mod.ts";
import type { Lab } from "../topology/mod.ts";
import { eventually } from "../topology/mod.ts";
import { Http1Client } from "../traffic/mod.ts";

const VIP = "10.96.8.1";
const WAYPOINT_VIP = "10.96.8.9";
const PORT = 80;
const TARGET = 8080;
const CLIENTS = 16;
const DRAIN_MS = 1_500;

/** Clients that each send one request after another, on a connection that is kept as long as it lasts. */
class Requests {
  count = 0;
  readonly lost: string[] = [];
  readonly #mesh: Mesh;
  readonly #done: Promise<unknown>;
  #running = true;

  constructor(mesh: Mesh) {
    this.#mesh = mesh;
    this.#done = Promise.all(Array.from({ length: CLIENTS }, (_, index) => this.#run(index % 2 === 0)));
  }

  async stop(): Promise<void> {
    this.#running = false;
    await this.#done;
  }

  async #run(keep: boolean): Promise<void> {
    let client: Http1Client | undefined;
    while (this.#running) {
      try {
        client ??= await Http1Client.open(this.#mesh.lab.pod("client").namespace, { ip: VIP, port: PORT });
        const answer = await client.exchange({ method: "POST", body: "x", host: "web" });
        this.count++;
        if (answer.status !== 200) this.lost.push(`${answer.status} ${answer.body}`);
        const closes = answer.fields.some(([name, value]) => name.toLowerCase() === "connection" && value === "close");
        if (keep && !closes) continue;
      } catch (error) {
        if (this.#running) this.lost.push((error as Error).message);
      }
      client?.conversation.close();
      client = undefined;
    }
    client?.conversation.close();
  }
}

labSuite("a waypoint that stops under load", () => {
  const names = ["waypoint", "waypoint2"] as const;
  const configuration = (lab: Lab, serving: readonly string[]) => {
    const waypoint = { destination: `${LAB_NAMESPACE}/${hostnameOf("waypoint")}`, hboneMtlsPort: 15008 };
    return {
      workloads: [
        { pod: lab.pod("client"), hbone: true },
        { pod: lab.pod("v1"), hbone: true, services: { web: { [PORT]: TARGET } } },
        ...names.map((name) => ({
          pod: lab.pod(name),
          hbone: true,
          serviceAccount: "waypoint",
          fields: { protocol: "TCP", nativeTunnel: true },
          ...(serving.includes(name) ? { services: { waypoint: { 15008: 15008 } } } : {}),
        })),
      ],
      services: [
        { name: "web", vip: VIP, ports: { [PORT]: TARGET }, appProtocols: { [PORT]: "HTTP" }, fields: { waypoint } },
        { name: "waypoint", vip: WAYPOINT_VIP, ports: { 15008: 15008 } },
      ],
      objects: [waypointGateway()],
    };
  };

  test("what is under way is answered, and what comes goes to the other one", async () => {
    const mesh = new Mesh({
      pods: [
        { name: "client", node: 0, captured: true },
        { name: "v1", node: 1, captured: true },
        { name: "waypoint", node: 1, captured: false },
        { name: "waypoint2", node: 1, captured: false },
      ],
      meshed: ["client", "v1"],
      waypoints: names.map((pod) => ({
        pod,
        serviceAccount: "waypoint",
        environment: { MINIMUM_DRAIN_DURATION: `${DRAIN_MS}ms` },
      })),
      configuration: (lab) => configuration(lab, names),
    });
    try {
      await mesh.start();
      await mesh.echo("v1", { http: [TARGET] });
      const requests = new Requests(mesh);
      await eventually("some requests", () => Promise.resolve(requests.count > 100));
      const [first] = mesh.waypoints;
      first?.process.signal("SIGTERM");
      // Its endpoint is never taken from the service: whoever still comes is served or goes on to the other one.
      expect(await first?.process.exited).toBe(0);
      const before = requests.count;
      await eventually("more requests", () => Promise.resolve(requests.count > before + 100));
      await requests.stop();
      expect(requests.lost).toEqual([]);
    } finally {
      await mesh.close();
    }
  }, 120_000);
});
