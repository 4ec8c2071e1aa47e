/** A waypoint over time: configuration that changes under traffic, a stop signal, telemetry of what went through. */
import { expect, test } from "bun:test";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { labSuite, sharedMesh, TEST_MS } from "../fixture.ts";
import { hostnameOf, parseMetrics, READINESS_PORT, STATS_PORT, total } from "../mesh/mod.ts";
import type { EchoedRequest } from "../peers/mod.ts";
import { eventually } from "../topology/mod.ts";
import { Conversation, doubling, fieldOf, Http1Client, jsonOf } from "../traffic/mod.ts";
import {
  type Applications,
  ask,
  EMPTY_VIP,
  GRPC,
  GRPC_TARGET,
  HTTP,
  HTTP_TARGET,
  httpRoute,
  logged,
  open,
  startApplications,
  TCP,
  TCP_TARGET,
  V1_VIP,
  V2_VIP,
  VIP,
  waypointMesh,
} from "./mesh.ts";

const V1 = [{ name: "v1", port: HTTP }];
const LONG_MS = 1500;

/** Requests on kept connections until it is told to stop. */
class Traffic {
  readonly failures: string[] = [];
  count = 0;
  #running = true;
  readonly #done: Promise<unknown>;

  constructor(connections: readonly Http1Client[]) {
    this.#done = Promise.all(connections.map((connection) => this.#run(connection)));
  }

  async stop(): Promise<void> {
    this.#running = false;
    await this.#done;
  }

  async #run(connection: Http1Client): Promise<void> {
    while (this.#running) {
      try {
        const answer = await connection.exchange({ method: "POST", body: "x", host: "web" });
        this.count++;
        if (answer.status !== 200) this.failures.push(`${answer.status} ${answer.body}`);
      } catch (error) {
        this.failures.push((error as Error).message);
        return;
      }
    }
    connection.close();
  }
}

