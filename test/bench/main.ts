/**
 * What the mesh costs: the same work from a pod on node a to a pod on node b through (a) nothing, (b) a raw Bun TLS relay
 * pair captured by the same rules, (c) two ambient ztunnels; all in one run, rounds alternating, medians of the rounds.
 *
 *     npm run bench                      everything, under 6 minutes
 *     npm run bench -- --quick           shorter rounds, a rough picture in about a minute
 *     npm run bench -- --json FILE       the figures with all samples
 *     npm run bench -- --only relay,ambient --rounds 5
 */
import { writeFileSync } from "node:fs";
import process from "node:process";
import {
  inspectHost,
  installPrograms,
  leftovers,
  raiseConntrackLimit,
  removeAbandoned,
  rerunIn,
} from "../lab/topology/mod.ts";
import { CONNECTIONS, DIRECTIONS, Figures, judge, STREAMS } from "./figures.ts";
import { cpuTime, settledMemory } from "./gauge.ts";
import type { Outcome } from "./load.ts";
import { Bench, environmentLine, type Path, type PathName, PATHS } from "./path.ts";
import { renderFigures, renderJudgements } from "./report.ts";

interface Plan {
  readonly rounds: number;
  readonly requestMs: number;
  readonly bulkBytes: number;
  readonly churnMs: number;
  readonly held: number;
  readonly paths: readonly PathName[];
  readonly parts: readonly string[];
  readonly json: string | undefined;
}

const PARTS = ["held", "requests", "bulk", "churn"];
const GB = 1e9;
/** Rounds' worth of new connections before the first one that counts. */
const WARM_UP_ROUNDS = 4;

function readPlan(args: readonly string[]): Plan {
  const value = (name: string) => {
    const at = args.indexOf(name);
    return at < 0 ? undefined : args[at + 1];
  };
  const quick = args.includes("--quick");
  const known = ["--quick", "--json", "--rounds", "--only", "--parts"];
  const stray = args.find((arg, at) =>
    arg.startsWith("--") ? !known.includes(arg) : !known.includes(args[at - 1] ?? "")
  );
  if (stray !== undefined) throw new Error(`bench: unknown argument ${stray}; there are ${known.join(", ")}`);
  const only = value("--only")?.split(",");
  return {
    rounds: Number(value("--rounds") ?? (quick ? 1 : 3)),
    requestMs: quick ? 1000 : 4000,
    bulkBytes: quick ? 0.3 * GB : GB,
    churnMs: quick ? 1000 : 3000,
    held: 4000,
    paths: PATHS.filter((path) => only === undefined || only.includes(path)),
    parts: value("--parts")?.split(",") ?? PARTS,
    json: value("--json"),
  };
}

