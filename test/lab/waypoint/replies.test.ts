/** What the waypoint answers itself (spec/waypoint.md §6.1, §7): status, body, headers, and what the access log says of it. */
import { expect, test } from "bun:test";
import { labSuite, type Mesh, sharedMesh, TEST_MS } from "../fixture.ts";
import { hostnameOf, type KubernetesObject } from "../mesh/mod.ts";
import type { EchoedRequest } from "../peers/mod.ts";
import { eventually } from "../topology/mod.ts";
import { type Field, fieldOf, type Http1Answer, jsonOf } from "../traffic/mod.ts";
import {
  type Applications,
  ask,
  EMPTY_VIP,
  GRPC,
  HALF_VIP,
  HTTP,
  httpRoute,
  logged,
  open,
  startApplications,
  V1_VIP,
  VIP,
  waypointMesh,
} from "./mesh.ts";

const V1 = [{ name: "v1", port: HTTP }];

/** Fields of a local reply with a body, apart from date. */
function expectLocal(answer: Http1Answer, status: number, body: string): void {
  expect([answer.status, answer.body.toString()]).toEqual([status, body]);
  expect(fieldOf(answer.fields, "server")).toBe("istio-envoy");
  expect(fieldOf(answer.fields, "date")).toBeDefined();
  if (body !== "") expect(fieldOf(answer.fields, "content-type")).toBe("text/plain");
  expect(fieldOf(answer.fields, "content-length")).toBe(`${body.length}`);
  expect(fieldOf(answer.fields, "x-envoy-upstream-service-time")).toBeUndefined();
}

