import { describe, expect, test } from "bun:test";
import { ChainIndex } from "../../src/waypoint/chain_index.ts";
import type { ChainChoice } from "../../src/waypoint/snapshot/mod.ts";

const chain = (name: string): ChainChoice => ({ kind: "chain", chain: name });

const index = new ChainIndex({
  authorities: { "web.shop.svc.cluster.local:80": chain("by-name") },
  destinations: [
    { cidrs: ["10.96.0.1", "fd00::1"], ports: { "80": chain("vip-80"), "443": chain("vip-443") }, any: undefined },
    { cidrs: ["10.96.0.0/16"], ports: { "80": chain("wide") }, any: undefined },
    { cidrs: ["10.96.4.0/22"], ports: { "81": chain("narrow") }, any: undefined },
    { cidrs: ["10.244.0.0/16", "fd01::/64"], ports: {}, any: chain("workloads") },
  ],
});

describe("a chain is chosen by original destination (spec/waypoint.md §1.6)", () => {
  const cases: readonly [authority: string, ip: string | undefined, port: number, chain: string | undefined][] = [
    ["10.96.0.1:80", "10.96.0.1", 80, "vip-80"],
    ["10.96.0.1:443", "10.96.0.1", 443, "vip-443"],
    ["[fd00::1]:80", "fd00::1", 80, "vip-80"],
    // The exact address hides the range around it.
    ["10.96.0.1:81", "10.96.0.1", 81, undefined],
    ["10.96.9.9:80", "10.96.9.9", 80, "wide"],
    // The longest prefix hides shorter ones, although its ports do not have this one.
    ["10.96.5.1:80", "10.96.5.1", 80, undefined],
    ["10.96.7.255:81", "10.96.7.255", 81, "narrow"],
    ["10.96.8.0:81", "10.96.8.0", 81, undefined],
    ["10.244.3.4:12345", "10.244.3.4", 12345, "workloads"],
    ["[fd01::7]:1", "fd01::7", 1, "workloads"],
    ["[fd01:0:0:1::7]:1", "fd01:0:0:1::7", 1, undefined],
    ["192.0.2.1:80", "192.0.2.1", 80, undefined],
    ["web.shop.svc.cluster.local:80", undefined, 80, "by-name"],
    ["WEB.shop.svc.cluster.local:80", undefined, 80, "by-name"],
    ["web.shop.svc.cluster.local:81", undefined, 81, undefined],
  ];
  for (const [authority, ip, port, expected] of cases) {
    test(`${authority} → ${expected ?? "refused"}`, () => {
      const chosen = index.choose(authority, ip === undefined ? undefined : { ip, port });
      expect(chosen).toEqual(expected === undefined ? undefined : chain(expected));
    });
  }
});
