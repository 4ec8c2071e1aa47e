/**
 * Rolling updates for long: `npm run test:upgrade`, or `… -- RESTARTS RATE DEADLINE` (200 restarts, 1000 new
 * connections a second, 3000 ms for a process that goes).
 * Exit status 1 when one new connection failed or one question stayed without an answer.
 */
import process from "node:process";
import { inspectHost, removeAbandoned, rerunIn } from "./topology/mod.ts";
import { formatReport, rollingUpgrades, upgradeMesh } from "./upgrade_run.ts";

const RESTARTS = 200;
const RATE = 1000;
const QUESTIONS = 50;
const HELD = 40;
const DEADLINE_MS = 3_000;
/** Restarts between two lines. */
const PROGRESS = 10;

const numbers = process.argv.slice(2).map(Number);
if (numbers.length > 3 || !numbers.every((number) => Number.isInteger(number) && number > 0)) {
  console.error(`cannot read ${process.argv.slice(2).join(" ")}: wanted RESTARTS RATE DEADLINE, whole numbers above 0`);
  process.exit(1);
}
const host = inspectHost();
if (host.kind === "wants user namespace") await rerunIn(host.command);
if (host.kind !== "available") {
  console.error("no network namespaces here");
  process.exit(1);
}
removeAbandoned();
const [restarts = RESTARTS, rate = RATE, deadlineMs = DEADLINE_MS] = numbers;
const mesh = upgradeMesh();
try {
  await mesh.start();
  const report = await rollingUpgrades(mesh, {
    restarts,
    rate,
    questions: QUESTIONS,
    held: HELD,
    deadlineMs,
    onRestart: (restart, { begun, failed, broken, unanswered }) => {
      if (restart % PROGRESS !== 0) return;
      console.log(
        `${restart} restarts: ${begun} new connections, ${failed.length} failed, ${unanswered.length} questions ` +
          `unanswered, ${broken.length} long-lived broken`,
      );
    },
  });
  console.log(formatReport(report));
  process.exitCode = report.failed.length + report.unanswered.length > 0 ? 1 : 0;
} finally {
  await mesh.close();
}
process.exit();
