import process from "node:process";
import { log } from "../telemetry/mod.ts";

/** SIGTERM and SIGINT ask for a graceful end; a second SIGINT ends at once. */
export function onStopSignal(stop: () => void): void {
  process.once("SIGTERM", stop);
  process.once("SIGINT", () => {
    stop();
    process.once("SIGINT", () => {
      log.flush();
      process.exit(0);
    });
  });
}
