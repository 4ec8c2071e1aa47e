/**
 * The expectations of the Gateway API's conformance tests for meshes (spec/waypoint.md §3.1), each under its public name,
 * restated: client pod → its ztunnel → waypoint → the server's ztunnel → echo pod. Every case must hold three times in a
 * row, at once: the route is known to be served when the first request is sent.
 */
import { expect, test } from "bun:test";
import { labSuite, sharedMesh } from "../lab/fixture.ts";
import type { KubernetesObject } from "../lab/mesh/mod.ts";
import type { PodCaller } from "../lab/peers/mod.ts";
import { type EchoedRequest } from "../lab/peers/mod.ts";
import { type Field, fieldOf, http1, Http1Client, jsonOf } from "../lab/traffic/mod.ts";
import { type Case, compareSeen, differences, nameOf, placeOf } from "./expectation.ts";
import { conformanceMesh, GRPC_PORT, HTTP_PORTS, NAMESPACE, routes, VIPS } from "./mesh.ts";

const TEST_MS = 60_000;
const REPETITIONS = 3;
/** Requests of a test of weights, and how far from its weight a share may be. */
const WEIGHTED_REQUESTS = 2000;
const TOLERANCE = 0.05;
const WEIGHTS: Readonly<Record<string, number>> = { "echo-v1": 0.7, "echo-v2": 0.3 };

