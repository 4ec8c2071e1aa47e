// Writes `count` numbered lines twice: first all at once, then, after having told that it still runs, again; then exits.
import process from "node:process";
import { log, type LogFormat } from "../../src/telemetry/mod.ts";

const [count = "0", format = "plain"] = process.argv.slice(2);
log.configure({ format: format as LogFormat });
for (let n = 0; n < Number(count); n++) log.info("ztunnel::test", `line ${n}`);
await new Promise((resume) => setTimeout(resume, 30));
process.stderr.write("still running\n");
for (let n = 0; n < Number(count); n++) log.info("ztunnel::test", `line ${Number(count) + n}`);
process.exit(0);
