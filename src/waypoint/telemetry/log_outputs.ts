/** Files and standard streams that access logs go to. */
import { openSync } from "node:fs";
import process from "node:process";
import { DescriptorSink, GatheredSink, type LogSink, standardOutput } from "../../telemetry/mod.ts";

/**
 * Finds the output of a path: `/dev/stdout`, `/dev/stderr` or a file, the same one for the same path. Throws the
 * system's error when a file cannot be opened.
 */
export type LogOutputs = (path: string) => LogSink;

const outputs = new Map<string, LogSink>([["/dev/stdout", standardOutput]]);

/** Files are made when there is none, appended to, and never closed; what was written is with the system at exit. */
export const systemOutputs: LogOutputs = (path) => {
  let output = outputs.get(path);
  if (output === undefined) {
    const opened = new GatheredSink(new DescriptorSink(path === "/dev/stderr" ? 2 : openSync(path, "a", 0o644)));
    process.on("exit", () => opened.flush());
    outputs.set(path, output = opened);
  }
  return output;
};