labSuite("Gateway API mesh conformance", () => {
  const callers: PodCaller[] = [];
  const shared = sharedMesh(conformanceMesh, async (mesh) => {
    for (const pod of ["echo-v1", "echo-v2"]) {
      await mesh.echo(pod, { http: HTTP_PORTS, grpc: [GRPC_PORT], namespace: NAMESPACE });
      callers.push(await mesh.caller(pod));
    }
  });

  const addressOf = (service: string) => VIPS[service] ?? service;

  async function ask(from: string, expected: Case) {
    const { service, port } = placeOf(expected.to);
    const fields: Field[] = Object.entries(expected.headers ?? {});
    const host = expected.host ?? (port === 80 ? service : `${service}:${port}`);
    const request = { path: expected.path ?? "/", host, fields };
    return await http1(shared().lab.pod(from).namespace, { ip: addressOf(service), port }, request);
  }

  async function hold(cases: readonly Case[], from = "echo-v1"): Promise<void> {
    const broken: string[] = [];
    for (const expected of cases) {
      for (let time = 0; time < REPETITIONS; time++) {
        const found = differences(expected, await ask(from, expected));
        if (found.length > 0) broken.push(`${nameOf(expected)}: ${found.join("; ")}`);
      }
    }
    expect(broken).toEqual([]);
  }

  async function withRoutes(objects: readonly KubernetesObject[], body: () => Promise<void>): Promise<void> {
    await shared().apply(...objects);
    try {
      await body();
    } finally {
      await shared().remove(...objects);
    }
  }

  const check = (name: string, file: string, cases: readonly Case[]) =>
    test(name, () => withRoutes(routes(file), () => hold(cases)), TEST_MS);

  function expectShares(counts: ReadonlyMap<string, number>): void {
    expect([...counts.keys()].sort()).toEqual(Object.keys(WEIGHTS).sort());
    for (const [backend, weight] of Object.entries(WEIGHTS)) {
      const share = (counts.get(backend) ?? 0) / WEIGHTED_REQUESTS;
      expect(Math.abs(share - weight), `${backend} got ${share}`).toBeLessThanOrEqual(TOLERANCE);
    }
  }

  test("MeshBasic", () => hold([{ to: "echo" }]), TEST_MS);

  test("MeshFrontend", () =>
    withRoutes(routes("mesh-frontend.yaml"), () =>
      hold([
        { to: "echo-v2", backend: "echo-v2", answerHeaders: { "X-Header-Set": "set" } },
        // By the pod's address no service is asked, so no route of one applies.
        { to: `${shared().lab.pod("echo-v2").ip}:8080`, backend: "echo-v2", absentAnswerHeaders: ["X-Header-Set"] },
      ])), TEST_MS);

  check("MeshFrontendHostname", "mesh-frontend.yaml", [
    { to: "echo-v2", host: "echo-v1", backend: "echo-v2", answerHeaders: { "X-Header-Set": "set" } },
    { to: "echo-v1", host: "echo-v2", backend: "echo-v1", absentAnswerHeaders: ["X-Header-Set"] },
  ]);

  check("MeshPorts", "mesh-ports.yaml", [
    { to: "echo-v1", backend: "echo-v1", answerHeaders: { "X-Header-Set": "v1" } },
    { to: "echo-v1:8080", backend: "echo-v1", absentAnswerHeaders: ["X-Header-Set"] },
    { to: "echo-v2", backend: "echo-v2", answerHeaders: { "X-Header-Set": "v2" } },
    { to: "echo-v2:8080", backend: "echo-v2", answerHeaders: { "X-Header-Set": "v2" } },
  ]);

  check("MeshTrafficSplit", "mesh-split.yaml", [
    { path: "/v1", backend: "echo-v1" },
    { path: "/v2", backend: "echo-v2" },
  ]);

  test("MeshConsumerRoute", () =>
    withRoutes(routes("mesh-consumer-route.yaml"), async () => {
      const host = `echo-v1.${NAMESPACE}`;
      const modified = { "X-Header-Set": "set" };
      await hold([{ to: "echo-v1", host, backend: "echo-v1", answerHeaders: modified }], "consumer");
      await hold([{ to: "echo-v1", host, backend: "echo-v1", absentAnswerHeaders: ["X-Header-Set"] }], "echo-v1");
    }), TEST_MS);

  check("MeshHTTPRouteSimpleSameNamespace", "httproute-simple-same-namespace.yaml", [{ backend: "echo-v1" }]);

  check("MeshHTTPRouteMatching", "httproute-matching.yaml", [
    { path: "/", backend: "echo-v1" },
    { path: "/example", backend: "echo-v1" },
    { path: "/", headers: { Version: "one" }, backend: "echo-v1" },
    { path: "/v2", backend: "echo-v2" },
    { path: "/v2/example", backend: "echo-v2" },
    { path: "/", headers: { Version: "two" }, backend: "echo-v2" },
    { path: "/v2/", backend: "echo-v2" },
    // Not a prefix of path segments.
    { path: "/v2example", backend: "echo-v1" },
    { path: "/foo/v2/example", backend: "echo-v1" },
  ]);

  test("MeshHTTPRouteWeight", () =>
    withRoutes(routes("httproute-weight.yaml"), async () => {
      const destination = { ip: addressOf("echo"), port: 80 };
      const client = await Http1Client.open(shared().lab.pod("echo-v1").namespace, destination);
      const counts = new Map<string, number>();
      for (let sent = 0; sent < WEIGHTED_REQUESTS; sent++) {
        const { pod } = jsonOf<EchoedRequest>(await client.exchange({ host: "echo" }));
        counts.set(pod, (counts.get(pod) ?? 0) + 1);
      }
      client.close();
      expectShares(counts);
    }), TEST_MS);

  const headerCases: readonly Case[] = [
    {
      path: "/set",
      headers: { "Some-Other-Header": "val" },
      seenHeaders: { "X-Header-Set": "set-overwrites-values" },
    },
    {
      path: "/set",
      headers: { "Some-Other-Header": "val", "X-Header-Set": "some-other-value" },
      seenHeaders: { "X-Header-Set": "set-overwrites-values" },
    },
    {
      path: "/add",
      headers: { "Some-Other-Header": "val" },
      seenHeaders: { "X-Header-Add": "add-appends-values" },
    },
    {
      path: "/add",
      headers: { "Some-Other-Header": "val", "X-Header-Add": "some-other-value" },
      seenHeaders: { "X-Header-Add": "some-other-value,add-appends-values" },
    },
    { path: "/remove", headers: { "X-Header-Remove": "val" }, unseenHeaders: ["X-Header-Remove"] },
    {
      path: "/multiple",
      headers: {
        "X-Header-Set-2": "set-val-2",
        "X-Header-Add-2": "add-val-2",
        "X-Header-Remove-2": "remove-val-2",
        "Another-Header": "another-header-val",
      },
      seenHeaders: {
        "X-Header-Set-1": "header-set-1",
        "X-Header-Set-2": "header-set-2",
        "X-Header-Add-1": "header-add-1",
        "X-Header-Add-2": "add-val-2,header-add-2",
        "X-Header-Add-3": "header-add-3",
      },
      unseenHeaders: ["X-Header-Remove-1", "X-Header-Remove-2"],
    },
    {
      path: "/case-insensitivity",
      headers: {
        "x-header-set": "original-val-set",
        "x-header-add": "original-val-add",
        "x-header-remove": "original-val-remove",
        "Another-Header": "another-header-val",
      },
      seenHeaders: { "X-Header-Set": "header-set", "X-Header-Add": "original-val-add,header-add" },
      unseenHeaders: ["X-Header-Remove"],
    },
  ].map((expected) => ({ ...expected, backend: "echo-v1" }));

  check("MeshHTTPRouteRequestHeaderModifier", "httproute-request-header-modifier.yaml", headerCases);
  check("MeshHTTPRouteBackendRequestHeaderModifier", "httproute-request-header-modifier-backend.yaml", headerCases);

  check("MeshHTTPRouteRedirectHostAndStatus", "httproute-redirect-host-and-status.yaml", [
    { path: "/hostname-redirect", status: 302, redirect: { host: "example.org" } },
    { path: "/host-and-status", status: 301, redirect: { host: "example.org" } },
  ]);

  check("MeshHTTPRouteRedirectPath", "httproute-redirect-path.yaml", [
    { path: "/original-prefix/lemon", status: 302, redirect: { path: "/replacement-prefix/lemon" } },
    { path: "/full/path/original", status: 302, redirect: { path: "/full-path-replacement" } },
    { path: "/path-and-host", status: 302, redirect: { host: "example.org", path: "/replacement-prefix" } },
    { path: "/path-and-status", status: 301, redirect: { path: "/replacement-prefix" } },
    { path: "/full-path-and-host", status: 302, redirect: { host: "example.org", path: "/replacement-full" } },
    { path: "/full-path-and-status", status: 301, redirect: { path: "/replacement-full" } },
  ]);

  check("MeshHTTPRouteRedirectPort", "httproute-redirect-port.yaml", [
    { path: "/port", status: 302, redirect: { port: "8083" } },
    { path: "/port-and-host", status: 302, redirect: { host: "example.org", port: "8083" } },
    { path: "/port-and-status", status: 301, redirect: { port: "8083" } },
    { path: "/port-and-host-and-status", status: 302, redirect: { host: "example.org", port: "8083" } },
  ]);

  check("MeshHTTPRouteSchemeRedirect", "httproute-redirect-scheme.yaml", [
    { path: "/scheme", status: 302, redirect: { scheme: "https" } },
    { path: "/scheme-and-host", status: 302, redirect: { scheme: "https", host: "example.org" } },
    { path: "/scheme-and-status", status: 301, redirect: { scheme: "https" } },
    { path: "/scheme-and-host-and-status", status: 302, redirect: { scheme: "https", host: "example.org" } },
  ]);

  check("MeshHTTPRoute303Redirect", "httproute-303-redirect.yaml", [{ path: "/redirect", status: 303, redirect: {} }]);
  check("MeshHTTPRoute307Redirect", "httproute-307-redirect.yaml", [{ path: "/temporary", status: 307, redirect: {} }]);
  check("MeshHTTPRoute308Redirect", "httproute-308-redirect.yaml", [{ path: "/permanent", status: 308, redirect: {} }]);

  const modified: Case = {
    headers: { "X-Header-Remove": "remove-val", "X-Header-Add-Append": "append-val-1", "X-Header-Set": "set-val" },
    seenHeaders: {
      "X-Header-Add": "header-val-1",
      "X-Header-Add-Append": "append-val-1,header-val-2",
      "X-Header-Set": "set-overwrites-values",
    },
    unseenHeaders: ["X-Header-Remove"],
    backend: "echo-v1",
  };
  check("MeshHTTPRouteRewritePath", "httproute-rewrite-path.yaml", [
    { path: "/prefix/one/two", seenPath: "/one/two", backend: "echo-v1" },
    { path: "/strip-prefix/three", seenPath: "/three", backend: "echo-v1" },
    { path: "/strip-prefix", seenPath: "/", backend: "echo-v1" },
    { path: "/full/one/two", seenPath: "/one", backend: "echo-v1" },
    { ...modified, path: "/full/rewrite-path-and-modify-headers/test", seenPath: "/test" },
    { ...modified, path: "/prefix/rewrite-path-and-modify-headers/one", seenPath: "/prefix/one" },
  ]);

  check("MeshHTTPRouteNamedRule", "httproute-named-rule.yaml", [
    { path: "/named", backend: "echo-v1" },
    { path: "/unnamed", backend: "echo-v2" },
  ]);

  check("MeshHTTPRouteQueryParamMatching", "httproute-query-param-matching.yaml", [
    { path: "/?animal=whale", backend: "echo-v1" },
    { path: "/?animal=dolphin", backend: "echo-v2" },
    { path: "/?animal=whale&otherparam=irrelevant", backend: "echo-v1" },
    { path: "/?animal=dolphin&color=yellow", backend: "echo-v2" },
    { path: "/?color=blue", status: 404 },
    { path: "/?animal=dog", status: 404 },
    { path: "/?animal=whaledolphin", status: 404 },
    { path: "/", status: 404 },
    { path: "/path1?animal=whale", backend: "echo-v1" },
    { path: "/?animal=whale", headers: { version: "one" }, backend: "echo-v2" },
    { path: "/path3?animal=shark", backend: "echo-v1" },
    { path: "/path4?animal=kraken", headers: { version: "three" }, backend: "echo-v1" },
    { path: "/?animal=shark", status: 404 },
    { path: "/path4?animal=kraken", status: 404 },
    { path: "/path5?animal=hydra", backend: "echo-v1" },
  ]);

  test("MeshGRPCRouteWeight", () =>
    withRoutes(routes("grpcroute-weight.yaml"), async () => {
      const counts = new Map<string, number>();
      const target = `${addressOf("echo")}:${GRPC_PORT}`;
      for (let sent = 0; sent < WEIGHTED_REQUESTS; sent += 10) {
        const calls = Array.from({ length: 10 }, () => callers[0]?.grpc({ target, method: "Echo", messages: [{}] }));
        for (const answer of await Promise.all(calls)) {
          const pod = `${answer?.responses[0]?.["pod"] ?? answer?.details}`;
          counts.set(pod, (counts.get(pod) ?? 0) + 1);
        }
      }
      expectShares(counts);
    }), TEST_MS);

  test(
    "MeshGRPCRouteRequestHeaderModifier",
    () =>
      withRoutes(routes("grpcroute-request-header-modifier.yaml"), async () => {
        const cases: readonly (Case & { readonly client: number })[] = [
          {
            client: 0,
            headers: { "x-test-case": "set", "some-other-header": "this-stays", "x-header-set": "this-does-not" },
            seenHeaders: { "x-header-set": "set-overwrites-values" },
            backend: "echo-v1",
          },
          {
            client: 0,
            headers: { "x-test-case": "add", "x-header-add": "this-stays" },
            seenHeaders: { "x-header-add": "this-stays,add-appends-values" },
            backend: "echo-v1",
          },
          {
            client: 0,
            headers: { "x-test-case": "remove", "x-header-remove": "this-does-not-stay" },
            unseenHeaders: ["x-header-remove"],
            backend: "echo-v1",
          },
          {
            client: 1,
            headers: {
              "x-test-case": "multi",
              "x-header-set-2": "set-header-2",
              "x-header-add-2": "add-header-2",
              "x-header-remove-2": "this-does-not-stay",
            },
            seenHeaders: {
              "x-header-set-1": "header-set-1",
              "x-header-set-2": "header-set-2",
              "x-header-add-1": "header-add-1",
              "x-header-add-2": "add-header-2,header-add-2",
            },
            unseenHeaders: ["x-header-remove-1", "x-header-remove-2"],
            backend: "echo-v2",
          },
        ];
        const broken: string[] = [];
        for (const { client, ...expected } of cases) {
          const answer = await callers[client]?.grpc({
            target: `${addressOf("echo")}:${GRPC_PORT}`,
            method: "Echo",
            messages: [{}],
            metadata: expected.headers ?? {},
          });
          const compare = (what: string, got: unknown, wanted: unknown) => {
            if (got !== wanted) broken.push(`${expected.headers?.["x-test-case"]}: ${what} is ${got}, not ${wanted}`);
          };
          compare("code", `${answer?.code} ${answer?.details}`, "0 OK");
          const seen = answer?.responses[0] as { pod: string; metadata: Field[] } | undefined;
          compare("backend", seen?.pod, expected.backend);
          // Node joins repeated fields with a space behind the comma.
          const metadata = (seen?.metadata ?? []).map(([name, value]): Field => [name, value.replaceAll(", ", ",")]);
          compareSeen(expected, metadata, compare);
          compare("x-request-id seen", fieldOf(metadata, "x-request-id") !== undefined, true);
        }
        expect(broken).toEqual([]);
      }),
    TEST_MS,
  );
});
