/** Access logs of a chain: Envoy's file access logger (spec/waypoint.md §4.4). */
import type { LogSink } from "../../telemetry/mod.ts";
import type { AccessLog } from "../snapshot/mod.ts";
import type { StreamInfo } from "../stream_info.ts";
import type { Compiled } from "./format.ts";

/** Finds the output of a path: `/dev/stdout`, `/dev/stderr` or a file; the same one for the same path. Throws when a file cannot be opened. */
export type LogOutputs = (path: string) => LogSink;

/** Call it once for each request or connection when it has ended. */
export type AccessLogWriter = (info: StreamInfo) => void;

/** Refuses an unknown operator, a CEL filter, a file that cannot be opened; the error names which. */
export function compileAccessLogs(logs: readonly AccessLog[], _outputs: LogOutputs): Compiled<AccessLogWriter> {
  return { ok: false, error: `not built yet: ${logs.length} access logs` };
}
