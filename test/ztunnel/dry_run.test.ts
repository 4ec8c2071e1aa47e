import { expect, test } from "bun:test";
import { authorize, type Policy, type PolicyFlow, PolicyIndex } from "../../src/policy/mod.ts";
import { exposition, MetricRegistry } from "../../src/telemetry/mod.ts";
import { DryRunRecorder, type DryRunRoute } from "../../src/ztunnel/dry_run.ts";
import { pod, service } from "../mesh/fixtures.ts";
import { flow, plaintext, policy, policyOf } from "../policy/fixtures.ts";
import { keptLogger } from "../telemetry/lines.ts";

const START = Date.UTC(2026, 0, 1);
const MINUTE = 60_000;

const workload = pod("ledger", "10.0.1.1");
const caller = pod("cart", "10.0.0.1");
const full: DryRunRoute = { workload, source: caller, service: service("ledger", "") };
const bare: DryRunRoute = { workload, source: undefined, service: undefined };

function recorder(policies: readonly Policy[], directives = "info") {
  const { logger, lines } = keptLogger({ directives });
  const registry = new MetricRegistry();
  let now = START;
  const recorder = new DryRunRecorder({ registry, log: logger.scope("state"), now: () => now });
  const index = new PolicyIndex(policies);
  return {
    recorder,
    lines,
    /** One connection. */
    connect(given: PolicyFlow, route: DryRunRoute = full) {
      const verdict = authorize(index.for(workload), given);
      recorder.record(verdict, given, route, new Set());
      return verdict;
    },
    /** One that runs while policies change. */
    running(given: PolicyFlow) {
      const counted = new Set<string>();
      return () => recorder.record(authorize(index.for(workload), given), given, full, counted);
    },
    put: (policy: Policy) => index.put(policy),
    wait(milliseconds: number) {
      now += milliseconds;
    },
    samples: () => [...exposition(registry)].join("").split("\n").filter((line) => line.startsWith("ambient_policy")),
    help: () => [...exposition(registry)].join("").split("\n").find((line) => line.startsWith("# HELP")),
  };
}

const counted = (policy: string, verdict: string, count: number) =>
  `ambient_policy_dry_run_connections_total{policy="${policy}",verdict="${verdict}"} ${count}`;

const tryDeny = policyOf({ destinationPorts: [8080] }, { name: "try", action: "Deny", dryRun: true });
const tryAllow = policyOf({ destinationPorts: [1] }, { name: "only", dryRun: true });
const everything: Policy["rules"] = [[]];

const cases: [name: string, policies: Policy[], samples: string[], flows: number][] = [
  ["no dry run", [policy({ rules: everything })], [], 0],
  ["a DENY that matches", [tryDeny], [counted("shop/try", "denied", 1)], 1],
  ["a DENY that does not", [policyOf({ destinationPorts: [1] }, { action: "Deny", dryRun: true })], [], 0],
  ["a DENY beside an ALLOW that allows", [tryDeny, policy({ rules: everything })], [
    counted("shop/try", "denied", 1),
  ], 1],
  ["a DENY of what is denied already", [tryDeny, policy({ rules: everything, action: "Deny" })], [], 0],
  ["a DENY of what no ALLOW allows", [tryDeny, policy({ rules: [] })], [], 0],
  ["an ALLOW that would be the only one", [tryAllow], [counted("shop/only", "denied", 1)], 1],
  ["two of them", [tryAllow, { ...tryAllow, name: "second" }], [
    counted("shop/only", "denied", 1),
    counted("shop/second", "denied", 1),
  ], 1],
  ["two of them, one allows", [tryAllow, policy({ name: "all", rules: everything, dryRun: true })], [
    counted("shop/all", "allowed", 1),
  ], 0],
  ["an ALLOW where another allows", [tryAllow, policy({ rules: everything })], [], 0],
  ["an ALLOW where none allows", [tryAllow, policy({ rules: [] })], [], 0],
  ["an ALLOW that would let in", [policy({ name: "all", rules: everything, dryRun: true }), policy({ rules: [] })], [
    counted("shop/all", "allowed", 1),
  ], 0],
];

test.each(cases)("%s", (_name, policies, samples, flows) => {
  const one = recorder(policies);
  one.connect(flow());
  expect(one.samples()).toEqual(samples);
  expect(one.recorder.report().flows.length).toBe(flows);
  expect(one.lines().length).toBe(flows);
});

test("a connection that is asked again counts for what is new only", () => {
  const one = recorder([tryDeny]);
  const ask = one.running(flow());
  for (let i = 0; i < 3; i++) ask();
  expect(one.samples()).toEqual([counted("shop/try", "denied", 1)]);
  expect(one.recorder.report().flows.map(({ count }) => count)).toEqual([1]);
  one.put({ ...tryDeny, name: "second" });
  for (let i = 0; i < 3; i++) ask();
  expect(one.samples()).toEqual([counted("shop/try", "denied", 1), counted("shop/second", "denied", 1)]);
  expect(one.recorder.report().flows.map(({ count }) => count)).toEqual([1, 1]);
});

