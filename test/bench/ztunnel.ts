/**
 * What two ztunnels cost: the same work from a pod on node a to a pod on node b through (a) nothing, (b) a raw Bun TLS
 * relay pair captured by the same rules, (c) two ambient ztunnels. Or (b) two ztunnels of an earlier executable.
 */
import process from "node:process";
import type { Redirector } from "../lab/topology/mod.ts";
import { Figures, judge, noWorse } from "./figures.ts";
import { cpuTime, settledMemory, SETTLING_MS } from "./gauge.ts";
import { CONNECTIONS, DIRECTIONS, LIMITS, STREAMS } from "./limits.ts";
import type { Outcome } from "./load.ts";
import { machineLine } from "./machine.ts";
import { Bench, environmentLine, type Path, type PathName, PATHS } from "./path.ts";
import { chosen, type Plan, type Results, type Say } from "./plan.ts";
import { keepPush, measurePush, PUSH_LIMITS, renderPush, WORKLOADS } from "./push/mod.ts";
import { renderFigures } from "./report.ts";

/** The last one has a mesh of its own, with a control plane; only ours is measured in it, and once. */
const PARTS = ["held", "requests", "bulk", "churn", "push"] as const;
const GB = 1e9;
/** Rounds' worth of new connections before the first one that counts. */
const WARM_UP_ROUNDS = 4;
/** Connections held open while memory is looked at. */
const HELD = 4000;

interface Measures {
  readonly requestMs: number;
  readonly bulkBytes: number;
  readonly churnMs: number;
}

const THOROUGH: Measures = { requestMs: 4000, bulkBytes: GB, churnMs: 3000 };
const QUICK: Measures = { requestMs: 1000, bulkBytes: 0.3 * GB, churnMs: 1000 };

/** Runs `work` and adds up what it cost each side: `unit` of cost per counted thing. */
async function measured(
  path: Path,
  figures: Figures<PathName>,
  figure: string,
  unitNs: number,
  work: () => Promise<Outcome>,
) {
  const { proxies } = path;
  const before = proxies === undefined ? undefined : [cpuTime(proxies.client), cpuTime(proxies.server)];
  const outcome = await work();
  if (outcome.errors > 0) process.stderr.write(`bench: ${path.name} ${figure}: ${outcome.errors} errors\n`);
  if (proxies !== undefined && before !== undefined && outcome.count > 0) {
    figures.add(
      path.name,
      `${figure}.cpu.client`,
      (cpuTime(proxies.client) - (before[0] ?? 0)) / outcome.count / unitNs,
    );
    figures.add(
      path.name,
      `${figure}.cpu.server`,
      (cpuTime(proxies.server) - (before[1] ?? 0)) / outcome.count / unitNs,
    );
  }
  return outcome;
}

const MICROSECOND = 1000;

/** Time for all connections to be made before the measured window, and left to the load after it; milliseconds. */
const RAMP_MS = 1000;
const TAIL_MS = 500;

/** Requests over connections that are already there: the window begins when the handshakes are over. */
async function requests(path: Path, figures: Figures<PathName>, measures: Measures): Promise<void> {
  for (const connections of CONNECTIONS) {
    const figure = `requests.${connections}`;
    const load = path.generator.requests(connections, RAMP_MS + measures.requestMs + TAIL_MS);
    await Bun.sleep(RAMP_MS);
    const start = performance.now();
    const { count } = await measured(path, figures, figure, MICROSECOND, async () => {
      const before = await path.served();
      await Bun.sleep(measures.requestMs);
      return { count: await path.served() - before, seconds: 0, errors: 0 };
    });
    figures.add(path.name, `${figure}.rate`, count * 1000 / (performance.now() - start));
    const { p50, p99, errors } = await load;
    if (errors > 0) process.stderr.write(`bench: ${path.name} ${figure}: ${errors} errors\n`);
    figures.add(path.name, `${figure}.p50`, p50 ?? Number.NaN);
    figures.add(path.name, `${figure}.p99`, p99 ?? Number.NaN);
  }
}

async function bulk(path: Path, figures: Figures<PathName>, measures: Measures): Promise<void> {
  for (const direction of DIRECTIONS) {
    for (const streams of STREAMS) {
      const figure = `bulk.${direction}.${streams}`;
      // Nanoseconds per byte are seconds per GB.
      const outcome = await measured(
        path,
        figures,
        figure,
        1,
        () => path.generator.order({ kind: "bulk", direction, streams, bytes: measures.bulkBytes }),
      );
      figures.add(path.name, `${figure}.rate`, outcome.count * 8 / outcome.seconds / GB);
    }
  }
}