/** Runs `work` and adds up what it cost each side: `unit` of cost per counted thing. */
async function measured(path: Path, figures: Figures, figure: string, unitNs: number, work: () => Promise<Outcome>) {
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
async function requests(path: Path, figures: Figures, plan: Plan): Promise<void> {
  for (const connections of CONNECTIONS) {
    const figure = `requests.${connections}`;
    const load = path.generator.requests(connections, RAMP_MS + plan.requestMs + TAIL_MS);
    await Bun.sleep(RAMP_MS);
    const start = performance.now();
    const { count } = await measured(path, figures, figure, MICROSECOND, async () => {
      const before = await path.served();
      await Bun.sleep(plan.requestMs);
      return { count: await path.served() - before, seconds: 0, errors: 0 };
    });
    figures.add(path.name, `${figure}.rate`, count * 1000 / (performance.now() - start));
    const { p50, p99, errors } = await load;
    if (errors > 0) process.stderr.write(`bench: ${path.name} ${figure}: ${errors} errors\n`);
    figures.add(path.name, `${figure}.p50`, p50 ?? Number.NaN);
    figures.add(path.name, `${figure}.p99`, p99 ?? Number.NaN);
  }
}

async function bulk(path: Path, figures: Figures, plan: Plan): Promise<void> {
  for (const direction of DIRECTIONS) {
    for (const streams of STREAMS) {
      const figure = `bulk.${direction}.${streams}`;
      // Nanoseconds per byte are seconds per GB.
      const outcome = await measured(
        path,
        figures,
        figure,
        1,
        () => path.generator.order({ kind: "bulk", direction, streams, bytes: plan.bulkBytes }),
      );
      figures.add(path.name, `${figure}.rate`, outcome.count * 8 / outcome.seconds / GB);
    }
  }
}

async function churn(path: Path, figures: Figures, plan: Plan): Promise<void> {
  const outcome = await measured(
    path,
    figures,
    "churn",
    MICROSECOND,
    () => path.generator.order({ kind: "churn", concurrency: 16, ms: plan.churnMs }),
  );
  figures.add(path.name, "churn.rate", outcome.count / outcome.seconds);
}

/** Idle memory of fresh processes, then what each held connection adds after a short warm-up. */
async function held(path: Path, figures: Figures, plan: Plan): Promise<void> {
  const { proxies } = path;
  if (proxies === undefined) return;
  const memory = async () => [await settledMemory(proxies.client), await settledMemory(proxies.server)] as const;
  const idle = await memory();
  figures.add(path.name, "idle.memory.client", idle[0] / 1024);
  figures.add(path.name, "idle.memory.server", idle[1] / 1024);
  await path.generator.order({ kind: "churn", concurrency: 16, ms: 500 });
  const before = await memory();
  const { count } = await path.generator.order({ kind: "hold", connections: plan.held });
  if (count < plan.held) process.stderr.write(`bench: ${path.name}: only ${count} of ${plan.held} connections held\n`);
  const after = await memory();
  figures.add(path.name, "held.memory.client", (after[0] - before[0]) / count);
  figures.add(path.name, "held.memory.server", (after[1] - before[1]) / count);
  await path.generator.order({ kind: "release" });
}

async function run(plan: Plan): Promise<void> {
  const host = inspectHost();
  if (host.kind === "wants user namespace") return await rerunIn(host.command);
  if (host.kind === "unavailable") throw new Error(`bench: no network namespaces here: ${host.reason}`);
  installPrograms(["openssl", "wrk"]);
  removeAbandoned();
  raiseConntrackLimit(1 << 20);
  const started = performance.now();
  const figures = new Figures();
  const bench = new Bench(host.redirector, plan.paths);
  const say = (text: string) =>
    process.stderr.write(`${((performance.now() - started) / 1000).toFixed(0)} s  ${text}\n`);
  try {
    const paths: Path[] = [];
    for (const name of plan.paths) {
      say(`starting ${name}`);
      paths.push(await bench.start(name));
    }
    if (plan.parts.includes("held")) {
      for (const path of paths) {
        say(`${path.name}: ${plan.held} held connections`);
        await held(path, figures, plan);
      }
    }
    // A proxy runs for weeks: what the runtime compiles in its first seconds is not what a request costs.
    for (const path of paths) {
      if (path.proxies === undefined) continue;
      say(`${path.name}: warming up`);
      await path.generator.requests(32, plan.requestMs / 2);
      if (plan.parts.includes("churn")) {
        await path.generator.order({ kind: "churn", concurrency: 16, ms: WARM_UP_ROUNDS * plan.churnMs });
      }
    }
    const rounds = { requests, bulk, churn };
    for (let round = 1; round <= plan.rounds; round++) {
      for (const path of paths) {
        for (const [part, measure] of Object.entries(rounds)) {
          if (!plan.parts.includes(part)) continue;
          // The direct path varies little and decides nothing: one round.
          if (path.name === "direct" && round > 1) continue;
          say(`round ${round} of ${plan.rounds}: ${path.name}: ${part}`);
          await measure(path, figures, plan);
        }
      }
    }
    const judgements = judge(figures);
    const environment = environmentLine(paths[0]?.generator.requestProgram ?? "");
    console.log(`${environment}; medians of ${plan.rounds} rounds\n\n${renderFigures(figures)}`);
    if (judgements.length > 0) console.log(`\n${renderJudgements(judgements)}`);
    if (plan.json !== undefined) {
      const limits = judgements.map(({ limit, value, pass }) => ({ ...limit, value, pass }));
      writeFileSync(plan.json, `${JSON.stringify({ environment, rounds: plan.rounds, figures, limits }, null, 2)}\n`);
    }
  } finally {
    await bench.close();
  }
  const left = leftovers();
  if (left.length > 0) throw new Error(`bench: left behind: ${left.join(", ")}`);
  say("done");
}

try {
  await run(readPlan(process.argv.slice(2)));
  process.exit(0);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exit(1);
}