labSuite("answers of the waypoint itself", () => {
  let applications: Applications;
  const shared: () => Mesh = sharedMesh(waypointMesh, async (mesh) => {
    applications = await startApplications(mesh);
  });

  async function withObjects(objects: readonly KubernetesObject[], body: () => Promise<void>): Promise<void> {
    await shared().apply(...objects);
    try {
      await body();
    } finally {
      await shared().remove(...objects);
    }
  }
  const withRules = (rules: readonly Record<string, unknown>[], body: () => Promise<void>) =>
    withObjects([httpRoute("test", "web", rules)], body);

  test(
    "404: no route",
    () =>
      withRules([{ matches: [{ path: { type: "Exact", value: "/known" } }], backendRefs: V1 }], async () => {
        const { answer, record } = await logged(shared(), { path: "/unknown" });
        expectLocal(answer, 404, "");
        expect([record.flags, record.details, record.upstreamHost]).toEqual(["NR", "route_not_found", "-"]);
        expect((await ask(shared(), { path: "/known" })).status).toBe(200);
        // HTTP/2 the same; an HTTPRoute on HTTP's port says nothing about the port of gRPC.
        const origin = `http://${VIP}:${HTTP}`;
        const second = await applications.caller.http2({ origin, headers: { ":path": "/unknown", ":authority": "a" } });
        expect([second.headers[":status"], second.body]).toEqual([404, ""]);
      }),
    TEST_MS,
  );

  test("gRPC hears of it in its own words", async () => {
    const route: KubernetesObject = {
      apiVersion: "gateway.networking.k8s.io/v1",
      kind: "GRPCRoute",
      metadata: { name: "test-grpc", namespace: "demo" },
      spec: {
        parentRefs: [{ group: "", kind: "Service", name: "web" }],
        rules: [{ matches: [{ method: { service: "some.Other" } }], backendRefs: [{ name: "v1", port: GRPC }] }],
      },
    };
    await withObjects([route], async () => {
      const answer = await applications.caller.grpc({ target: `${VIP}:${GRPC}`, method: "Echo", messages: [{}] });
      expect(answer.code).toBe(12);
    });
    const empty = await applications.caller.grpc({ target: `${EMPTY_VIP}:${GRPC}`, method: "Echo", messages: [{}] });
    expect([empty.code, empty.details]).toEqual([14, "no healthy upstream"]);
  }, TEST_MS);

  test("503: a service without endpoints", async () => {
    const { answer, record } = await logged(shared(), { vip: EMPTY_VIP });
    expectLocal(answer, 503, "no healthy upstream");
    expect([record.flags, record.details]).toEqual(["UH", "no_healthy_upstream"]);
  }, TEST_MS);

  test("503: nobody listens at the backend", async () => {
    await shared().configure({
      workloads: shared().configuration.workloads.map((workload) =>
        workload.pod.name === "v1" ? { ...workload, status: "Unhealthy" as const } : workload
      ),
    });
    try {
      const { answer, record } = await eventually("the refusal", async () => {
        const outcome = await logged(shared(), { vip: HALF_VIP });
        return outcome.answer.status === 503 && outcome;
      });
      // The tunnel is there, its far end refuses the stream: to the original's HTTP a connection that ended.
      expectLocal(
        answer,
        503,
        "upstream connect error or disconnect/reset before headers. reset reason: connection termination",
      );
      expect(record.flags).toBe("UC");
      expect(record.details).toBe("upstream_reset_before_response_started{connection_termination}");
    } finally {
      const { workloads } = waypointMesh.configuration(shared().lab);
      await shared().configure({ workloads });
      await eventually("the repaired service", async () => (await ask(shared(), { vip: V1_VIP })).status === 200);
    }
  }, TEST_MS);

  test("an endpoint that was never reached costs nothing: another one is tried", async () => {
    for (let sent = 0; sent < 40; sent++) {
      const answer = await ask(shared(), { vip: HALF_VIP, method: "POST", body: "payload" });
      expect([answer.status, jsonOf<EchoedRequest>(answer).pod]).toEqual([200, "v1"]);
    }
  }, TEST_MS);

  test("503: the backend closes instead of answering, which is not retried", async () => {
    const path = `/?reset=1&id=${crypto.randomUUID()}`;
    const { answer, record } = await logged(shared(), { path, vip: V1_VIP });
    expect(answer.body.toString()).toStartWith(
      "upstream connect error or disconnect/reset before headers. reset reason: connection termination",
    );
    expectLocal(answer, 503, answer.body.toString());
    expect(record.flags).toBe("UC");
  }, TEST_MS);

  test("a backend that breaks off in the middle breaks off the client's answer", async () => {
    const connection = await open(shared(), HTTP, V1_VIP);
    connection.send({ path: "/?size=1000000&reset=late" });
    const outcome = await connection.answer().then(() => "whole", (error) => error.code as string);
    expect(outcome).toMatch(/EOF|ECONNRESET/);
    connection.close();
  }, TEST_MS);

  test(
    "504: the route's timeout, which cancels the application's work",
    () =>
      withRules([{ timeouts: { request: "2s" }, backendRefs: V1 }], async () => {
        const path = `/?delay=60000&id=${crypto.randomUUID()}`;
        const { answer, record } = await logged(shared(), { path });
        expectLocal(answer, 504, "upstream request timeout");
        expect([record.flags, record.details]).toEqual(["UT", "response_timeout"]);
        await applications.v1.process.line((line) => line === `cancelled ${path}`);
        const seen = jsonOf<EchoedRequest>(await ask(shared()));
        expect(fieldOf(seen.headers, "x-envoy-expected-rq-timeout-ms")).toBe("2000");
      }),
    TEST_MS,
  );

  test("500: a backend that does not exist; the rules beside it serve", () =>
    withRules([
      { matches: [{ path: { type: "PathPrefix", value: "/missing" } }], backendRefs: [{ name: "nobody", port: 80 }] },
      { matches: [{ path: { type: "PathPrefix", value: "/" } }], backendRefs: V1 },
    ], async () => {
      const { answer, record } = await logged(shared(), { path: "/missing" });
      expect([answer.status, answer.body.toString(), record.flags]).toEqual([500, "", "NC"]);
      expect((await ask(shared(), { path: "/other" })).status).toBe(200);
    }), TEST_MS);

  test(
    "a retry hides a failing backend, and is no more than asked for",
    () =>
      withRules([{ retry: { codes: [503], attempts: 2, backoff: "10ms" }, backendRefs: V1 }], async () => {
        const twice = crypto.randomUUID();
        const { answer, record } = await logged(shared(), { path: `/?fail=${twice}:2` });
        expect([answer.status, record.code]).toEqual([200, 200]);
        expect((await applications.v1.told(twice, 3)).map((line) => line.slice(-3))).toEqual([
          "503",
          "503",
          "200",
        ]);
        const thrice = crypto.randomUUID();
        const failed = await logged(shared(), { path: `/?fail=${thrice}:9` });
        expect(failed.answer.status).toBe(503);
        expect(failed.record.flags).toContain("URX");
        expect(await applications.v1.told(thrice, 3)).toHaveLength(3);
      }),
    TEST_MS,
  );

  test("without a retry in the route a 503 is the client's, a gRPC UNAVAILABLE is tried again", async () => {
    const once = crypto.randomUUID();
    expect((await ask(shared(), { vip: V1_VIP, path: `/?fail=${once}:1` })).status).toBe(503);
    const order = { target: `${V1_VIP}:${GRPC}`, method: "Echo" as const };
    const twice = await applications.caller.grpc({ ...order, messages: [{ fail: `${once}:2` }] });
    expect([twice.code, twice.responses[0]?.["pod"]]).toEqual([0, "v1"]);
    const often = await applications.caller.grpc({ ...order, messages: [{ fail: `${crypto.randomUUID()}:9` }] });
    expect([often.code, often.details]).toEqual([14, "told to fail"]);
    // Other codes are the application's word.
    const code = { fail: `${crypto.randomUUID()}:1`, code: 9 };
    expect((await applications.caller.grpc({ ...order, messages: [code] })).code).toBe(9);
  }, TEST_MS);

  test(
    "a body that is too large to be kept is not sent twice",
    () =>
      withRules([{ retry: { codes: [503], attempts: 2, backoff: "10ms" }, backendRefs: V1 }], async () => {
        const small = await ask(shared(), {
          method: "POST",
          path: `/?fail=${crypto.randomUUID()}:1`,
          body: "x".repeat(10_000),
        });
        expect([small.status, jsonOf<EchoedRequest>(small).bytes]).toEqual([200, 10_000]);
        const large = await ask(shared(), {
          method: "POST",
          path: `/?fail=${crypto.randomUUID()}:1`,
          body: "x".repeat(3 << 20),
        });
        expect(large.status).toBe(503);
      }),
    TEST_MS,
  );

  test("weight 0 is never chosen", () =>
    withRules([{
      backendRefs: [{ name: "v1", port: HTTP, weight: 1 }, { name: "v2", port: HTTP, weight: 0 }],
    }], async () => {
      const connection = await open(shared());
      for (let sent = 0; sent < 100; sent++) {
        expect(jsonOf<EchoedRequest>(await connection.exchange({})).pod).toBe("v1");
      }
      connection.close();
    }), TEST_MS);

  test("a mirror gets a copy with its body; its answer is nobody's", () =>
    withRules([{
      filters: [{ type: "RequestMirror", requestMirror: { backendRef: { name: "v2", port: HTTP } } }],
      backendRefs: V1,
    }], async () => {
      const path = `/mirrored?status=201&id=${crypto.randomUUID()}`;
      const answer = await ask(shared(), { method: "POST", path, body: "copied" });
      expect(jsonOf<EchoedRequest>(answer)).toMatchObject({ pod: "v1", bytes: 6 });
      await applications.v2.process.line((line) => line === `POST ${path} 201`);
    }), TEST_MS);

  test("CORS: preflights are answered here, other requests get the headers", () =>
    withRules([{
      filters: [{
        type: "CORS",
        cors: {
          allowOrigins: ["https://shop.example"],
          allowMethods: ["GET", "PUT"],
          allowHeaders: ["x-mine"],
          allowCredentials: true,
          maxAge: 600,
        },
      }],
      backendRefs: V1,
    }], async () => {
      const origin: Field = ["Origin", "https://shop.example"];
      const preflight = await ask(shared(), {
        method: "OPTIONS",
        path: "/preflight",
        fields: [origin, ["Access-Control-Request-Method", "PUT"]],
      });
      expect(preflight.status).toBe(200);
      expect(fieldOf(preflight.fields, "access-control-allow-origin")).toBe("https://shop.example");
      expect(fieldOf(preflight.fields, "access-control-allow-methods")).toMatch(/^GET, ?PUT$/);
      expect(fieldOf(preflight.fields, "access-control-allow-credentials")).toBe("true");
      expect(fieldOf(preflight.fields, "access-control-max-age")).toBe("600");
      const answer = await ask(shared(), { path: "/after-preflight", fields: [origin] });
      await applications.v1.told("/after-preflight", 1);
      expect(applications.v1.requests.some((line) => line.includes(" /preflight"))).toBe(false);
      expect([answer.status, fieldOf(answer.fields, "access-control-allow-origin")]).toEqual([
        200,
        "https://shop.example",
      ]);
      const foreign = await ask(shared(), { fields: [["Origin", "https://evil.example"]] });
      expect(fieldOf(foreign.fields, "access-control-allow-origin")).toBeUndefined();
    }), TEST_MS);

  test("rewriting the host; redirects keep the query", () =>
    withRules([
      {
        matches: [{ path: { type: "PathPrefix", value: "/host" } }],
        filters: [{ type: "URLRewrite", urlRewrite: { hostname: "inner.example" } }],
        backendRefs: V1,
      },
      {
        matches: [{ path: { type: "PathPrefix", value: "/old" } }],
        filters: [{
          type: "RequestRedirect",
          requestRedirect: { path: { type: "ReplacePrefixMatch", replacePrefixMatch: "/" }, statusCode: 301 },
        }],
      },
    ], async () => {
      expect(jsonOf<EchoedRequest>(await ask(shared(), { path: "/host" })).host).toBe("inner.example");
      const redirected = await ask(shared(), { path: "/old/a/b?q=1", host: "shop.example" });
      expect([redirected.status, fieldOf(redirected.fields, "location")]).toEqual([
        301,
        "http://shop.example/a/b?q=1",
      ]);
    }), TEST_MS);

  test("the path is normalised for routes and backend alike, the query is not touched", async () => {
    const seen = async (path: string) => jsonOf<EchoedRequest>(await ask(shared(), { path })).path;
    expect(await seen("/a/../b/./c?x=/../y")).toBe("/b/c?x=/../y");
    expect(await seen("/%7Euser/%2F")).toBe("/~user/%2F");
    expect(await seen("/a//b")).toBe("/a//b");
  }, TEST_MS);

  test("DestinationRule: a hash of a header keeps a client at one backend", () =>
    withObjects([{
      apiVersion: "networking.istio.io/v1",
      kind: "DestinationRule",
      metadata: { name: "sticky", namespace: "demo" },
      spec: {
        host: hostnameOf("web"),
        trafficPolicy: { loadBalancer: { consistentHash: { httpHeaderName: "x-user" } } },
      },
    }], async () => {
      const all = new Set<string>();
      for (let user = 0; user < 12; user++) {
        const pods = new Set<string>();
        for (let time = 0; time < 4; time++) {
          const answer = await ask(shared(), { fields: [["x-user", `user-${user}`]] });
          pods.add(jsonOf<EchoedRequest>(answer).pod);
        }
        expect(pods.size).toBe(1);
        for (const pod of pods) all.add(pod);
      }
      expect(all.size).toBe(2);
    }), TEST_MS);
});
