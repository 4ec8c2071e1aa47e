import process from "node:process";
import { FatalNamespaceError } from "../linux/mod.ts";
import { log, type LogScope } from "../telemetry/mod.ts";

/**
 * A bug in one connection's code must not take the other connections with it: it is logged with its stack, and the rest
 * goes on. Only a thread that is stuck in a pod's namespace ends the process, for its sockets would be made in the wrong
 * place.
 */
export function surviveBugs(scope: LogScope): void {
  const report = (error: unknown) => {
    const { message, stack } = error instanceof Error ? error : new Error(String(error));
    scope.error("internal error", [["error", message], ["stack", stack ?? ""]]);
    if (!(error instanceof FatalNamespaceError)) return;
    log.flush();
    process.exit(1);
  };
  process.on("uncaughtException", report);
  process.on("unhandledRejection", report);
}
