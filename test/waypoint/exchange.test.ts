import { describe, expect, test } from "bun:test";
import { fieldOf } from "../../src/http/mod.ts";
import { bytes, cluster, forward, retryPolicy, route, Stage } from "./harness.ts";

describe("a request that is forwarded", () => {
  test("reaches a host and comes back with the waypoint's fields", async () => {
    const stage = new Stage();
    const client = stage.request({ path: "/a?b" });
    const call = await stage.upstreams.call(0);
    expect(call.head.path).toBe("/a?b");
    expect(call.head.authority).toBe("web");
    expect(fieldOf(call.head.fields, "x-request-id")).toBeDefined();
    expect(call.ended).toBe(true);
    call.answer(200, "hello", [["server", "nginx"], ["content-length", "5"]]);
    expect(client.head?.status).toBe(200);
    expect(client.field("server")).toBe("istio-envoy");
    expect(client.field("date")).toBeDefined();
    expect(client.field("x-envoy-upstream-service-time")).toMatch(/^[0-9]+$/);
    expect(client.body).toBe("hello");
    expect(client.ended).toBe(true);
    expect(call.consumed).toBe(5);
    expect(stage.ended).toHaveLength(1);
    const [info] = stage.ended;
    expect(info?.responseCode).toBe(200);
    expect(info?.responseCodeDetails).toBe("via_upstream");
    expect(info?.flagText).toBe("-");
    expect(info?.bytesSent).toBe(5);
  });

  test("streams its body with credit given back as the upstream takes it", async () => {
    const stage = new Stage();
    const client = stage.request({ method: "POST" }, false);
    const call = await stage.upstreams.call(0);
    client.listener.onData(bytes("one "), false);
    expect(client.consumed).toBe(4);
    call.room = false;
    client.listener.onData(bytes("two "), false);
    expect(client.consumed).toBe(4);
    call.listener.onWritable();
    expect(client.consumed).toBe(8);
    call.room = true;
    client.listener.onTrailers([["x-sum", "1"]]);
    expect(call.body).toBe("one two ");
    expect(call.trailers).toEqual([["x-sum", "1"]]);
  });

  test("holds the upstream back while the client does not read", async () => {
    const stage = new Stage();
    const client = stage.request();
    const call = await stage.upstreams.call(0);
    client.room = false;
    call.listener.onHeaders({ status: 200, fields: [], protocol: "HTTP/1.1", upgrade: undefined, wireBytes: 0 }, false);
    call.listener.onData(bytes("12345"), false);
    expect(call.consumed).toBe(0);
    client.listener.onWritable();
    expect(call.consumed).toBe(5);
  });

  test("gives back what the client had not taken before the trailers", async () => {
    const stage = new Stage();
    const client = stage.request();
    const call = await stage.upstreams.call(0);
    client.room = false;
    call.listener.onHeaders({ status: 200, fields: [], protocol: "HTTP/2", upgrade: undefined, wireBytes: 0 }, false);
    call.listener.onData(bytes("12345"), false);
    call.listener.onTrailers([["x-sum", "1"]]);
    expect(call.consumed).toBe(5);
    expect(client.trailers).toEqual([["x-sum", "1"]]);
  });

  test("passes trailers and counts gRPC messages", async () => {
    const stage = new Stage();
    const client = stage.request({ method: "POST", fields: [["content-type", "application/grpc"]] }, false);
    const call = await stage.upstreams.call(0);
    client.listener.onData(new Uint8Array([0, 0, 0, 0, 1, 7]), true);
    call.listener.onHeaders({ status: 200, fields: [], protocol: "HTTP/2", upgrade: undefined, wireBytes: 0 }, false);
    call.listener.onData(new Uint8Array([0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), false);
    call.listener.onTrailers([["grpc-status", "0"]]);
    expect(client.trailers).toEqual([["grpc-status", "0"]]);
    expect(stage.ended[0]?.requestMessages).toBe(1);
    expect(stage.ended[0]?.responseMessages).toBe(2);
  });

  test("endless 1xx are the upstream's error, not the client's memory", async () => {
    const stage = new Stage();
    const client = stage.request();
    const call = await stage.upstreams.call(0);
    const hint = { status: 103, fields: [], protocol: "HTTP/1.1", upgrade: undefined, wireBytes: 1024 } as const;
    for (let i = 0; i < 1000; i++) call.listener.onInformational({ ...hint, fields: [["link", "x"]] });
    expect(client.informational.length).toBe(128);
    expect([client.head?.status, client.ended, call.wasReset]).toEqual([502, true, true]);
    expect(stage.ended.map(({ flagText }) => flagText)).toEqual(["UPE"]);
  });

  test.each([["GET", 304], ["GET", 204], ["HEAD", 200]] as const)(
    "%s answered with %d is over with the head, though the upstream goes on",
    async (method, status) => {
      const stage = new Stage();
      const client = stage.request({ method });
      const call = await stage.upstreams.call(0);
      call.listener.onHeaders({ status, fields: [], protocol: "HTTP/2", upgrade: undefined, wireBytes: 0 }, false);
      expect([client.head?.status, client.ended, client.body]).toEqual([status, true, ""]);
      call.listener.onData(bytes("what nobody reads"), false);
      expect([client.body, call.wasReset, stage.ended.length]).toEqual(["", true, 1]);
    },
  );

  test("103 goes on, 100 stays", async () => {
    const stage = new Stage();
    const client = stage.request();
    const call = await stage.upstreams.call(0);
    const informational = { fields: [], protocol: "HTTP/1.1", upgrade: undefined, wireBytes: 0 } as const;
    call.listener.onInformational({ ...informational, fields: [], status: 100 });
    call.listener.onInformational({ ...informational, fields: [["link", "x"]], status: 103 });
    expect(client.informational.map(({ status }) => status)).toEqual([103]);
  });

  test("is taken back when its client goes", async () => {
    const stage = new Stage();
    const client = stage.request({ method: "POST" }, false);
    const call = await stage.upstreams.call(0);
    client.listener.onReset({ reason: "connection-termination", detail: "", unsent: false });
    expect(call.wasReset).toBe(true);
    expect(stage.ended[0]?.flagText).toBe("DC");
    expect(stage.ended).toHaveLength(1);
  });

  test("breaks off at the client when the upstream breaks off", async () => {
    const stage = new Stage();
    const client = stage.request();
    const call = await stage.upstreams.call(0);
    call.listener.onHeaders({ status: 200, fields: [], protocol: "HTTP/1.1", upgrade: undefined, wireBytes: 0 }, false);
    call.listener.onData(bytes("half"), false);
    call.fail("connection-termination");
    expect(client.resetCode).toBeDefined();
    expect(stage.ended[0]?.flagText).toBe("UC");
    expect(stage.ended[0]?.responseCodeDetails).toBe("upstream_reset_after_response_started{connection_termination}");
  });
});

describe("a request that is answered here", () => {
  test("404 without a route", () => {
    const stage = new Stage({ routes: [] });
    const client = stage.request();
    expect(client.head?.status).toBe(404);
    expect(client.body).toBe("");
    expect(stage.ended[0]?.flagText).toBe("NR");
    expect(stage.ended[0]?.responseCodeDetails).toBe("route_not_found");
  });

  test("403 by policy goes before 404", () => {
    const stage = new Stage({
      routes: [],
      chain: { authorization: [{ action: "ALLOW", policies: [], shadow: undefined }] },
    });
    const client = stage.request();
    expect(client.head?.status).toBe(403);
    expect(client.body).toBe("RBAC: access denied");
    expect(stage.ended[0]?.responseCodeDetails).toBe("rbac_access_denied_matched_policy[none]");
  });

  test("503 when the chain has a security filter that is not there", () => {
    const stage = new Stage({ chain: { unsupported: [{ name: "jwt", severity: "security" }] } });
    expect(stage.request().head?.status).toBe(503);
    expect(stage.upstreams.calls).toHaveLength(0);
  });

  test("503 no healthy upstream", () => {
    const stage = new Stage({ clusters: [cluster([])] });
    const client = stage.request();
    expect(client.head?.status).toBe(503);
    expect(client.body).toBe("no healthy upstream");
    expect(stage.ended[0]?.flagText).toBe("UH");
  });

  test("503 rather than a tunnel to ourselves", () => {
    const stage = new Stage({ clusters: [cluster(["10.244.0.99:8080"])] });
    expect(stage.request().head?.status).toBe(503);
    expect(stage.upstreams.calls).toHaveLength(0);
  });

  test("500 or 503 for a cluster that does not exist", () => {
    for (const status of [500, 503] as const) {
      const stage = new Stage({
        clusters: [],
        routes: [route({ action: forward({ clusterNotFoundStatus: status }) })],
      });
      expect(stage.request().head?.status).toBe(status);
      expect(stage.ended[0]?.flagText).toBe("NC");
    }
  });

  test("400 for a path that cannot be normalised, 403 for an upgrade that is not allowed", () => {
    expect(new Stage().request({ path: "/%00" }).head?.status).toBe(400);
    expect(new Stage().request({ upgrade: "foo" }).head?.status).toBe(403);
    expect(new Stage().request({ method: "CONNECT", path: "" }).head?.status).toBe(404);
  });

  test("redirects and direct responses", () => {
    const stage = new Stage({
      routes: [
        route({
          match: { path: { kind: "exact", value: "/old", caseSensitive: true }, headers: [], query: [], metadata: [] },
          action: {
            kind: "redirect",
            host: "other.example",
            scheme: undefined,
            port: undefined,
            path: {},
            status: 301,
            stripQuery: false,
          },
        }),
        route({ action: { kind: "direct-response", status: 418, body: "teapot" } }),
      ],
    });
    const redirected = stage.request({ path: "/old?x=1" });
    expect(redirected.head?.status).toBe(301);
    expect(redirected.field("location")).toBe("http://other.example/old?x=1");
    const direct = stage.request();
    expect(direct.head?.status).toBe(418);
    expect(direct.body).toBe("teapot");
  });

  test("faults: a delay, then an abort", async () => {
    const fault = {
      delay: { ms: 5, fraction: 1_000_000 },
      abort: { status: 555, grpcStatus: undefined, fraction: 1_000_000 },
    };
    const stage = new Stage({ routes: [route({ fault })] });
    const client = stage.request();
    expect(client.head).toBeUndefined();
    await client.done();
    expect(client.head?.status).toBe(555);
    expect(client.body).toBe("fault filter abort");
    expect(stage.ended[0]?.flagText).toBe("DI,FI");
  });

  test("a body that comes during a delay is sent when it is over", async () => {
    const fault = { delay: { ms: 5, fraction: 1_000_000 }, abort: undefined };
    const stage = new Stage({ routes: [route({ fault })] });
    const client = stage.request({ method: "POST" }, false);
    client.listener.onData(bytes("early"), true);
    expect(client.consumed).toBe(0);
    const call = await stage.upstreams.call(0);
    await Promise.resolve();
    expect(call.body).toBe("early");
    expect(call.ended).toBe(true);
    expect(client.consumed).toBe(5);
  });
});

describe("upstreams that fail", () => {
  test("before the response: 503 with the reason", async () => {
    const stage = new Stage();
    const client = stage.request();
    (await stage.upstreams.call(0)).fail("connection-termination");
    expect(client.head?.status).toBe(503);
    expect(client.body).toBe(
      "upstream connect error or disconnect/reset before headers. reset reason: connection termination",
    );
    expect(stage.ended[0]?.flagText).toBe("UC");
    expect(stage.ended[0]?.responseCodeDetails).toBe("upstream_reset_before_response_started{connection_termination}");
  });

  test("a policy's status is tried again on another host", async () => {
    const stage = new Stage({
      clusters: [cluster(["10.244.0.1:80", "10.244.0.2:80"])],
      routes: [route({ action: forward({ retry: retryPolicy(["5xx"]) }) })],
    });
    const client = stage.request();
    const first = await stage.upstreams.call(0);
    first.answer(503);
    expect(client.head).toBeUndefined();
    const second = await stage.upstreams.call(1);
    expect(second.target).not.toBe(first.target);
    second.answer(200, "ok");
    expect(client.head?.status).toBe(200);
    expect(stage.ended[0]?.attempts).toBe(2);
    expect(stage.ended[0]?.flagText).toBe("-");
  });

  test("the last answer goes to the client when the tries are used up", async () => {
    const stage = new Stage({ routes: [route({ action: forward({ retry: retryPolicy(["5xx"], { count: 1 }) }) })] });
    const client = stage.request();
    (await stage.upstreams.call(0)).answer(500);
    (await stage.upstreams.call(1)).answer(502, "bad");
    expect(client.head?.status).toBe(502);
    expect(client.body).toBe("bad");
    expect(stage.ended[0]?.flagText).toBe("URX");
  });

  test("a request that was never sent goes elsewhere without a policy, body and all", async () => {
    const stage = new Stage({ clusters: [cluster(["10.244.0.1:80", "10.244.0.2:80"])] });
    const client = stage.request({ method: "POST" }, false);
    client.listener.onData(bytes("body"), true);
    (await stage.upstreams.call(0)).fail("connection-failure", true, "connection refused");
    const second = await stage.upstreams.call(1);
    await Promise.resolve();
    expect(second.body).toBe("body");
    expect(second.ended).toBe(true);
    second.answer(200);
    expect(client.head?.status).toBe(200);
  });

  test("a body beyond the limit is not sent again", async () => {
    const stage = new Stage({ routes: [route({ action: forward({ retry: retryPolicy(["5xx"]) }) })] });
    const client = stage.request({ method: "POST" }, false);
    const call = await stage.upstreams.call(0);
    for (let i = 0; i < 3; i++) client.listener.onData(new Uint8Array(512 << 10), i === 2);
    call.answer(503);
    expect(client.head?.status).toBe(503);
    expect(stage.upstreams.calls).toHaveLength(1);
  });

  test("a try that takes too long is given up and repeated where the policy has 5xx", async () => {
    const retry = retryPolicy(["5xx"], { perTryTimeoutMs: 5 });
    const stage = new Stage({ routes: [route({ action: forward({ retry }) })] });
    const client = stage.request();
    const first = await stage.upstreams.call(0);
    const second = await stage.upstreams.call(1);
    expect(first.wasReset).toBe(true);
    second.answer(200);
    expect(client.head?.status).toBe(200);
  });

  test("504 when the whole time is over, and the upstream is told", async () => {
    const stage = new Stage({ routes: [route({ action: forward({ timeoutMs: 5 }) })] });
    const client = stage.request();
    const call = await stage.upstreams.call(0);
    expect(fieldOf(call.head.fields, "x-envoy-expected-rq-timeout-ms")).toBe("5");
    await client.done();
    expect(client.head?.status).toBe(504);
    expect(client.body).toBe("upstream request timeout");
    expect(call.wasReset).toBe(true);
    expect(stage.ended[0]?.flagText).toBe("UT");
  });

  test("a gRPC deadline is DEADLINE_EXCEEDED", async () => {
    const stage = new Stage();
    const fields: [string, string][] = [["content-type", "application/grpc"], ["grpc-timeout", "5m"]];
    const client = stage.request({ method: "POST", fields });
    await client.done();
    expect(client.head?.status).toBe(200);
    expect(client.field("grpc-status")).toBe("4");
    expect(client.field("grpc-message")).toBe("upstream request timeout");
  });

  test("nothing is left of a try when its client goes during the back-off", async () => {
    const retry = retryPolicy(["5xx"], { backOffBaseMs: 60_000, backOffMaxMs: 60_000 });
    const stage = new Stage({ routes: [route({ action: forward({ retry }) })] });
    const client = stage.request();
    (await stage.upstreams.call(0)).answer(503);
    client.listener.onReset({ reason: "connection-termination", detail: "", unsent: false });
    const balanced = [...stage.plane.clusters.values()][0];
    expect(balanced?.retries.activeRetries).toBe(0);
    expect(balanced?.retries.activeRequests).toBe(0);
    expect([...balanced?.hosts() ?? []].map(({ activeRequests }) => activeRequests)).toEqual([0]);
  });
});

describe("a mirror", () => {
  const shadow = "inbound-vip|80|http|shadow.shop.svc.cluster.local";
  const stageWithMirror = () =>
    new Stage({
      clusters: [cluster(["10.244.0.1:80"]), cluster(["10.244.0.5:80"], { name: shadow })],
      routes: [
        route({ action: forward({ mirrors: [{ cluster: shadow, fraction: 1_000_000, shadowHost: false }] }) }),
      ],
    });

  test("gets the body too, and its answer goes nowhere", async () => {
    const stage = stageWithMirror();
    const client = stage.request({ method: "POST" }, false);
    client.listener.onData(bytes("body"), true);
    const calls = [await stage.upstreams.call(0), await stage.upstreams.call(1)];
    const mirrored = calls.find(({ target }) => target === "10.244.0.5");
    const real = calls.find(({ target }) => target === "10.244.0.1");
    expect(mirrored?.body).toBe("body");
    expect(fieldOf(mirrored?.head.fields ?? [], "x-envoy-internal")).toBe("true");
    mirrored?.answer(500, "ignored");
    expect(client.head).toBeUndefined();
    real?.answer(200, "real");
    expect(client.body).toBe("real");
  });

  test("that fails is nobody's concern", async () => {
    const stage = stageWithMirror();
    const client = stage.request();
    const calls = [await stage.upstreams.call(0), await stage.upstreams.call(1)];
    calls.find(({ target }) => target === "10.244.0.5")?.fail("connection-failure");
    calls.find(({ target }) => target === "10.244.0.1")?.answer(204);
    expect(client.head?.status).toBe(204);
  });
});
