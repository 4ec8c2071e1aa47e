// The command line.
export { type BuildInfo, buildInfo, formatBuildInfo } from "./build_info.ts";
export type { Command, ExplainFlags, RequestFlags, RunFlags, WaitFlags } from "./command.ts";
export { parseCommand } from "./flags.ts";
export { HELP } from "./help.ts";
export { licenses } from "./licenses.ts";
