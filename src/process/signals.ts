import process from "node:process";
import { log } from "../telemetry/mod.ts";

/**
 * SIGTERM and SIGINT ask for a graceful end. A second SIGINT ends at once, in waypoint mode any second one; in ztunnel mode
 * a second SIGTERM changes nothing (spec/ztunnel.md §11.3, spec/waypoint.md §5.2).
 *
 * @param impatient whether any second signal ends at once
 */
export function onStopSignal(stop: () => void, impatient = false): void {
  const heard = new Set<string>();
  const hear = (signal: "SIGTERM" | "SIGINT") => {
    if (impatient ? heard.size > 0 : signal === "SIGINT" && heard.has(signal)) {
      log.flush();
      process.exit(0);
    }
    heard.add(signal);
    stop();
  };
  // Never taken back: without a handler the signal would end the process.
  process.on("SIGTERM", () => hear("SIGTERM"));
  process.on("SIGINT", () => hear("SIGINT"));
}
