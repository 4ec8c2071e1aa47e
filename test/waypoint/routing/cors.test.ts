import { describe, expect, test } from "bun:test";
import type { HeaderList } from "../../../src/http2/mod.ts";
import { CompiledRoutes, corsPreflight, corsResponseFields } from "../../../src/waypoint/routing/mod.ts";
import type { CorsPolicy } from "../../../src/waypoint/snapshot/mod.ts";
import { configuration, match, prefix, request, route, virtualHost } from "./fixtures.ts";

const POLICY: CorsPolicy = {
  allowOrigins: [{ kind: "exact", value: "https://a.example" }, { kind: "regex", regex: "https://.*\\.b\\.example" }],
  allowMethods: "GET,PUT",
  allowHeaders: "x-a",
  exposeHeaders: "x-e",
  maxAge: "600",
  allowCredentials: true,
  forwardNotMatchingPreflights: false,
};

function compiled(policy: CorsPolicy | undefined) {
  const head = request("/");
  return new CompiledRoutes(configuration([virtualHost([route("r", match(prefix("/")), { cors: policy })])])).choose(
    head,
  )!;
}

function preflight(policy: CorsPolicy | undefined, origin: string, more: HeaderList = [], method = "OPTIONS") {
  const fields: HeaderList = [["origin", origin], ["access-control-request-method", "PUT"], ...more];
  return corsPreflight(compiled(policy), request("/", fields, { method }));
}

const ALLOWED: HeaderList = [
  ["access-control-allow-credentials", "true"],
  ["access-control-allow-methods", "GET,PUT"],
  ["access-control-allow-headers", "x-a"],
  ["access-control-max-age", "600"],
];
const EXPOSED: HeaderList[number] = ["access-control-expose-headers", "x-e"];

describe("preflights", () => {
  test("from an origin that is allowed", () => {
    for (const origin of ["https://a.example", "https://x.b.example"]) {
      expect(preflight(POLICY, origin)).toEqual([["access-control-allow-origin", origin], ...ALLOWED, EXPOSED]);
    }
  });

  test("from another: answered without that origin", () => expect(preflight(POLICY, "https://evil")).toEqual(ALLOWED));

  test("from another, to be forwarded", () => {
    expect(preflight({ ...POLICY, forwardNotMatchingPreflights: true }, "https://evil")).toBeUndefined();
  });

  test("* allows every origin, and what is asked for", () => {
    const any: CorsPolicy = {
      ...POLICY,
      allowOrigins: [{ kind: "exact", value: "*" }],
      allowMethods: "*",
      allowHeaders: "*",
      allowCredentials: false,
      maxAge: "",
    };
    expect(preflight(any, "https://evil", [["access-control-request-headers", "x-b,x-c"]])).toEqual([
      ["access-control-allow-origin", "https://evil"],
      ["access-control-allow-methods", "PUT"],
      ["access-control-allow-headers", "x-b,x-c"],
      EXPOSED,
    ]);
    expect(preflight(any, "https://evil")).toContainEqual(["access-control-allow-headers", ""]);
  });

  test("what is none", () => {
    expect(preflight(undefined, "https://a.example")).toBeUndefined();
    expect(preflight(POLICY, "https://a.example", [], "GET")).toBeUndefined();
    expect(preflight(POLICY, "")).toBeUndefined();
    const plain = request("/", [["origin", "https://a.example"]], { method: "OPTIONS" });
    expect(corsPreflight(compiled(POLICY), plain)).toBeUndefined();
  });
});

describe("responses", () => {
  const cases: [what: string, policy: CorsPolicy | undefined, fields: HeaderList, result: HeaderList | undefined][] = [
    ["allowed", POLICY, [["origin", "https://a.example"]], [
      ["access-control-allow-origin", "https://a.example"],
      ["access-control-allow-credentials", "true"],
      ["access-control-expose-headers", "x-e"],
    ]],
    ["another origin", POLICY, [["origin", "https://evil"]], undefined],
    ["no origin", POLICY, [], undefined],
    ["no policy", undefined, [["origin", "https://a.example"]], undefined],
    [
      "nothing more to say",
      { ...POLICY, allowCredentials: false, exposeHeaders: "" },
      [["origin", "https://a.example"]],
      [["access-control-allow-origin", "https://a.example"]],
    ],
  ];
  for (const [what, policy, fields, result] of cases) {
    test(what, () => expect(corsResponseFields(compiled(policy), request("/", fields))).toEqual(result!));
  }
});
