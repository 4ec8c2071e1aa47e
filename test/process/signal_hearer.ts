/** A process that says when it is asked to stop, and goes on. */
import process from "node:process";
import { onStopSignal } from "../../src/process/mod.ts";

onStopSignal(() => void process.stdout.write("stop\n"), process.argv[2] === "impatient");
process.stdout.write("ready\n");
setInterval(() => {}, 1000);
