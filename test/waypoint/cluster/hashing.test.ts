/** RING_HASH and MAGLEV: shares, consistency, what moves when hosts come and go. */
import { expect, test } from "bun:test";
import { hashPosition, nextPosition, POSITIONS } from "../../../src/waypoint/cluster/hash.ts";
import { pointsPerHost } from "../../../src/waypoint/cluster/ring_hash.ts";
import { LoadBalancedCluster } from "../../../src/waypoint/cluster/mod.ts";
import type { ClusterEndpoint, LoadBalancing } from "../../../src/waypoint/snapshot/mod.ts";
import { cluster, locality, partly, seeded, tally, weighted } from "./fixtures.ts";

const RING: LoadBalancing = { kind: "ring-hash", minimumSize: 1024, maximumSize: 8_388_608 };
const BIG_RING: LoadBalancing = { kind: "ring-hash", minimumSize: 20_000, maximumSize: 8_388_608 };
const MAGLEV: LoadBalancing = { kind: "maglev", tableSize: 65_537 };
const KEYS = 20_000;

const hashes = Array.from({ length: KEYS }, (_, i) => Bun.hash.xxHash64(`user-${i}`));

function balance(endpoints: readonly ClusterEndpoint[], loadBalancing: LoadBalancing): LoadBalancedCluster {
  return new LoadBalancedCluster(cluster([locality(endpoints)], { loadBalancing }), { random: seeded(1) });
}

function owners(balanced: LoadBalancedCluster): string[] {
  return hashes.map((hash) => balanced.pick({ hash })!.endpoint.address);
}

const equal = weighted(new Array<number>(10).fill(1));

test.each([["ring", BIG_RING, 0.2], ["maglev", MAGLEV, 0.1]])(
  "%s: each host has about its share, weighted or not",
  (_name, policy, tolerance) => {
    for (const endpoints of [equal, weighted([1, 2, 3, 4])]) {
      const counts = tally(balance(endpoints, policy), KEYS, (i) => ({ hash: hashes[i] }));
      const total = endpoints.reduce((sum, { weight }) => sum + weight, 0);
      for (const { address, weight } of endpoints) {
        const expected = (KEYS * weight) / total;
        expect(Math.abs((counts.get(address) ?? 0) - expected) / expected).toBeLessThan(tolerance);
      }
    }
  },
);

test.each([["ring", RING], ["maglev", MAGLEV]])(
  "%s: the same hash, the same host, whatever the order",
  (_name, policy) => {
    const before = owners(balance(equal, policy));
    expect(owners(balance([...equal].reverse(), policy)).filter((owner, i) => owner !== before[i]).length)
      .toBeLessThanOrEqual(policy.kind === "maglev" ? KEYS * 0.02 : 0);
    const again = balance(equal, policy);
    expect(owners(again)).toEqual(before);
    again.update(again.cluster);
    expect(owners(again)).toEqual(before);
  },
);

test("ring: when a host goes, only its keys move, and to several others", () => {
  const before = owners(balance(equal, RING));
  const gone = equal[3]!.address;
  const after = owners(balance(equal.filter(({ address }) => address !== gone), RING));
  const heirs = new Set<string>();
  for (const [i, owner] of before.entries()) {
    if (owner === gone) heirs.add(after[i]!);
    else expect(after[i]).toBe(owner);
  }
  expect(heirs.size).toBeGreaterThan(5);
});

test("ring: a host that comes takes keys, and none moves between the others", () => {
  const before = owners(balance(equal, RING));
  const more = weighted(new Array<number>(11).fill(1));
  const after = owners(balance(more, RING));
  const added = more[10]!.address;
  let taken = 0;
  for (const [i, owner] of after.entries()) {
    if (owner === added) taken++;
    else expect(owner).toBe(before[i]!);
  }
  expect(taken / KEYS).toBeGreaterThan(0.05);
  expect(taken / KEYS).toBeLessThan(0.14);
});

test("maglev: when a host goes, few keys of the others move", () => {
  const before = owners(balance(equal, MAGLEV));
  const gone = equal[3]!.address;
  const after = owners(balance(equal.filter(({ address }) => address !== gone), MAGLEV));
  const moved = before.filter((owner, i) => owner !== gone && after[i] !== owner).length;
  expect(moved / KEYS).toBeLessThan(0.05);
});

