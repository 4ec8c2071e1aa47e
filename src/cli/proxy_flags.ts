/** `proxy ztunnel …` and `proxy waypoint …`: the command line of the containers that Istio's charts and istiod make. */
import { agentLogFilter } from "./agent_log.ts";
import type { Command, RunFlags } from "./command.ts";

/**
 * What a flag of pilot-agent is to us. `own`: one of ours, with a value; `taken`: it has a counterpart here; `value` and
 * `switch`: nothing here to set by it, with a value or without one.
 */
type Kind = "own" | "taken" | "value" | "switch";

/** Flags of `pilot-agent proxy` (spec/waypoint.md §5.1). */
const FLAGS: Readonly<Record<string, Kind>> = {
  "--config": "own",
  "--ca-dir": "own",
  "--gateway": "own",
  "--domain": "taken",
  "--serviceCluster": "taken",
  "--meshConfig": "taken",
  "--proxyLogLevel": "taken",
  "--proxyComponentLogLevel": "taken",
  "--log_output_level": "taken",
  "--log_as_json": "switch",
  "--concurrency": "value",
  "--outlierLogPath": "value",
  "--templateFile": "value",
  "--tokenManagerPlugin": "value",
  "--stsPort": "value",
  "--profiling": "switch",
  "--log_target": "value",
  "--log_caller": "value",
  "--log_stacktrace_level": "value",
  "--vklog": "value",
};

/** Roles of pilot-agent that we have not. */
const OTHER_ROLES = ["sidecar", "router"];

/** What the arguments behind `proxy` ask for. */
export function parseProxy(args: readonly string[]): Command {
  const [role = "", ...rest] = args;
  if (OTHER_ROLES.includes(role)) {
    return { kind: "error", message: `proxy ${role}: this is a ztunnel or a waypoint, not a ${role}` };
  }
  if (role === "waypoint") return parseWaypoint(rest);
  // As the original: whatever stands behind `proxy` is not looked at.
  return { kind: "run", flags: { mode: "ztunnel", config: undefined, caDir: undefined, gateway: undefined } };
}

interface GivenFlags {
  /** Of the flags that have one; the last counts. */
  readonly values: ReadonlyMap<string, string>;
  readonly warnings: readonly string[];
}

/**
 * `--name value`, `--name=value` and switches. What is not known is warned of: a newer Istio may have flags that nobody
 * has heard of, and a proxy that does not start is worse than one without them.
 */
function readFlags(args: readonly string[]): GivenFlags | string {
  const values = new Map<string, string>();
  const warnings: string[] = [];
  for (let index = 0; index < args.length; index++) {
    const argument = args[index]!;
    const equals = argument.indexOf("=");
    const name = equals < 0 ? argument : argument.slice(0, equals);
    const kind = FLAGS[name];
    if (kind === undefined) {
      warnings.push(`unknown ${argument.startsWith("-") ? "flag" : "argument"} of proxy: ${name}`);
      // Its value, if it is one with a value.
      if (argument.startsWith("-") && equals < 0 && args[index + 1]?.startsWith("-") === false) index++;
    } else if (kind === "switch") {
      values.set(name, equals < 0 ? "true" : argument.slice(equals + 1));
    } else {
      const value = equals < 0 ? args[++index] : argument.slice(equals + 1);
      if (value === undefined) return `${name} needs a value`;
      if (kind === "own" && value === "") return `${name} needs a value`;
      values.set(name, value);
    }
  }
  return { values, warnings };
}

function parseWaypoint(args: readonly string[]): Command {
  const given = readFlags(args);
  if (typeof given === "string") return { kind: "error", message: given };
  const { values, warnings } = given;
  // A template may leave a value empty where it has nothing to say.
  const value = (name: string) => values.get(name) || undefined;
  const log = agentLogFilter({
    outputLevel: value("--log_output_level"),
    proxyLevel: value("--proxyLogLevel"),
    componentLevels: value("--proxyComponentLogLevel"),
  });
  if (!log.ok) return { kind: "error", message: log.error };
  const flags: RunFlags = {
    mode: "waypoint",
    config: value("--config"),
    caDir: value("--ca-dir"),
    gateway: value("--gateway"),
    domain: value("--domain"),
    serviceCluster: value("--serviceCluster"),
    meshConfig: value("--meshConfig"),
    logFilter: log.filter,
    logFormat: value("--log_as_json") === "true" ? "json" : undefined,
    warnings: warnings.length === 0 ? undefined : warnings,
  };
  return { kind: "run", flags };
}
