/**
 * What the mesh costs, in comparison: everything in one run, rounds alternating between the paths, medians of the rounds.
 *
 *     npm run bench                      two ztunnels and their yardsticks, under 6 minutes
 *     npm run bench -- --waypoint        our waypoint and Envoy as the original's, under 8 minutes
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
import { type Plan, readPlan } from "./plan.ts";
import { renderJudgements } from "./table.ts";
import { benchWaypoints } from "./waypoint/mod.ts";
import { benchZtunnels } from "./ztunnel.ts";

/** Most connections that the kernel may track at once: new ones in their thousands each second. */
const CONNTRACK_LIMIT = 1 << 20;

async function run(plan: Plan): Promise<void> {
  // Before there is a user namespace, which has no network.
  if (plan.subject === "waypoint") installEnvoy();
  const host = inspectHost();
  if (host.kind === "wants user namespace") return await rerunIn(host.command);
  if (host.kind === "unavailable") throw new Error(`bench: no network namespaces here: ${host.reason}`);
  installPrograms(["openssl", "wrk"]);
  removeAbandoned();
  raiseConntrackLimit(CONNTRACK_LIMIT);
  const started = performance.now();
  const say = (text: string) =>
    process.stderr.write(`${((performance.now() - started) / 1000).toFixed(0)} s  ${text}\n`);
  const bench = plan.subject === "waypoint" ? benchWaypoints : benchZtunnels;
  const { environment, table, judgements, figures } = await bench(plan, host.redirector, say);
  console.log(`${environment}; medians of ${plan.rounds} rounds\n\n${table}`);
  if (judgements.length > 0) console.log(`\n${renderJudgements(judgements)}`);
  if (plan.json !== undefined) {
    const limits = judgements.map(({ limit, value, pass }) => ({ ...limit, value, pass }));
    writeFileSync(plan.json, `${JSON.stringify({ environment, rounds: plan.rounds, figures, limits }, null, 2)}\n`);
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
