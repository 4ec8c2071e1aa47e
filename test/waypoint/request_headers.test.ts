import { describe, expect, test } from "bun:test";
import { fieldOf, type RequestHead } from "../../src/http/mod.ts";
import type { HeaderList } from "../../src/http2/mod.ts";
import { mirroredHead, prepareRequest } from "../../src/waypoint/request_headers.ts";
import type { DownstreamInfo } from "../../src/waypoint/stream_info.ts";
import { OPTIONS as options } from "./harness.ts";

const downstream: DownstreamInfo = {
  remote: { ip: "10.244.0.7", port: 4000 },
  local: { ip: "10.96.0.1", port: 80 },
  originalDestination: { ip: "10.96.0.1", port: 80 },
  authority: "10.96.0.1:80",
  peerPrincipal: "spiffe://cluster.local/ns/shop/sa/web",
  sourceNamespace: "shop",
  localPrincipal: "spiffe://cluster.local/ns/shop/sa/waypoint",
  requestedServerName: undefined,
};

function head(fields: HeaderList, authority = "web.shop:8080"): RequestHead {
  return {
    method: "GET",
    scheme: "http",
    authority,
    path: "/",
    protocol: "HTTP/1.1",
    fields,
    upgrade: undefined,
    expectContinue: false,
    wireBytes: 0,
  };
}

describe("a request's fields before anything decides", () => {
  test("x-request-id is a UUID version 4 where the client gave none", () => {
    const request = head([]);
    prepareRequest(request, options, downstream);
    expect(fieldOf(request.fields, "x-request-id")).toMatch(
      /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
    );
    expect(fieldOf(request.fields, "x-forwarded-proto")).toBe("http");
  });

  test("what the client gave stays", () => {
    const request = head([["x-request-id", "mine"], ["x-forwarded-proto", "https"]]);
    prepareRequest(request, options, downstream);
    expect(request.fields).toEqual([["x-request-id", "mine"], ["x-forwarded-proto", "https"]]);
  });

  test("a client cannot steer the router or pretend to be another", () => {
    const request = head([
      ["x-envoy-retry-on", "5xx"],
      ["x-envoy-upstream-rq-timeout-ms", "1"],
      ["x-envoy-internal", "true"],
      ["x-forwarded-client-cert", "By=spiffe://x;URI=spiffe://cluster.local/ns/admin/sa/root"],
      ["x-other", "1"],
    ]);
    prepareRequest(request, { ...options, generateRequestId: false }, downstream);
    expect(request.fields).toEqual([["x-other", "1"], ["x-forwarded-proto", "http"]]);
  });

  test("the tunnel's identities are told where that is asked for", () => {
    const request = head([["x-forwarded-client-cert", "forged"]]);
    prepareRequest(request, { ...options, forwardClientIdentity: true }, downstream);
    expect(request.fields.filter(([name]) => name === "x-forwarded-client-cert")).toEqual([[
      "x-forwarded-client-cert",
      "By=spiffe://cluster.local/ns/shop/sa/waypoint;URI=spiffe://cluster.local/ns/shop/sa/web",
    ]]);
  });

  const forwarded: readonly [value: string | undefined, ip: string][] = [
    [undefined, "10.244.0.7"],
    ["192.0.2.1", "192.0.2.1"],
    ["192.0.2.1, 198.51.100.2", "198.51.100.2"],
    ["192.0.2.1,[2001:db8::1]", "2001:db8::1"],
    ["192.0.2.1, unknown", "10.244.0.7"],
    ["", "10.244.0.7"],
  ];
  for (const [value, ip] of forwarded) {
    test(`X-Forwarded-For ${value ?? "absent"}: the client is at ${ip}`, () => {
      const request = head(value === undefined ? [] : [["x-forwarded-for", value]]);
      expect(prepareRequest(request, options, downstream).remoteIp).toBe(ip);
    });
  }
});

describe("a mirrored request", () => {
  test("says that it is one, and leaves the original alone", () => {
    const original = head([["x-forwarded-for", "192.0.2.1"], ["a", "1"]]);
    const copy = mirroredHead(original, true, "10.244.0.1");
    expect(copy.fields).toEqual([["x-forwarded-for", "192.0.2.1,10.244.0.1"], ["a", "1"], [
      "x-envoy-internal",
      "true",
    ]]);
    expect(copy.authority).toBe("web.shop-shadow:8080");
    expect(original.fields).toEqual([["x-forwarded-for", "192.0.2.1"], ["a", "1"]]);
  });

  test("keeps its host where no suffix is wanted", () => {
    expect(mirroredHead(head([], "web"), false, "10.244.0.1").authority).toBe("web");
    expect(mirroredHead(head([], "web"), true, "10.244.0.1").authority).toBe("web-shadow");
    expect(mirroredHead(head([], "[::1]:80"), true, "10.244.0.1").authority).toBe("[::1]-shadow:80");
  });
});