labSuite("a waypoint over time", () => {
  let applications: Applications;
  const shared = sharedMesh(waypointMesh, async (mesh) => {
    applications = await startApplications(mesh);
    for (const pod of ["v1", "v2"]) mesh.serve(pod, TCP_TARGET, doubling);
  });

  test("configuration under traffic: the last good one serves, changes take effect, no request is harmed", async () => {
    const mesh = shared();
    const traffic = new Traffic(await Promise.all(Array.from({ length: 4 }, () => open(mesh))));
    const tagged = (value: string) =>
      httpRoute("tagged", "web", [{
        filters: [{ type: "ResponseHeaderModifier", responseHeaderModifier: { set: [{ name: "x-tag", value }] } }],
        backendRefs: V1,
      }]);
    const tag = async () => fieldOf((await ask(mesh)).fields, "x-tag");
    expect(await tag()).toBeUndefined();
    await mesh.apply(tagged("one"));
    expect(await tag()).toBe("one");

    // A request that began before a change ends as it began.
    const path = `/long?delay=${LONG_MS}&id=${crypto.randomUUID()}`;
    const running = ask(mesh, { path });
    await applications.v1.delaying(path);
    const bad = join(mesh.configurationPath, "bad.yaml");
    writeFileSync(
      bad,
      "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: bad}\nspec: {rules: 7}\n",
    );
    const said = await mesh.waypoint().process.line((line) => line.includes("bad.yaml") && line.includes("rules"));
    expect(said).toContain("bad.yaml");
    expect(await tag()).toBe("one");
    // Nothing else of the folder is taken over while one of its objects is bad.
    rmSync(bad);
    await mesh.apply(tagged("two"));
    await eventually("the change", async () => await tag() === "two");
    await mesh.remove(tagged("two"));
    await eventually("the route's end", async () => await tag() === undefined);
    expect((await running).status).toBe(200);
    await traffic.stop();
    expect(traffic.count).toBeGreaterThan(100);
    expect(traffic.failures).toEqual([]);
  }, 120_000);

  const refusedObjects = [
    ["VirtualService", "networking.istio.io/v1", {}, "only istiod can compile VirtualService"],
    ["EnvoyFilter", "networking.istio.io/v1alpha3", {}, "only istiod can compile EnvoyFilter"],
    ["RequestAuthentication", "security.istio.io/v1", { jwtRules: [] }, "RequestAuthentication"],
    ["AuthorizationPolicy", "security.istio.io/v1", { action: "CUSTOM" }, "CUSTOM"],
    ["HTTPRoute", "gateway.networking.k8s.io/v1", { rules: [{ matches: [{ path: { type: "Glob" } }] }] }, "Glob"],
  ] as const;
  for (const [kind, apiVersion, spec, reason] of refusedObjects) {
    test(`an object is refused by name, file and line, and the rest serves on: ${kind}`, async () => {
      const mesh = shared();
      const file = `refused-${kind}.yaml`.toLowerCase();
      const path = join(mesh.configurationPath, file);
      const since = mesh.waypoint().process.lines.length;
      const lines = [`apiVersion: ${apiVersion}`, `kind: ${kind}`, "metadata: {name: refused, namespace: demo}"];
      writeFileSync(path, [...lines, `spec: ${JSON.stringify(spec)}`, ""].join("\n"));
      try {
        const said = await mesh.waypoint().process.line((line) => line.includes(`${file}:`), 10_000, since);
        expect(said).toContain(reason);
        expect(said).toMatch(/\.yaml:\d+:\d+/);
        expect((await ask(mesh)).status).toBe(200);
      } finally {
        rmSync(path);
      }
    }, TEST_MS);
  }

  test("an application that is started anew is found again, and its stale connections harm nobody", async () => {
    const mesh = shared();
    const status = async () => (await ask(mesh, { vip: V2_VIP })).status;
    expect(await status()).toBe(200);
    await applications.v2.stop();
    expect(await status()).toBe(503);
    await mesh.echo("v2", { http: [HTTP_TARGET], grpc: [GRPC_TARGET] });
    await eventually("the new application", async () => await status() === 200);
    for (let sent = 0; sent < 30; sent++) expect(await status()).toBe(200);
  }, TEST_MS);

  test("requests are counted with the labels of both peers", async () => {
    const mesh = shared();
    await ask(mesh, { path: "/counted", method: "POST", body: "12345" });
    const missing = await logged(mesh, { vip: EMPTY_VIP });
    expect(missing.answer.status).toBe(503);
    await applications.caller.grpc({ target: `${VIP}:${GRPC}`, method: "Echo", messages: [{ code: 5 }] });
    const source = {
      reporter: "waypoint",
      source_workload: "client",
      source_workload_namespace: "demo",
      source_canonical_service: "client",
      source_principal: "spiffe://cluster.local/ns/demo/sa/client",
      connection_security_policy: "mutual_tls",
    };
    const samples = await eventually("all three counted", async () => {
      const all = await mesh.waypoint().metrics();
      return total(all, "istio_requests_total", { ...source, grpc_response_status: "5" }) > 0 && all;
    });
    const one = samples.find(({ name, labels }) =>
      name === "istio_requests_total" && labels["response_code"] === "200" && labels["request_protocol"] === "http" &&
      labels["source_workload"] === "client"
    );
    const version = one?.labels["destination_workload"] ?? "";
    expect(["v1", "v2"]).toContain(version);
    expect(one?.labels).toMatchObject({
      ...source,
      destination_workload: version,
      destination_workload_namespace: "demo",
      destination_principal: `spiffe://cluster.local/ns/demo/sa/${version}`,
      destination_canonical_service: version,
      destination_canonical_revision: version,
      destination_service: hostnameOf("web"),
      destination_service_name: "web",
      destination_service_namespace: "demo",
      response_flags: "-",
      grpc_response_status: "",
    });
    const empty = { ...source, response_code: "503", response_flags: "UH", destination_service_name: "empty" };
    expect(total(samples, "istio_requests_total", { ...empty, destination_workload: "unknown" })).toBe(1);
    expect(total(samples, "istio_requests_total", { ...source, request_protocol: "grpc", response_code: "200" })).toBe(
      1,
    );
    for (const name of ["duration_milliseconds", "request", "response"]) {
      const family = name === "duration_milliseconds" ? "istio_request_duration_milliseconds" : `istio_${name}_bytes`;
      const counted = total(samples, `${family}_count`, empty);
      expect([family, counted]).toEqual([family, 1]);
      expect(total(samples, `${family}_bucket`, { ...empty, le: "+Inf" })).toBe(1);
    }
    // Prometheus's own port and path, and the path that pod annotations name.
    for (const [port, path] of [[STATS_PORT, "/stats/prometheus"], [15090, "/stats/prometheus"]] as const) {
      const { status, body } = await mesh.waypoint().ask(port, path);
      expect([status, body.includes("istio_requests_total")]).toEqual([200, true]);
    }
    expect(parseMetrics((await mesh.waypoint().ask(STATS_PORT, "/metrics")).body).length).toBeGreaterThan(10);
  }, TEST_MS);

  test("TCP connections are counted", async () => {
    const mesh = shared();
    const conversation = await Conversation.open(mesh.lab.pod("client").namespace, { ip: VIP, port: TCP });
    conversation.write("x".repeat(100));
    await conversation.read(200);
    conversation.finish();
    await conversation.readToEnd();
    conversation.close();
    const labels = { reporter: "waypoint", request_protocol: "tcp", destination_service_name: "web" };
    await eventually("the closed connection", async () => {
      const samples = await mesh.waypoint().metrics();
      return total(samples, "istio_tcp_connections_closed_total", labels) === 1 &&
        total(samples, "istio_tcp_connections_opened_total", labels) === 1 &&
        total(samples, "istio_tcp_received_bytes_total", labels) === 100 &&
        total(samples, "istio_tcp_sent_bytes_total", labels) === 200;
    });
  }, TEST_MS);

  test("the access log names both ends, the cluster and the route", async () => {
    const mesh = shared();
    const { record } = await logged(mesh, {
      method: "POST",
      path: "/logged?q=1",
      body: "12345",
      host: "shop.example",
      fields: [["User-Agent", "tester/1"]],
      vip: V1_VIP,
    });
    expect(record).toMatchObject({
      method: "POST",
      path: "/logged?q=1",
      protocol: "HTTP/1.1",
      code: 200,
      flags: "-",
      details: "via_upstream",
      termination: "-",
      upstreamFailure: "-",
      bytesReceived: 5,
      userAgent: "tester/1",
      authority: "shop.example",
      upstreamHost: `envoy://connect_originate/${mesh.lab.pod("v1").ip}:8080`,
      cluster: `inbound-vip|80|http|${hostnameOf("v1")}`,
      downstreamLocal: `${V1_VIP}:80`,
      routeName: "default",
    });
    expect(record.bytesSent).toBeGreaterThan(100);
    expect(record.downstreamRemote).toStartWith(`${mesh.lab.pod("client").ip}:`);
  }, TEST_MS);

  test("the admin pages show the snapshot", async () => {
    const dump = await shared().waypoint().dumpText();
    expect(dump).toContain(`inbound-vip|80|http|${hostnameOf("web")}`);
    expect(dump).not.toContain("PRIVATE KEY");
  }, TEST_MS);

  test("a CA that is not there yet is waited for, and a stop signal meanwhile is heard", async () => {
    const mesh = shared();
    const waypoint = mesh.startWaypoint({
      pod: "outsider",
      serviceAccount: "waypoint",
      environment: {
        CA_ADDRESS: "https://127.0.0.1:1",
        CA_ROOT_CA: join(mesh.caDirectory, "root.pem"),
        AUTH_TOKEN: "fake",
        MINIMUM_DRAIN_DURATION: "100ms",
      },
    });
    try {
      await waypoint.process.line((line) => line.includes("certificate cannot be fetched"));
      const { status, body } = await waypoint.ask(READINESS_PORT, "/healthz/ready");
      expect([status, body]).toEqual([503, "not ready, pending: certificate\n"]);
      waypoint.process.signal("SIGTERM");
      expect(await waypoint.process.exited).toBe(0);
    } finally {
      await waypoint.process.stop("SIGKILL");
    }
  }, TEST_MS);

  test("a stop signal: not ready any more, what runs ends well, then the process ends", async () => {
    const mesh = shared();
    const waypoint = mesh.waypoint();
    const path = `/last?delay=${LONG_MS}&id=${crypto.randomUUID()}`;
    const connection = await open(mesh, HTTP, V1_VIP);
    const before = await connection.exchange({ host: "web" });
    expect(before.status).toBe(200);
    connection.send({ path, host: "web" });
    const grpc = applications.caller.grpc({
      target: `${VIP}:${GRPC}`,
      method: "Echo",
      messages: [{ waitMs: LONG_MS }],
    });
    await applications.v1.delaying(path);
    // The call is on its way once a request that was sent after it has been answered.
    expect((await ask(mesh)).status).toBe(200);
    waypoint.process.signal("SIGTERM");
    await eventually(
      "503 from the readiness page",
      async () => (await waypoint.ask(READINESS_PORT, "/healthz/ready")).status === 503,
    );
    const answer = await connection.answer();
    expect([answer.status, jsonOf<EchoedRequest>(answer).path]).toEqual([200, path]);
    expect((await grpc).code).toBe(0);
    expect(await waypoint.process.exited).toBe(0);
    connection.close();

    // Another process takes over the address.
    const next = mesh.startWaypoint({ pod: "waypoint" });
    mesh.waypoints.push(next);
    await next.untilReady();
    await eventually("traffic through the next one", async () => (await ask(mesh)).status === 200);
  }, 120_000);
});
