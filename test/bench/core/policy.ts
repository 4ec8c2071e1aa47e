/**
 * What policies cost a connection, and what a change costs, by how many there are and whether they select it.
 *
 *     bun test/bench/core/policy.ts [policies]
 *
 * Ten rules each. Memory is that of the whole process: measured in a child that does nothing else.
 */
import process from "node:process";
import { fileURLToPath } from "node:url";
import {
  authorize,
  type Match,
  newMatch,
  type Policy,
  type PolicyFlow,
  PolicyIndex,
  type PolicyScope,
} from "../../../src/policy/mod.ts";

const RULES = 10;
const MEMORY = "--memory";

/** Kinds of policies, by what their rules ask; none matches the flow. */
const SHAPES = {
  "exact principals and ports": (i) => [
    { principals: [{ kind: "exact", value: `cluster.local/ns/team-${i % 97}/sa/application-${i}` }] },
    { destinationPorts: [8080] },
  ],
  "exact namespaces and ports": (i) => [
    { namespaces: [{ kind: "exact", value: `team-${i}` }] },
    { destinationPorts: [8080] },
  ],
  "ports": (i) => [{ destinationPorts: [10_000 + i % 50_000] }],
  "principals by prefix": (i) => [{ principals: [{ kind: "prefix", value: `cluster.local/ns/team-${i}/` }] }],
  "source ranges of IPv4": (i) => [{ sourceIps: [`10.${i >>> 8 & 255}.${i & 255}.0/24`] }],
  "source ranges of IPv6": (i) => [{ sourceIps: [`fd00:${(i & 0xffff).toString(16)}::/64`] }],
  "negations only, which no look-up finds": () => [{ notNamespaces: [{ kind: "exact", value: "shop" }] }],
} satisfies Record<string, (i: number) => Partial<Match>[]>;
type Shape = keyof typeof SHAPES;

const FLOW: PolicyFlow = {
  sourceIp: "192.168.0.1",
  destinationIp: "192.168.0.2",
  destinationPort: 8080,
  identity: { trustDomain: "cluster.local", namespace: "shop", serviceAccount: "cart" },
};
const FLOW_V6: PolicyFlow = { ...FLOW, sourceIp: "fd01::1", destinationIp: "fd01::2" };

function policyOf(number: number, shape: Shape, scope: PolicyScope, namespace: string): Policy {
  const rules = Array.from(
    { length: RULES },
    (_, rule) => SHAPES[shape](number * RULES + rule).map((match) => [newMatch(match)]),
  );
  return { namespace, name: `policy-${number}`, scope, action: "Deny", dryRun: false, rules };
}

function indexOf(count: number, shape: Shape, scope: PolicyScope, namespace: string): PolicyIndex {
  const index = new PolicyIndex();
  for (let i = 0; i < count; i++) index.put(policyOf(i, shape, scope, namespace));
  return index;
}

/** Median and 99th percentile of single runs, µs. */
interface Times {
  readonly median: number;
  readonly p99: number;
}

function time(run: () => void, runs: number): Times {
  for (let i = 0; i < Math.min(runs, 200); i++) run();
  const samples = Float64Array.from({ length: runs }, () => {
    const start = performance.now();
    run();
    return (performance.now() - start) * 1000;
  }).sort();
  return { median: samples[runs >> 1]!, p99: samples[Math.floor(runs * 0.99)]! };
}

export interface PolicyFigures {
  readonly policies: number;
  /** A connection that no policy selects: the set looked up and asked, µs. */
  readonly unselected: readonly ({ readonly what: string } & Times)[];
  /** A connection that all select and none denies, µs. */
  readonly selected: readonly ({ readonly what: string } & Times)[];
  /** The same among a hundredth of the policies, and all of them: one policy replaced, and the next connection, µs. */
  readonly changes: readonly ({ readonly policies: number } & Times)[];
  /** All of them put, ms. */
  readonly load: number;
  /** Of a process that holds them, bytes above one that holds none. */
  readonly memory: number;
}

/** @param policies how many, with ten rules each */
export function measurePolicies(policies = 10_000): PolicyFigures {
  const target = { namespace: "shop", authorizationPolicies: [] as string[] };
  const connection = (index: PolicyIndex, flow: PolicyFlow) => () => {
    if (!authorize(index.for(target), flow).allowed) throw new Error("bench: a policy denies");
  };
  const shape: Shape = "exact namespaces and ports";

  const unselected = ([["Namespace", "of another namespace"], ["WorkloadSelector", "with a selector"]] as const)
    .map(([scope, what]) => ({
      what,
      ...time(connection(indexOf(policies, shape, scope, "elsewhere"), FLOW), 20_000),
    }));

  const selected = (Object.keys(SHAPES) as Shape[]).map((what) => {
    const index = indexOf(policies, what, "Global", "istio-system");
    return { what, ...time(connection(index, what === "source ranges of IPv6" ? FLOW_V6 : FLOW), 200) };
  });

  const changes = [Math.ceil(policies / 100), policies].map((count) => {
    const index = indexOf(count, shape, "Global", "istio-system");
    let next = 0;
    const ask = connection(index, FLOW);
    const change = () => {
      index.put(policyOf(next++ % count, shape, "Global", "istio-system"));
      ask();
    };
    return { policies: count, ...time(change, 2_000) };
  });

  const started = performance.now();
  indexOf(policies, shape, "Global", "istio-system");
  const load = performance.now() - started;
  return { policies, unselected, selected, changes, load, memory: memoryWith(policies) - memoryWith(0) };
}

function memoryWith(policies: number): number {
  const child = Bun.spawnSync([process.execPath, fileURLToPath(import.meta.url), MEMORY, String(policies)]);
  const bytes = Number(child.stdout.toString());
  if (!child.success || !(bytes > 0)) throw new Error(`bench: no figure from the child: ${child.stderr.toString()}`);
  return bytes;
}

function printMemory(policies: number): void {
  const index = indexOf(policies, "exact namespaces and ports", "Global", "istio-system");
  Bun.gc(true);
  console.log(process.memoryUsage().rss);
  if (index.size !== policies) throw new Error("bench: policies are missing");
}

function print(figures: PolicyFigures): void {
  const { policies, unselected, selected, changes, load, memory } = figures;
  const line = (what: string, { median, p99 }: Times) =>
    console.log(`  ${what.padEnd(44)} ${median.toFixed(2).padStart(9)} µs  p99 ${p99.toFixed(2).padStart(9)} µs`);
  console.log(`${policies} policies, ${RULES} rules each; cost for one connection that`);
  for (const { what, ...times } of unselected) line(`none selects, ${what}`, times);
  for (const { what, ...times } of selected) line(`all select, none matches: ${what}`, times);
  for (const { policies: among, ...times } of changes) line(`follows one change among ${among}`, times);
  console.log(`loaded in ${load.toFixed(0)} ms, ${(memory / 2 ** 20).toFixed(0)} MiB`);
}

if (import.meta.main) {
  const [first, second] = process.argv.slice(2);
  if (first === MEMORY) printMemory(Number(second));
  else print(measurePolicies(first === undefined ? undefined : Number(first)));
}