async function churn(path: Path, figures: Figures<PathName>, measures: Measures): Promise<void> {
  const outcome = await measured(
    path,
    figures,
    "churn",
    MICROSECOND,
    () => path.generator.order({ kind: "churn", concurrency: 16, ms: measures.churnMs }),
  );
  figures.add(path.name, "churn.rate", outcome.count / outcome.seconds);
}

/**
 * Idle memory of fresh processes, then what each held connection adds after a short warm-up. Of all paths at the same age:
 * pages of the executable come and go, and garbage is collected when a process has been quiet for some seconds.
 */
async function memory(paths: readonly Path[], figures: Figures<PathName>): Promise<void> {
  const proxied = paths.flatMap(({ name, generator, proxies }) =>
    proxies === undefined ? [] : [{ name, generator, proxies }]
  );
  const look = async () => {
    await Bun.sleep(SETTLING_MS);
    return await Promise.all(
      proxied.map(({ proxies }) => Promise.all([settledMemory(proxies.client), settledMemory(proxies.server)])),
    );
  };
  for (const [index, [client, server]] of (await look()).entries()) {
    const { name } = proxied[index] as (typeof proxied)[number];
    figures.add(name, "idle.memory.client", client / 1024);
    figures.add(name, "idle.memory.server", server / 1024);
  }
  for (const { generator } of proxied) await generator.order({ kind: "churn", concurrency: 16, ms: 500 });
  const before = await look();
  const counts: number[] = [];
  for (const { name, generator } of proxied) {
    const { count } = await generator.order({ kind: "hold", connections: HELD });
    if (count < HELD) process.stderr.write(`bench: ${name}: only ${count} of ${HELD} connections held\n`);
    counts.push(count);
  }
  for (const [index, [client, server]] of (await look()).entries()) {
    const { name, generator } = proxied[index] as (typeof proxied)[number];
    const [clientBefore, serverBefore] = before[index] as readonly [number, number];
    const count = counts[index] as number;
    figures.add(name, "held.memory.client", (client - clientBefore) / count);
    figures.add(name, "held.memory.server", (server - serverBefore) / count);
    await generator.order({ kind: "release" });
  }
}

export async function benchZtunnels(plan: Plan, redirector: Redirector, say: Say): Promise<Results> {
  const measures = plan.quick ? QUICK : THOROUGH;
  const { before } = plan;
  const strangers = before === undefined;
  const names = chosen(
    "path",
    plan.only,
    PATHS.filter((name) => name === "ambient" || (name !== "before") === strangers),
  );
  const parts = chosen("part", plan.parts, PARTS);
  const figures = new Figures<PathName>();
  const pushed = parts.includes("push") && names.includes("ambient");
  if (pushed) keepPush(figures, await measurePush(redirector, say));
  const pushTable = pushed ? [renderPush(figures, WORKLOADS)] : [];
  const pushJudged = judge(figures, PUSH_LIMITS, { own: "ambient", yardstick: "relay" });
  if (parts.every((part) => part === "push")) {
    return { environment: machineLine(), figures, table: pushTable.join(""), judgements: pushJudged };
  }
  const bench = new Bench(redirector, names, before);
  try {
    const paths: Path[] = [];
    for (const name of names) {
      say(`starting ${name}`);
      paths.push(await bench.start(name));
    }
    if (parts.includes("held")) {
      say(`memory: idle, and with ${HELD} held connections`);
      await memory(paths, figures);
    }
    // A proxy runs for weeks: what the runtime compiles in its first seconds is not what a request costs.
    for (const path of paths) {
      if (path.proxies === undefined) continue;
      say(`${path.name}: warming up`);
      await path.generator.requests(32, measures.requestMs / 2);
      if (parts.includes("churn")) {
        await path.generator.order({ kind: "churn", concurrency: 16, ms: WARM_UP_ROUNDS * measures.churnMs });
      }
    }
    const rounds = { requests, bulk, churn };
    for (let round = 1; round <= plan.rounds; round++) {
      for (const path of paths) {
        for (const [part, measure] of Object.entries(rounds)) {
          if (!parts.includes(part as keyof typeof rounds)) continue;
          // The direct path varies little and decides nothing: one round.
          if (path.name === "direct" && round > 1) continue;
          say(`round ${round} of ${plan.rounds}: ${path.name}: ${part}`);
          await measure(path, figures, measures);
        }
      }
    }
    return {
      environment: environmentLine(paths[0]?.generator.requestProgram ?? ""),
      figures,
      table: [renderFigures(figures, names), ...pushTable].join("\n\n"),
      judgements: [
        ...strangers
          ? judge(figures, LIMITS, { own: "ambient", yardstick: "relay" })
          : judge(figures, noWorse(LIMITS), { own: "ambient", yardstick: "before" }),
        ...pushJudged,
      ],
    };
  } finally {
    await bench.close();
  }
}