test.each([
  [[1, 1], 1024, 8_388_608, [512, 512]],
  [[1, 1, 1], 1024, 8_388_608, [512, 512, 512]],
  [[1, 1, 1, 1, 1], 1024, 8_388_608, [256, 256, 256, 256, 256]],
  [[1, 3], 1024, 8_388_608, [256, 768]],
  // The lightest has one point, all others in proportion.
  [[1, 9999], 1024, 8_388_608, [1, 9999]],
  [[1, 9999], 1024, 1000, [1, 999]],
  [[1, 1], 2, 2, [1, 1]],
  [[1], 1, 8_388_608, [1]],
])("ring: points of weights %j, size %i to %i → %j", (weights, minimum, maximum, expected) => {
  expect(pointsPerHost(weights, minimum, maximum)).toEqual(expected);
});

test("a ring with more hosts than the maximum still serves", () => {
  const balanced = balance(equal, { kind: "ring-hash", minimumSize: 1, maximumSize: 4 });
  for (const owner of owners(balanced)) expect(owner).not.toBe("none");
});

test.each([["ring", RING], ["maglev", MAGLEV]])("%s: without a hash hosts are drawn at random", (_name, policy) => {
  const counts = tally(balance(weighted([1, 1, 1]), policy), 3000);
  for (const { address } of weighted([1, 1, 1])) expect(counts.get(address)).toBeGreaterThan(700);
});

test.each([["ring", RING], ["maglev", MAGLEV]])(
  "%s: a retry with the same hash finds another host",
  (_name, policy) => {
    const balanced = balance(equal, policy);
    for (const hash of hashes.slice(0, 500)) {
      const first = balanced.pick({ hash })!;
      const second = balanced.pick({ hash, excluded: new Set([first]) })!;
      expect(second).not.toBe(first);
    }
  },
);

test("hashes choose the priority, too: the same one for the same hash", () => {
  const balanced = new LoadBalancedCluster(cluster([partly(5, 10, 0), partly(10, 10, 1)], { loadBalancing: RING }), {
    random: seeded(1),
  });
  const priorities = new Map(hashes.map((hash) => [hash, balanced.pick({ hash })!.priority]));
  const second = [...priorities.values()].filter((priority) => priority === 1).length;
  expect(Math.abs(second / KEYS - 0.3)).toBeLessThan(0.02);
  for (const [hash, priority] of priorities) expect(balanced.pick({ hash })!.priority).toBe(priority);
});

test.each([["ring", BIG_RING], ["maglev", MAGLEV]])(
  "%s: weights of localities are divided among their hosts",
  (_name, policy) => {
    const near = weighted([1, 1], 0, 1);
    const far = weighted([1, 1, 1, 1], 0, 2);
    const balanced = new LoadBalancedCluster(
      cluster([locality(near, { weight: 3, zone: "a" }), locality(far, { weight: 1, zone: "b" })], {
        loadBalancing: policy,
        localityWeighted: true,
      }),
      { random: seeded(1) },
    );
    const counts = tally(balanced, KEYS, (i) => ({ hash: hashes[i] }));
    const sum = near.reduce((total, { address }) => total + (counts.get(address) ?? 0), 0);
    expect(Math.abs(sum / KEYS - 0.75)).toBeLessThan(0.05);
  },
);

test("positions: bigints keep their order, numbers spread, tries differ", () => {
  expect(hashPosition(0n)).toBe(0);
  expect(hashPosition(0xffff_ffff_ffff_ffffn)).toBe(POSITIONS - 1);
  expect(hashPosition(1n << 64n)).toBe(0);
  const random = seeded(9);
  const buckets = new Array<number>(16).fill(0);
  for (let i = 0; i < 16_000; i++) {
    const position = hashPosition(i);
    expect(Number.isInteger(position) && position >= 0 && position < POSITIONS).toBe(true);
    const bucket = Math.floor((position / POSITIONS) * 16);
    buckets[bucket] = buckets[bucket]! + 1;
  }
  for (const count of buckets) expect(Math.abs(count - 1000)).toBeLessThan(150);
  const position = Math.floor(random() * POSITIONS);
  expect(nextPosition(position, 0)).toBe(position);
  expect(new Set([0, 1, 2, 3, 4].map((attempt) => nextPosition(position, attempt))).size).toBe(5);
});
