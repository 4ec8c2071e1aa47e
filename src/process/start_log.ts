import process from "node:process";
import { buildInfo, formatBuildInfo } from "../cli/mod.ts";
import { raiseOpenFileLimit, SystemError } from "../linux/mod.ts";
import { log, type LogScope } from "../telemetry/mod.ts";

interface LogSettings {
  readonly logFilter: string;
  readonly logFormat: "plain" | "json";
  readonly warnings: readonly string[];
}

/** Sets the log up and says who begins, with what. Throws when RUST_LOG cannot be read. */
export function startLog(settings: LogSettings, scope: LogScope, dump: unknown): void {
  const problem = log.configure({ directives: settings.logFilter, format: settings.logFormat });
  if (problem !== undefined) throw new Error(`invalid env var RUST_LOG=${settings.logFilter} (${problem})`);
  try {
    raiseOpenFileLimit();
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    scope.warn("failed to raise the limit of open files", [["error", error.message]]);
  }
  scope.info("version", [["version", { display: formatBuildInfo(buildInfo()) }]]);
  scope.info(`running with config: ${JSON.stringify(dump)}`);
  for (const warning of settings.warnings) {
    // What silences the log must not silence the word about it.
    if (scope.enabled("warn")) scope.warn(warning);
    else process.stderr.write(`${warning}\n`);
  }
}
