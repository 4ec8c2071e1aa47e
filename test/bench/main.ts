/**
 * What the mesh costs, in comparison: everything in one run, rounds alternating between the paths, medians of the rounds.
 *
 *     npm run bench                      two ztunnels and their yardsticks, under 7 minutes
 *     npm run bench -- --waypoint        our waypoint and Envoy as the original's, under 8 minutes
 *     npm run bench -- --core            a large mesh, many policies, many series: no sockets, about a minute
 *     npm run bench -- --before PATH     an executable of before in place of the yardsticks; with --waypoint too
 *     npm run bench -- --quick           shorter rounds, a rough picture in about a minute
 *     npm run bench -- --json FILE       the figures with all samples
 *     npm run bench -- --only relay,ambient --rounds 5
 *     npm run bench -- --waypoint --parts requests,h2
 */
import { writeFileSync } from "node:fs";
import process from "node:process";
import { installEnvoy } from "../interop/envoy/mod.ts";
import {
  inspectHost,
  installPrograms,
  leftovers,
  raiseConntrackLimit,
  removeAbandoned,
  rerunIn,
} from "../lab/topology/mod.ts";
import { benchCore } from "./core/mod.ts";
import { type Plan, readPlan, type Results } from "./plan.ts";
import { renderJudgements } from "./table.ts";
import { benchWaypoints } from "./waypoint/mod.ts";
import { benchZtunnels } from "./ztunnel.ts";

/** Most connections that the kernel may track at once: new ones in their thousands each second. */
const CONNTRACK_LIMIT = 1 << 20;

/** Writes the figures with all samples to where they are wanted. */
function keep(plan: Plan, { environment, judgements, figures }: Results): void {
  if (plan.json === undefined) return;
  const limits = judgements.map(({ limit, value, pass }) => ({ ...limit, value, pass }));
  writeFileSync(plan.json, `${JSON.stringify({ environment, rounds: plan.rounds, figures, limits }, null, 2)}\n`);
}

async function run(plan: Plan): Promise<void> {
  const started = performance.now();
  const say = (text: string) =>
    process.stderr.write(`${((performance.now() - started) / 1000).toFixed(0)} s  ${text}\n`);
  if (plan.subject === "core") {
    const results = await benchCore(plan, say);
    console.log(`${results.environment}; medians of ${plan.rounds} rounds\n\n${results.table}`);
    keep(plan, results);
    return;
  }
  // Before there is a user namespace, which has no network.
  if (plan.subject === "waypoint" && plan.before === undefined) installEnvoy();
  const host = inspectHost();
  if (host.kind === "wants user namespace") return await rerunIn(host.command);
  if (host.kind === "unavailable") throw new Error(`bench: no network namespaces here: ${host.reason}`);
  installPrograms(["openssl", "wrk"]);
  removeAbandoned();
  raiseConntrackLimit(CONNTRACK_LIMIT);
  const bench = plan.subject === "waypoint" ? benchWaypoints : benchZtunnels;
  const results = await bench(plan, host.redirector, say);
  const { environment, table, judgements } = results;
  console.log(`${environment}; medians of ${plan.rounds} rounds\n\n${table}`);
  if (judgements.length > 0) console.log(`\n${renderJudgements(judgements)}`);
  keep(plan, results);
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
