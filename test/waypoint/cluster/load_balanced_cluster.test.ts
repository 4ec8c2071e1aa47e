/** A cluster as a whole: health, priorities, localities, retries, updates, original destinations. */
import { expect, test } from "bun:test";
import { type ClusterOptions, type HostState, LoadBalancedCluster } from "../../../src/waypoint/cluster/mod.ts";
import type { Cluster, LoadBalancing } from "../../../src/waypoint/snapshot/mod.ts";
import { cluster, endpoint, host, locality, partly, seeded, tally, weighted } from "./fixtures.ts";

function balance(given: Cluster, options: ClusterOptions = {}): LoadBalancedCluster {
  return new LoadBalancedCluster(given, { random: seeded(1), ...options });
}

const POLICIES: LoadBalancing[] = [
  { kind: "least-request", choices: 2 },
  { kind: "round-robin" },
  { kind: "random" },
  { kind: "ring-hash", minimumSize: 1024, maximumSize: 8_388_608 },
  { kind: "maglev", tableSize: 251 },
];

test.each(POLICIES)("$kind: only healthy endpoints are chosen", (loadBalancing) => {
  const [good, ill, leaving] = weighted([1, 1, 1]);
  const endpoints = [good!, { ...ill!, health: "unhealthy" as const }, { ...leaving!, health: "draining" as const }];
  expect([...tally(balance(cluster([locality(endpoints)], { loadBalancing })), 200)]).toEqual([["10.0.0.1:80", 200]]);
});

test.each(POLICIES)("$kind: nothing usable is no healthy upstream", (loadBalancing) => {
  expect(balance(cluster([], { loadBalancing })).pick({})).toBeUndefined();
  expect(balance(cluster([locality([])], { loadBalancing })).pick({ hash: 1n })).toBeUndefined();
  expect(balance(cluster([partly(0, 3, 0)], { loadBalancing })).pick({})).toBeUndefined();
  const excluded = new Set<HostState>();
  expect(balance(cluster([partly(0, 3, 0)], { loadBalancing })).pick({ excluded })).toBeUndefined();
});

test("panic: below the threshold all are used, from it on the healthy ones", () => {
  expect(tally(balance(cluster([partly(1, 3, 0)], { panicPercent: 50 })), 300).size).toBe(3);
  expect(tally(balance(cluster([partly(0, 3, 0)], { panicPercent: 1 })), 300).size).toBe(3);
  expect(tally(balance(cluster([partly(2, 3, 0)], { panicPercent: 50 })), 300).size).toBe(2);
});

test("priorities: requests spill as far as the healthy ones cannot bear them", () => {
  const balanced = balance(cluster([partly(1, 2, 0), partly(4, 4, 1)]));
  let second = 0;
  for (let i = 0; i < 10_000; i++) if (balanced.pick({})!.priority === 1) second++;
  expect(Math.abs(second - 3000)).toBeLessThan(200);
});

test("priorities need neither order nor be without gaps", () => {
  const balanced = balance(cluster([partly(1, 1, 7), partly(0, 1, 2)]));
  expect(balanced.pick({})).toMatchObject({ priority: 7, endpoint: { address: "10.7.0.1:80" } });
});

test("localities: by weight, less what their health costs them", () => {
  const near = weighted([1, 1], 0, 1);
  const far = weighted([1, 1, 1, 1], 0, 2);
  const shares = (farHealthy: number) => {
    const partlyIll = far.map((one, i) => i < farHealthy ? one : { ...one, health: "unhealthy" as const });
    const balanced = balance(cluster(
      [locality(near, { weight: 50, zone: "a" }), locality(partlyIll, { weight: 50, zone: "b" })],
      { localityWeighted: true },
    ));
    let inNear = 0;
    for (let i = 0; i < 10_000; i++) if (balanced.pick({})!.locality.zone === "a") inNear++;
    return inNear / 10_000;
  };
  expect(shares(4)).toBeCloseTo(0.5, 1);
  expect(shares(3)).toBeCloseTo(0.5, 1); // 140 % of 3/4 is more than enough
  expect(shares(1)).toBeCloseTo(1 / 1.35, 1);
  expect(shares(0)).toBe(1);
});

