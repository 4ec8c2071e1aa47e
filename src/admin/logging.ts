import type { Logger } from "../telemetry/mod.ts";

const LEVELS = new Set(["off", "error", "warn", "info", "debug", "trace"]);

const USAGE = `
POST /logging                              show the current level
POST /logging?level=LEVEL                  change the level of everything
POST /logging?level=SCOPE=LEVEL,…          change the level of single scopes, e.g. ztunnel::proxy=debug
POST /logging?reset                        go back to the level of the start; may be combined with level=

levels: off, error, warn, info, debug, trace
`;

export interface LoggingAnswer {
  readonly status: 200 | 400 | 405;
  readonly text: string;
}

/** A bare scope would mean trace in RUST_LOG; here it is refused, so that a mistyped level does not flood the log. */
function isDirective(text: string): boolean {
  return LEVELS.has(text) || text.includes("=");
}

/** Shows or changes log levels as the query asks. */
export function answerLogging(logger: Logger, method: string, query: URLSearchParams): LoggingAnswer {
  if (method !== "POST") return { status: 405, text: `Invalid HTTP method\n${USAGE}` };
  const level = query.get("level") ?? "";
  const reset = query.has("reset");
  const invalid: LoggingAnswer = { status: 400, text: `Invalid level provided: ${level}\n${USAGE}` };
  if (level !== "" && !level.split(",").every(isDirective)) return invalid;
  if ((level !== "" || reset) && logger.setLevels(level, reset) !== undefined) return invalid;
  return { status: 200, text: `current log level is ${logger.filter}\n` };
}
