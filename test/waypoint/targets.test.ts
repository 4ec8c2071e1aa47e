import { describe, expect, test } from "bun:test";
import { ClusterSet } from "../../src/waypoint/cluster/mod.ts";
import type { Cluster, ClusterEndpoint } from "../../src/waypoint/snapshot/mod.ts";
import { poolLimits, reviewPools, Targets } from "../../src/waypoint/targets.ts";
import type { PoolLimits, StreamTarget } from "../../src/waypoint/upstream/mod.ts";
import { cluster, WEB } from "./harness.ts";

const ADDRESS = "10.244.0.1:8080";
const TLS: NonNullable<Cluster["tls"]> = {
  sni: "web.test",
  autoSni: false,
  subjectAltNames: [],
  roots: "PEM",
  certificate: undefined,
  alpn: [],
};
const FLOW = {
  authority: "Shop.test:8443",
  source: { ip: "10.0.0.1", port: 4000 },
  destination: { ip: "10.96.0.1", port: 80 },
};

function targets(...own: string[]): Targets {
  return new Targets({ trustDomainPrefix: "spiffe://td/", ownAddresses: new Set(own) });
}

/** A cluster over its configurations, and how its one host is reached. */
function reached(first: Partial<Cluster>, known = targets()) {
  const set = new ClusterSet();
  const of = (more: Partial<Cluster>, flow = FLOW): StreamTarget => {
    set.update({ [WEB]: structuredClone(cluster([ADDRESS], more)) });
    const balanced = set.get(WEB)!;
    return known.of(balanced.cluster, balanced.pick({})!, flow)!;
  };
  return { first: of(first), then: of };
}

/** Its one endpoint, changed. */
function endpoint(more: Partial<ClusterEndpoint>): Partial<Cluster> {
  const [locality] = cluster([ADDRESS]).localities;
  return { localities: [{ ...locality!, endpoints: [{ ...locality!.endpoints[0]!, ...more }] }] };
}

describe("the target of a host", () => {
  test("is one object for as long as it is reached in the same way", () => {
    const { first, then } = reached({ tls: TLS });
    expect(then({ tls: TLS })).toBe(first);
    expect(then({ tls: TLS, loadBalancing: { kind: "random" } })).toBe(first);
    expect(then({ tls: TLS, ...endpoint({ weight: 7 }) })).toBe(first);
  });

  const changes: [string, Partial<Cluster>][] = [
    ["TLS", { tls: undefined }],
    ["roots", { tls: { ...TLS, roots: "OTHER" } }],
    ["no verification", { tls: { ...TLS, roots: undefined } }],
    ["names", { tls: { ...TLS, subjectAltNames: ["b.test"] } }],
    ["SNI", { tls: { ...TLS, sni: "b.test" } }],
    ["connect timeout", { tls: TLS, connectTimeoutMs: 1 }],
    ["keep-alive", { tls: TLS, keepalive: { timeMs: 1, intervalMs: 1, probes: 1 } }],
    ["identity", { tls: TLS, ...endpoint({ expectedIdentities: ["spiffe://td/ns/a/sa/b"] }) }],
  ];
  test.each(changes)("is another one after a change of %s", (_, change) => {
    const { first, then } = reached({ tls: TLS });
    const next = then(change);
    expect(next).not.toEqual(first);
    expect(next.key).toBe(first.key);
  });

  test("automatic SNI: one for each name, of one basis", () => {
    const { first, then } = reached({ tls: { ...TLS, sni: undefined, autoSni: true } });
    const same = then({ tls: { ...TLS, sni: undefined, autoSni: true } });
    expect([first.tls?.sni, same.key, same.basis]).toEqual(["Shop.test", first.key, first.basis!]);
    expect(same.basis).toBe(first.basis!);
    const other = then({ tls: { ...TLS, sni: undefined, autoSni: true } }, { ...FLOW, authority: "[::1]:80" });
    expect([other.tls?.sni, other.basis === first.basis, other.key === first.key]).toEqual(["[::1]", true, false]);
    const stricter = then({ tls: { ...TLS, sni: undefined, autoSni: true, subjectAltNames: ["a"] } });
    expect([stricter.key, stricter.basis === first.basis]).toEqual([first.key, false]);
    expect(then({ tls: { ...TLS, sni: "Shop.test" } }).basis).toBeUndefined();
  });

  test("PROXY header: one for each pair of addresses and each version", () => {
    const { first, then } = reached({ proxyProtocol: "V1" });
    expect(first.proxyProtocol).toEqual({ version: "V1", source: FLOW.source, destination: FLOW.destination });
    expect(then({ proxyProtocol: "V1" })).toEqual(first);
    const elsewhere = then({ proxyProtocol: "V1" }, { ...FLOW, destination: { ip: "10.96.0.2", port: 80 } });
    expect(elsewhere.key).not.toBe(first.key);
    const second = then({ proxyProtocol: "V2" });
    expect([second.proxyProtocol?.version, second.basis === first.basis]).toEqual(["V2", false]);
    expect(Bun.deepEquals(second.basis, first.basis)).toBe(false);
  });

  test("an endpoint of the mesh without a known identity: any of the trust domain; never our own address", () => {
    expect(reached({}).first.expectedIdentities).toEqual(["spiffe://td/"]);
    const set = new ClusterSet();
    set.update({ [WEB]: cluster([ADDRESS]) });
    const balanced = set.get(WEB)!;
    expect(targets("10.244.0.1").of(balanced.cluster, balanced.pick({})!, FLOW)).toBeUndefined();
  });
});

test("limits are one object for each cluster", () => {
  const one = cluster([ADDRESS], { maxRequestsPerConnection: 3 });
  expect(poolLimits(one)).toBe(poolLimits(one));
  expect(poolLimits(one).maxRequestsPerConnection).toBe(3);
});

test("a cluster that changes has its pools reviewed; one that is applied again has not", () => {
  const reviewed: [string, StreamTarget, PoolLimits][] = [];
  const drained: (string | undefined)[] = [];
  const known = targets("10.244.0.2");
  const pools = {
    pool: () => {
      throw new Error("nobody asks");
    },
    stats: () => ({ connections: 0, pending: 0, active: 0 }),
    review: (...args: [string, StreamTarget, PoolLimits]) => void reviewed.push(args),
    drain: (_: string, key?: string) => void drained.push(key),
    close() {},
  };
  const set = new ClusterSet({ clusterChanged: (balanced) => reviewPools(balanced, known, pools) });
  const addresses = [ADDRESS, "10.244.0.2:8080"];
  set.update({ [WEB]: cluster(addresses) });
  set.update({ [WEB]: cluster(addresses) });
  expect(reviewed).toEqual([]);
  set.update({ [WEB]: cluster(addresses, { tls: TLS, maxRequestsPerConnection: 9 }) });
  expect(reviewed.map(([name, basis, limits]) => [name, basis.tls?.sni, limits.maxRequestsPerConnection])).toEqual([
    [WEB, "web.test", 9],
  ]);
  expect(drained).toEqual(["hbone|10.244.0.2:8080"]);
});
