/**
 * A soak: two ztunnels under an istiod, moderate traffic of every kind, and a mesh that changes all the time; what they
 * hold must not grow.
 *
 *     npm run test:soak                                   one hour
 *     npm run test:soak -- --minutes 5 --seed 7           shorter, other chances
 *     npm run test:soak -- --minutes 10 --pace 4          more events in less time
 *     npm run test:soak -- --json FILE --log FILE         all readings; what the ztunnels log
 *
 * It ends with `N passed, N failed`.
 */
import { writeFileSync } from "node:fs";
import process from "node:process";
import { machineLine } from "../bench/machine.ts";
import { inspectHost, installPrograms, leftovers, removeAbandoned, rerunIn } from "../lab/topology/mod.ts";
import { readPlan } from "./plan.ts";
import { renderCost, renderFigures, renderJudgements, renderLogs, renderWork } from "./report.ts";
import { soak } from "./soak.ts";
import { judge } from "./verdict.ts";

/** @returns how many judgements failed */
async function run(): Promise<number> {
  const plan = readPlan(process.argv.slice(2));
  const host = inspectHost();
  if (host.kind === "wants user namespace") return await rerunIn(host.command);
  if (host.kind === "unavailable") throw new Error(`soak: no network namespaces here: ${host.reason}`);
  installPrograms(["openssl"]);
  removeAbandoned();
  const outcome = await soak(plan, host.redirector, (text) => process.stderr.write(`${text}\n`));
  const judgements = judge(outcome);
  // Directories go with this process.
  const left = leftovers().filter((what) => !what.startsWith("path "));
  if (left.length > 0) judgements.push({ what: "nothing is left behind", pass: false, because: left.join(", ") });
  if (plan.json !== undefined) writeFileSync(plan.json, `${JSON.stringify({ ...outcome, judgements }, null, 1)}\n`);
  const minutes = (outcome.seconds / 60).toFixed(1);
  console.log(`${machineLine()}; ${minutes} minutes, seed ${plan.seed}, pace ${plan.pace}\n`);
  console.log(
    `${renderCost(outcome)}\n\n${renderWork(outcome)}\n\n${renderLogs(outcome)}\n\n${renderFigures(outcome)}\n`,
  );
  console.log(renderJudgements(judgements));
  const failed = judgements.filter(({ pass }) => !pass).length;
  console.log(
    `\n${failed === 0 ? "flat" : "NOT flat"}: ${outcome.certificatesIssued} certificates renewed on the way, ` +
      `${outcome.overtaken} requests of the CNI that were too slow`,
  );
  console.log(`${judgements.length - failed} passed, ${failed} failed`);
  return failed;
}

try {
  process.exit(await run() === 0 ? 0 : 1);
} catch (error) {
  console.error(error instanceof Error ? error.stack : error);
  process.exit(1);
}
