/** Access logs of a chain: Envoy's file access logger (spec/waypoint.md §4.4). */
import type { LogSink } from "../../telemetry/mod.ts";
import type { AccessLog } from "../snapshot/mod.ts";
import type { StreamInfo } from "../stream_info.ts";
import { compileLogFilter, type LogPredicate } from "./access_log_filter.ts";
import { ISTIO_TEXT_FORMAT } from "./default_formats.ts";
import { type Compiled, compileFormat, compileJsonFormat, type TextFormat } from "./format.ts";
import type { LogOutputs } from "./log_outputs.ts";

/** Call it once for each request or connection when it has ended. */
export type AccessLogWriter = (info: StreamInfo) => void;

interface CompiledLog {
  readonly wanted: LogPredicate;
  readonly line: TextFormat;
  readonly output: LogSink;
}

function compileLine(format: AccessLog["format"]): Compiled<TextFormat> {
  if (format === undefined) return compileFormat(ISTIO_TEXT_FORMAT);
  return format.kind === "text" ? compileFormat(format.text) : compileJsonFormat(format.fields);
}

function compileLog(log: AccessLog, outputs: LogOutputs): Compiled<CompiledLog> {
  const filter: Compiled<LogPredicate> = log.filter === undefined
    ? { ok: true, format: () => true }
    : compileLogFilter(log.filter);
  if (!filter.ok) return filter;
  const line = compileLine(log.format);
  if (!line.ok) return line;
  try {
    return { ok: true, format: { wanted: filter.format, line: line.format, output: outputs(log.path) } };
  } catch (error) {
    return { ok: false, error: (error as Error).message };
  }
}

/**
 * All logs of a chain as one writer. Refuses an unknown operator, an expression that is no CEL, a file that cannot be opened; the error
 * names the log and what is wrong with it.
 */
export function compileAccessLogs(logs: readonly AccessLog[], outputs: LogOutputs): Compiled<AccessLogWriter> {
  const compiled: CompiledLog[] = [];
  for (const log of logs) {
    const one = compileLog(log, outputs);
    if (!one.ok) return { ok: false, error: `access log to ${log.path}: ${one.error}` };
    compiled.push(one.format);
  }
  return {
    ok: true,
    format: (info) => {
      for (const { wanted, line, output } of compiled) {
        if (wanted(info)) output.write(line(info), 1);
      }
    },
  };
}
