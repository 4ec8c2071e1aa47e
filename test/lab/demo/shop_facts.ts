/** What the demo's waypoint does, one line for each fact. */
import { identityOf, LAB_NAMESPACE, total } from "../mesh/mod.ts";
import { eventually } from "../topology/mod.ts";
import { type Facts, require } from "./fact.ts";
import type { Scene } from "./scene.ts";
import { CANARY_PERCENT, SHOP_PORT, SHOP_VIP } from "./shop.ts";

const CANARY_REQUESTS = 1000;
/** How far from its share the canary may be, percent: four standard deviations. */
const CANARY_TOLERANCE = 4;

export async function checkShop(scene: Scene, facts: Facts): Promise<void> {
  const { shop, waypoint } = scene;
  const waypointIdentity = identityOf({ pod: waypoint.pod, hbone: true });

  await facts.tell(`client → shop (${SHOP_VIP}:${SHOP_PORT}) goes through its waypoint`, async () => {
    const since = waypoint.process.lines.length;
    const outbound = scene.ztunnel(0).access.length;
    const { status, pod, ms } = await shop.ask({ path: "/through" });
    require(status === 200, `answered ${status}`);
    const record = await waypoint.record(({ path }) => path === "/through", since);
    require(record.code === 200, `the waypoint logged ${record.code}`);
    const line = await scene.ztunnel(0).accessLine(
      ({ message, fields }) => message === "connection complete" && fields["dst.workload"] === "waypoint",
      outbound,
    );
    require(line.fields["dst.identity"] === waypointIdentity, `client's peer is ${line.fields["dst.identity"]}`);
    const opened = await eventually(
      "the waypoint's connection",
      () => scene.ztunnel(1).access.find(({ fields }) => fields["src.identity"] === waypointIdentity),
    );
    require(opened.fields["dst.workload"]?.startsWith("shop-") ?? false, JSON.stringify(opened.fields));
    return `200 from ${pod} in ${ms.toFixed(1)} ms, mTLS on both hops`;
  });

  await facts.tell(`canary: about ${CANARY_PERCENT} of 100 requests go to shop-v2`, async () => {
    const connection = await shop.connect();
    let canary = 0;
    for (let sent = 0; sent < CANARY_REQUESTS; sent++) {
      const { status, pod } = await shop.ask({ on: connection });
      require(status === 200, `answered ${status}`);
      if (pod === "shop-v2") canary++;
    }
    connection.close();
    const percent = canary / CANARY_REQUESTS * 100;
    require(Math.abs(percent - CANARY_PERCENT) <= CANARY_TOLERANCE, `${percent.toFixed(1)} %`);
    return `${percent.toFixed(1)} % of ${CANARY_REQUESTS}, all on one connection`;
  });

  await facts.tell("a header chooses: with x-beta: yes every request goes to shop-v2", async () => {
    for (let sent = 0; sent < 20; sent++) {
      const { pod } = await shop.ask({ fields: [["x-beta", "yes"]] });
      require(pod === "shop-v2", `answered by ${pod}`);
    }
    return "20 of 20";
  });

  await facts.tell("a retry hides a failing backend", async () => {
    const { status, mark } = await shop.askFlaky();
    require(status === 200, `the client got ${status}`);
    const statuses = await shop.statusesOf(mark, 2);
    require(statuses.join() === "503,200", `the application answered ${statuses.join()}`);
    return "the application answered 503, then 200; the client saw 200";
  });

  await facts.tell("L7 policy: client may GET, not DELETE; admin may DELETE", async () => {
    const allowed = await shop.ask({ path: "/item/1" });
    require(allowed.status === 200, `GET by client: ${allowed.status}`);
    const denied = await shop.ask({ method: "DELETE", path: "/item/1" });
    require(denied.status === 403, `DELETE by client: ${denied.status}`);
    require(denied.body === "RBAC: access denied", denied.body);
    const admin = await shop.ask({ method: "DELETE", path: "/item/2", from: scene.lab.pod("admin") });
    require(admin.status === 200, `DELETE by admin: ${admin.status}`);
    return `200, 403 "${denied.body}", 200; by identity, in namespace ${LAB_NAMESPACE}`;
  });

  await facts.tell("gRPC through the waypoint, with its trailers", async () => {
    const { status, body, pod, ms } = await shop.call();
    require(status === 0, `grpc-status ${status} ${body}`);
    return `OK from ${pod} in ${ms.toFixed(1)} ms`;
  });

  await facts.tell("the waypoint counts requests by peers and status", async () => {
    const labels = {
      reporter: "waypoint",
      source_workload: "client",
      connection_security_policy: "mutual_tls",
    };
    // A request may be counted after its answer has come.
    const { ok, denied } = await eventually("the counts", async () => {
      const samples = await waypoint.metrics();
      const ok = total(samples, "istio_requests_total", { ...labels, response_code: "200" });
      const denied = total(samples, "istio_requests_total", { ...labels, response_code: "403" });
      const sum = total(samples, "istio_requests_total", { reporter: "waypoint" });
      require(denied === 1, `${denied} denied; in all ${sum}`);
      require(ok > CANARY_REQUESTS, `${ok} answered; in all ${sum}`);
      return { ok, denied };
    });
    return `client → shop: ${ok} with 200, ${denied} with 403`;
  });
}