test("localities without a weight get nothing where others have one; none is weighted: all hosts alike", () => {
  const localities = [locality(weighted([1], 0, 1), { weight: 1 }), locality(weighted([1, 1, 1], 0, 2))];
  expect(tally(balance(cluster(localities, { localityWeighted: true })), 100).size).toBe(1);
  const unweighted = localities.map((one) => ({ ...one, weight: undefined }));
  expect(tally(balance(cluster(unweighted, { localityWeighted: true })), 400)).toEqual(
    new Map([["10.0.1.1:80", 100], ["10.0.2.1:80", 100], ["10.0.2.2:80", 100], ["10.0.2.3:80", 100]]
      .map(([address, count]) => [address as string, count as number] as const)),
  );
});

test.each(POLICIES)("$kind: a retry goes to a host that was not tried while there is one", (loadBalancing) => {
  for (const weights of [[1, 1, 1, 1], [1, 1, 1, 1000]]) {
    const balanced = balance(cluster([locality(weighted(weights))], { loadBalancing }));
    for (let i = 0; i < 100; i++) {
      const excluded = new Set<HostState>();
      for (let attempt = 0; attempt < 4; attempt++) {
        const chosen = balanced.pick({ excluded, hash: BigInt(i) * 0x9e3779b97f4a7c15n })!;
        expect(excluded.has(chosen)).toBe(false);
        excluded.add(chosen);
      }
      expect(excluded.has(balanced.pick({ excluded })!)).toBe(true);
    }
  }
});

test("without attempts at finding another host any will do", () => {
  const balanced = balance(cluster([locality(weighted([1]))]));
  const only = balanced.pick({})!;
  expect(balanced.pick({ excluded: new Set([only]), otherHostAttempts: 0 })).toBe(only);
  const two = balance(cluster([locality(weighted([1, 1]))], { loadBalancing: { kind: "random" } }));
  const excluded = new Set([host(two, "10.0.0.1:80")]);
  let again = 0;
  for (let i = 0; i < 1000; i++) if (excluded.has(two.pick({ excluded, otherHostAttempts: 0 })!)) again++;
  expect(again).toBeGreaterThan(400);
});

test("a retry that should change priorities does; then it begins anew", () => {
  const balanced = balance(cluster([partly(2, 2, 0), partly(2, 2, 1)]));
  expect(balanced.pick({})!.priority).toBe(0);
  for (let i = 0; i < 100; i++) {
    expect(balanced.pick({ triedPriorities: new Set([0]) })!.priority).toBe(1);
    expect(balanced.pick({ triedPriorities: new Set([0, 1]) })!.priority).toBe(0);
  }
});

test("an update keeps the state of endpoints that stay and tells of those that go", () => {
  const removed: string[] = [];
  const [a, b, c] = weighted([1, 1, 1]);
  const balanced = balance(cluster([locality([a!, b!])]), { hostRemoved: ({ key }) => removed.push(key) });
  const stays = host(balanced, a!.address);
  const goes = host(balanced, b!.address);
  stays.activeRequests = 3;
  const workload = { name: "n", namespace: "s", canonicalName: "n", canonicalRevision: "v2", cluster: "k" };
  balanced.update(cluster([locality([c!, { ...a!, weight: 5, workload }], { priority: 2, zone: "z" })]));
  expect(host(balanced, a!.address)).toBe(stays);
  expect(stays).toMatchObject({
    activeRequests: 3,
    priority: 2,
    removed: false,
    locality: { zone: "z" },
    endpoint: { weight: 5, workload },
  });
  expect(goes.removed).toBe(true);
  expect(removed).toEqual(["hbone|10.0.0.2:80"]);
  expect([...balanced.hosts()].map(({ endpoint }) => endpoint.address).sort()).toEqual(["10.0.0.1:80", "10.0.0.3:80"]);
  // One that comes back is a new host.
  balanced.update(cluster([locality([a!, b!])]));
  expect(host(balanced, b!.address)).not.toBe(goes);
});

test("kind, tunnel and inner authority tell endpoints of the same address apart; doubles count once", () => {
  const address = "10.0.0.1:80";
  const endpoints = [
    endpoint(address),
    endpoint(address, { kind: "tcp" }),
    endpoint(address, { tunnel: "10.9.0.1:15008" }),
    endpoint(address, { kind: "double-hbone", tunnel: "10.9.0.1:15008", innerAuthority: "web.shop:80" }),
    endpoint(address),
  ];
  expect(new Set([...balance(cluster([locality(endpoints)])).hosts()].map(({ key }) => key)).size).toBe(4);
  expect([...balance(cluster([locality(endpoints)])).hosts()]).toHaveLength(4);
});

