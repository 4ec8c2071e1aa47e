import { describe, expect, test } from "bun:test";
import type { HeaderList } from "../../../src/http2/mod.ts";
import { hashOf } from "../../../src/waypoint/routing/mod.ts";
import type { HashPolicy } from "../../../src/waypoint/snapshot/mod.ts";
import { request, streamInfo } from "./fixtures.ts";

const USER: HashPolicy = { kind: "header", name: "x-user", terminal: false };
const QUERY: HashPolicy = { kind: "query", name: "user", terminal: false };
const SOURCE: HashPolicy = { kind: "source-ip", terminal: false };
const COOKIE: HashPolicy = {
  kind: "cookie",
  name: "sid",
  ttlMs: undefined,
  path: "",
  attributes: [],
  terminal: false,
};

function hashed(policies: readonly HashPolicy[], fields: HeaderList = [], path = "/") {
  const head = request(path, fields);
  return hashOf(policies, head, streamInfo(head), () => 0.5);
}

const xx = (text: string) => Bun.hash.xxHash64(text);

describe("hash policies", () => {
  const cases: [what: string, policies: HashPolicy[], fields: HeaderList, path: string, hash: bigint | undefined][] = [
    ["none", [], [], "/", undefined],
    ["a header", [USER], [["x-user", "ann"]], "/", xx("ann")],
    ["a header that is not there", [USER], [], "/", undefined],
    ["several values in any order", [USER], [["x-user", "b"], ["x-user", "a"]], "/", xx("a,b")],
    ["the authority", [{ ...USER, name: ":authority" } as HashPolicy], [], "/", xx("web.shop.svc.cluster.local")],
    ["a query parameter", [QUERY], [], "/?user=ann&user=bob", xx("ann")],
    ["the source", [SOURCE], [], "/", xx("10.0.0.7")],
    ["a cookie", [COOKIE], [["cookie", "a=b; sid=7; c=d"]], "/", xx("7")],
    ["a cookie in quotes", [COOKIE], [["cookie", 'sid="7"']], "/", xx("7")],
    ["a cookie among several fields", [COOKIE], [["cookie", "a=b"], ["cookie", "sid=7"]], "/", xx("7")],
    ["another cookie that ends alike", [COOKIE], [["cookie", "xsid=7; sid2=8"]], "/", undefined],
    ["an empty cookie", [COOKIE], [["cookie", "sid="]], "/", undefined],
    ["the next where the first gives none", [USER, SOURCE], [], "/", xx("10.0.0.7")],
    ["a terminal one", [{ ...USER, terminal: true }, SOURCE], [["x-user", "ann"]], "/", xx("ann")],
    ["a terminal one without a hash", [{ ...USER, terminal: true }, SOURCE], [], "/", xx("10.0.0.7")],
  ];
  for (const [what, policies, fields, path, hash] of cases) {
    test(what, () => expect(hashed(policies, fields, path)).toEqual({ hash, setCookie: undefined } as never));
  }

  test("several are mixed, and equal ones do not cancel out", () => {
    const one = xx("ann");
    const turned = BigInt.asUintN(64, one << 1n) | (one >> 63n);
    expect(hashed([USER, USER], [["x-user", "ann"]]).hash).toBe(turned ^ one);
    const { hash } = hashed([USER, QUERY, SOURCE], [["x-user", "ann"]], "/?user=bob");
    expect(hash! >= 0n && hash! < 1n << 64n).toBe(true);
    expect(hashed([QUERY, USER, SOURCE], [["x-user", "ann"]], "/?user=bob").hash).not.toBe(hash);
  });

  const cookies: [Partial<Extract<HashPolicy, { kind: "cookie" }>>, field: string][] = [
    [{ ttlMs: 0 }, 'sid="8000000080000000"; HttpOnly'],
    [{ ttlMs: 90_500, path: "/a" }, 'sid="8000000080000000"; Max-Age=90; Path=/a; HttpOnly'],
    [
      { ttlMs: 0, attributes: [["SameSite", "Strict"], ["Secure", ""]] },
      'sid="8000000080000000"; SameSite=Strict; Secure; HttpOnly',
    ],
  ];
  for (const [more, field] of cookies) {
    test(`a new cookie: ${field}`, () => {
      const { hash, setCookie } = hashed([{ ...COOKIE, ...more } as HashPolicy]);
      expect(setCookie).toBe(field);
      // The client that sends it back stays where it was.
      const again = hashed([{ ...COOKIE, ...more } as HashPolicy], [["cookie", field.slice(0, field.indexOf(";"))]]);
      expect(again).toEqual({ hash: hash!, setCookie: undefined });
    });
  }

  test("no cookie is set where none is wanted", () => {
    expect(hashed([COOKIE])).toEqual({ hash: undefined, setCookie: undefined });
  });
});
