import { describe, expect, test } from "bun:test";
import { isGrpcContentType } from "../../src/grpc/mod.ts";
import type { RequestHead } from "../../src/http/mod.ts";
import { localReply } from "../../src/waypoint/local_reply.ts";

const request: RequestHead = {
  method: "GET",
  scheme: "http",
  authority: "web",
  path: "/",
  protocol: "HTTP/1.1",
  fields: [],
  upgrade: undefined,
  expectContinue: false,
  wireBytes: 0,
};

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

describe("replies of our own (spec/waypoint.md §6.1)", () => {
  test("have length and type of their text", () => {
    const [head, body] = localReply({ status: 403, body: "RBAC: access denied", details: "" }, request, false);
    expect(head.status).toBe(403);
    expect(head.fields).toEqual([["content-length", "19"], ["content-type", "text/plain"]]);
    expect(text(body)).toBe("RBAC: access denied");
  });

  test("without a body say so", () => {
    const [head, body] = localReply({ status: 404, body: "", details: "" }, request, false);
    expect(head.fields).toEqual([]); // HTTP/1 says so by itself
    expect(body.length).toBe(0);
  });

  test("to HEAD keep the length and send nothing", () => {
    const head: RequestHead = { ...request, method: "HEAD" };
    const [response, body] = localReply({ status: 503, body: "no healthy upstream", details: "" }, head, false);
    expect(response.fields).toContainEqual(["content-length", "19"]);
    expect(body.length).toBe(0);
  });

  test("carry further fields", () => {
    const fields: [string, string][] = [["x-envoy-overloaded", "true"]];
    const [head] = localReply({ status: 503, body: "x", details: "", fields }, request, false);
    expect(head.fields.at(-1)).toEqual(["x-envoy-overloaded", "true"]);
  });

  const mapping: readonly [status: number, grpc: string][] = [
    [400, "13"],
    [401, "16"],
    [403, "7"],
    [404, "12"],
    [429, "14"],
    [500, "2"],
    [502, "14"],
    [503, "14"],
    [504, "14"],
  ];
  for (const [status, grpc] of mapping) {
    test(`${status} is grpc-status ${grpc} for gRPC`, () => {
      const [head, body] = localReply({ status, body: "why\n100%", details: "" }, request, true);
      expect(head.status).toBe(200);
      expect(head.fields).toEqual([
        ["content-type", "application/grpc"],
        ["grpc-status", grpc],
        ["grpc-message", "why%0A100%25"],
      ]);
      expect(body.length).toBe(0);
    });
  }

  test("a status of gRPC's own goes before the mapping", () => {
    const [head] = localReply({ status: 504, body: "", details: "", grpcStatus: 4 }, request, true);
    expect(head.fields).toContainEqual(["grpc-status", "4"]);
  });

  test("which content types are gRPC's", () => {
    const yes = ["application/grpc", "application/grpc+proto"];
    const no = [
      undefined,
      "",
      "application/grpc;charset=utf-8",
      "application/grpc-web",
      "application/grpcx",
      "application/json",
    ];
    expect(yes.filter(isGrpcContentType)).toEqual(yes);
    expect(no.filter(isGrpcContentType)).toEqual([]);
  });
});