test("the counter says that it is not a stable one", () => {
  const one = recorder([tryDeny]);
  one.connect(flow());
  expect(one.help()).toMatch(/^# HELP ambient_policy_dry_run_connections .*unstable/);
});

test("events carry what would become of the connection", () => {
  const events = (policies: Policy[]) => recorder(policies).connect(flow()).events.map(({ wouldBe }) => wouldBe);
  expect(events([tryDeny])).toEqual(["denied", undefined]);
  expect(events([tryAllow])).toEqual(["denied", undefined]);
  expect(events([tryAllow, policy({ rules: everything })])).toEqual(["allowed", undefined]);
  expect(events([policy({ name: "all", rules: everything, dryRun: true }), policy({ rules: [] })]))
    .toEqual(["allowed", undefined]);
});

test("a flow is told once, then once a minute with its count", () => {
  const one = recorder([tryDeny]);
  const line = (count: number) =>
    'info\tstate\tdry-run: would be denied\tpolicy="shop/try" rule="rules[0][0][0].destinationPorts" src.ip="10.0.0.1" ' +
    'src.workload="shop/cart" src.identity="spiffe://cluster.local/ns/shop/sa/cart" dst.workload="shop/ledger" ' +
    `dst.service="shop/ledger.shop.svc.cluster.local" dst.ip="10.0.1.1" dst.port=8080 count=${count}`;
  one.connect(flow());
  expect(one.lines()).toEqual([line(1)]);
  one.connect(flow());
  one.wait(MINUTE - 1);
  one.connect(flow());
  expect(one.lines()).toEqual([]);
  one.wait(1);
  one.connect(flow());
  expect(one.lines()).toEqual([line(4)]);
});

test("many flows are told at a bounded rate, and those left out when there is room again", () => {
  const one = recorder([tryDeny]);
  const connectAll = () => {
    for (let i = 0; i < 150; i++) one.connect(plaintext({ sourceIp: `10.0.2.${i}` }), bare);
    return one.lines();
  };
  expect(connectAll().length).toBe(100);
  expect(connectAll().length).toBe(0);
  one.wait(MINUTE - 1);
  expect(connectAll().length).toBe(0);
  one.wait(1);
  expect(connectAll().length).toBe(100);
  expect(one.recorder.report().flows.length).toBe(150);
});

test("a scope that is not written costs no line later", () => {
  const one = recorder([tryDeny], "warn");
  one.connect(flow());
  expect(one.lines()).toEqual([]);
  expect(one.recorder.report().flows[0]?.count).toBe(1);
});

test("the report is plain data: counts, and flows with the most recent first", () => {
  const one = recorder([tryDeny, tryAllow]);
  one.connect(flow());
  one.wait(1500);
  one.connect(plaintext({ destinationPort: 9 }), bare);
  one.wait(500);
  one.connect(flow());
  const report = one.recorder.report();
  const read: unknown = JSON.parse(JSON.stringify(report));
  expect(read).toEqual(report);
  expect(report).toEqual({
    connections: [
      { policy: "shop/try", verdict: "denied", count: 2 },
      { policy: "shop/only", verdict: "denied", count: 3 },
    ],
    flows: [
      {
        policies: [{ policy: "shop/try", rule: "rules[0][0][0].destinationPorts", reason: null }],
        morePolicies: 0,
        source: { identity: "spiffe://cluster.local/ns/shop/sa/cart", workload: "shop/cart", ip: "10.0.0.1" },
        destination: {
          workload: "shop/ledger",
          service: "shop/ledger.shop.svc.cluster.local",
          ip: "10.0.1.1",
          port: 8080,
        },
        count: 2,
        first: "2026-01-01T00:00:00.000Z",
        last: "2026-01-01T00:00:02.000Z",
      },
      {
        policies: [{
          policy: "shop/only",
          rule: "rules[0][0][0].destinationPorts",
          reason: "wants destination port 1; the flow has 9",
        }],
        morePolicies: 0,
        source: { identity: null, workload: null, ip: "10.0.0.1" },
        destination: { workload: "shop/ledger", service: null, ip: "10.0.1.1", port: 9 },
        count: 1,
        first: "2026-01-01T00:00:01.500Z",
        last: "2026-01-01T00:00:01.500Z",
      },
    ],
    forgotten: 0,
  });
});

test("flows differ by each of their ends", () => {
  const one = recorder([tryDeny]);
  const flows: [PolicyFlow, DryRunRoute][] = [
    [flow(), full],
    [flow({ sourceIp: "10.0.0.2" }), full],
    [flow({ destinationIp: "10.0.1.2" }), full],
    [plaintext(), full],
    [flow(), { ...full, source: pod("web", "10.0.0.1") }],
    [flow(), { ...full, workload: pod("ledger-2", "10.0.1.1") }],
    [flow(), { ...full, service: undefined }],
  ];
  for (const [given, route] of flows) for (let i = 0; i < 2; i++) one.connect(given, route);
  expect(one.recorder.report().flows.map(({ count }) => count)).toEqual(flows.map(() => 2));
});

test("a thousand flows are kept: the one not seen for longest makes room", () => {
  const one = recorder([tryDeny], "off");
  const ip = (i: number) => `10.1.${i >> 8}.${i & 255}`;
  for (let i = 0; i < 1000; i++) one.connect(plaintext({ sourceIp: ip(i) }), bare);
  one.connect(plaintext({ sourceIp: ip(0) }), bare);
  one.connect(plaintext({ sourceIp: ip(1000) }), bare);
  one.connect(plaintext({ sourceIp: ip(1001) }), bare);
  const { flows, forgotten } = one.recorder.report();
  expect(flows.length).toBe(1000);
  expect(forgotten).toBe(2);
  const kept = new Set(flows.map(({ source }) => source.ip));
  expect([0, 1, 2, 3, 1001].map((i) => kept.has(ip(i)))).toEqual([true, false, false, true, true]);
  expect(one.samples()).toEqual([counted("shop/try", "denied", 1003)]);
});

test("series of the counter are bounded", () => {
  const many = Array.from({ length: 1010 }, (_, i) => ({ ...tryDeny, name: `try${i}` }));
  const one = recorder(many, "off");
  one.connect(flow());
  expect(one.samples().length).toBe(1001);
  expect(one.samples().at(-1)).toBe(counted("other", "denied", 10));
  expect(one.recorder.report().flows[0]?.morePolicies).toBe(1002);
});
