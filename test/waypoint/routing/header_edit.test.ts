import { describe, expect, test } from "bun:test";
import type { HeaderList } from "../../../src/http2/mod.ts";
import { octetsOf } from "../../../src/matching/mod.ts";
import { applyRequestMutations, applyResponseMutations, CompiledRoutes } from "../../../src/waypoint/routing/mod.ts";
import type { HeaderAddition, HeaderMutation } from "../../../src/waypoint/snapshot/mod.ts";
import {
  cluster,
  configuration,
  forward,
  match,
  prefix,
  request,
  response,
  route,
  streamInfo,
  virtualHost,
} from "./fixtures.ts";

function add(name: string, value: string, action: HeaderAddition["action"] = "append"): HeaderMutation {
  return { add: [{ name, value, action }], remove: [] };
}

function edited(mutation: HeaderMutation, fields: HeaderList, more = {}) {
  const routes = new CompiledRoutes(
    configuration([virtualHost([route("r", match(prefix("/")), { requestHeaders: mutation })])]),
  );
  expect(routes.problems).toEqual([]);
  const head = request("/a?b", fields, more);
  applyRequestMutations(head, routes.choose(head)!, undefined, streamInfo(head));
  return head;
}

const CASES: [what: string, HeaderMutation, before: HeaderList, after: HeaderList][] = [
  ["append to nothing", add("x", "1"), [], [["x", "1"]]],
  ["append to a value", add("x", "1"), [["x", "0"], ["y", "2"]], [["x", "0"], ["y", "2"], ["x", "1"]]],
  ["overwrite", add("x", "1", "overwrite"), [["x", "0"], ["y", "2"], ["x", "3"]], [["x", "1"], ["y", "2"]]],
  ["overwrite nothing", add("x", "1", "overwrite"), [], [["x", "1"]]],
  ["if absent", add("x", "1", "if-absent"), [], [["x", "1"]]],
  ["if absent, but it is there", add("x", "1", "if-absent"), [["x", ""]], [["x", ""]]],
  ["remove", { add: [], remove: ["x"] }, [["x", "0"], ["y", "2"], ["x", "3"]], [["y", "2"]]],
  ["removals come first", { ...add("x", "1"), remove: ["x"] }, [["x", "0"]], [["x", "1"]]],
  ["a percent sign is written twice", add("x", "100%%"), [], [["x", "100%"]]],
  ["an operator", add("x", "m=%REQ(:METHOD)%"), [], [["x", "m=GET"]]],
  ["an operator without a value adds nothing", add("x", "%REQ(NOT-THERE)%"), [], []],
  ["nor does it overwrite", add("x", "%REQ(NOT-THERE)%", "overwrite"), [["x", "0"]], [["x", "0"]]],
  ["an empty value adds nothing", add("x", ""), [], []],
  ["text beyond ASCII", add("x", "é"), [], [["x", octetsOf("é")]]],
];

describe("header changes", () => {
  for (const [what, mutation, before, after] of CASES) {
    test(what, () => expect(edited(mutation, before).fields).toEqual(after));
  }

  test("host, authority and path", () => {
    expect(edited(add("host", "other", "overwrite"), []).authority).toBe("other");
    expect(edited(add(":authority", "other"), []).authority).toBe("other");
    expect(edited(add("host", "other", "if-absent"), []).authority).toBe("web.shop.svc.cluster.local");
    expect(edited(add("host", "other", "if-absent"), [], { authority: "" }).authority).toBe("other");
    expect(edited(add(":path", "/c", "overwrite"), []).path).toBe("/c");
  });

  const split = cluster("split", {
    requestHeaders: add("level", "cluster"),
    responseHeaders: { add: [], remove: ["secret"] },
  });
  const other = cluster("other");
  const routes = new CompiledRoutes(configuration(
    [virtualHost([
      route("r", match(prefix("/")), {
        action: forward({ clusters: [split, other] }),
        requestHeaders: add("level", "route"),
        responseHeaders: add("secret", "route"),
      }),
    ], { requestHeaders: add("level", "host"), responseHeaders: add("x-host", "%RESPONSE_CODE%") })],
    { requestHeaders: add("level", "configuration") },
  ));

  test("the most specific level first", () => {
    const head = request("/");
    applyRequestMutations(head, routes.choose(head)!, split, streamInfo(head));
    expect(head.fields.map(([, value]) => value)).toEqual(["cluster", "route", "host", "configuration"]);
    head.fields = [];
    applyRequestMutations(head, routes.choose(head)!, other, streamInfo(head));
    expect(head.fields.map(([, value]) => value)).toEqual(["route", "host", "configuration"]);
  });

  test("responses", () => {
    const head = request("/");
    const info = streamInfo(head);
    info.responseCode = 204;
    const answer = response(204, [["secret", "backend"]]);
    applyResponseMutations(answer, routes.choose(head)!, split, info);
    expect(answer.fields).toEqual([["secret", "route"], ["x-host", "204"]]);
  });

  test("what an operator brings cannot break a message", () => {
    const head = request("/");
    const info = streamInfo(head);
    info.upstreamFailure = "refused\r\nset-cookie: a=b";
    const failing = new CompiledRoutes(configuration([
      virtualHost([route("r", match(prefix("/")), {
        responseHeaders: add("x-failure", "%UPSTREAM_TRANSPORT_FAILURE_REASON%"),
      })]),
    ]));
    const answer = response(503);
    applyResponseMutations(answer, failing.choose(head)!, undefined, info);
    expect(answer.fields.every(([, value]) => !/[\r\n]/.test(value))).toBe(true);
  });
});