test("random updates: hosts are those of the last one, with the state they had", () => {
  const random = seeded(77);
  const balanced = balance(cluster([]));
  let known = new Map<string, HostState>();
  for (let round = 0; round < 300; round++) {
    const localities = [0, 1].map((priority) =>
      locality(
        Array.from({ length: 8 }, (_, i) => endpoint(`10.${priority}.0.${i}:80`, { weight: 1 + (i % 3) }))
          .filter(() => random() < 0.6),
        { priority },
      )
    );
    balanced.update(cluster(localities, { loadBalancing: POLICIES[round % POLICIES.length]! }));
    const expected = localities.flatMap(({ endpoints }) => endpoints.map(({ address }) => `hbone|${address}`));
    const now = new Map([...balanced.hosts()].map((one) => [one.key, one]));
    expect([...now.keys()].sort()).toEqual(expected.sort());
    for (const [key, one] of now) {
      if (known.has(key)) expect(one).toBe(known.get(key)!);
      else expect(one.activeRequests).toBe(0);
      one.activeRequests++;
    }
    for (const [key, one] of known) expect(one.removed).toBe(!now.has(key));
    const chosen = balanced.pick({ hash: BigInt(round) });
    if (expected.length === 0) expect(chosen).toBeUndefined();
    else expect(now.get(chosen!.key)).toBe(chosen!);
    known = now;
  }
});

const originalDestination = { ip: "10.0.0.9", port: 8080 };

test.each([[true, "hbone"], [false, "tcp"]])(
  "original destination, hbone %p: the upstream is where the client went",
  (hbone, kind) => {
    const balanced = balance(cluster([], { discovery: { kind: "original-destination", hbone } }));
    const chosen = balanced.pick({ originalDestination })!;
    expect(chosen).toMatchObject({ key: `${kind}|10.0.0.9:8080`, endpoint: { kind, address: "10.0.0.9:8080" } });
    expect(balanced.pick({ originalDestination: { ...originalDestination } })).toBe(chosen);
    expect(balanced.pick({ originalDestination: { ip: "fd00::1", port: 80 } })!.endpoint.address).toBe("[fd00::1]:80");
    expect(balanced.pick({})).toBeUndefined();
  },
);

test("original destination: what is known of a listed endpoint counts", () => {
  const listed = endpoint("10.0.0.9:8080", { kind: "tcp", expectedIdentities: ["spiffe://td/ns/a/sa/b"] });
  const balanced = balance(
    cluster([locality([listed])], { discovery: { kind: "original-destination", hbone: true } }),
  );
  expect(balanced.pick({ originalDestination })!.endpoint).toBe(listed);
});

test("original destination: hosts without requests are forgotten, and there are never too many", () => {
  let now = 0;
  const removed: string[] = [];
  const balanced = balance(cluster([], { discovery: { kind: "original-destination", hbone: true } }), {
    now: () => now,
    hostRemoved: ({ key }) => removed.push(key),
  });
  const at = (n: number) =>
    balanced.pick({ originalDestination: { ip: `10.${n >> 16}.${(n >> 8) & 255}.${n & 255}`, port: 1 } })!;
  const busy = at(1);
  busy.activeRequests = 1;
  const idle = at(2);
  now = 60_000;
  at(3);
  expect(removed).toEqual([idle.key]);
  expect(idle.removed).toBe(true);
  expect(at(1)).toBe(busy);
  for (let n = 10; n < 10_000; n++) at(n);
  expect([...balanced.hosts()].length).toBeLessThanOrEqual(4096);
  expect(at(1)).toBe(busy);
});

test("a closed cluster lets all its hosts go", () => {
  const removed: string[] = [];
  const balanced = balance(cluster([locality(weighted([1, 1]))]), { hostRemoved: ({ key }) => removed.push(key) });
  balanced.close();
  expect(removed).toHaveLength(2);
  expect(balanced.pick({})).toBeUndefined();
});
