/** Log levels as Istio's templates give them to pilot-agent, in the form that our log filter has (RUST_LOG's). */

/** Levels of `--log_output_level`. */
const AGENT_LEVELS: Readonly<Record<string, string>> = {
  none: "off",
  fatal: "error",
  error: "error",
  warn: "warn",
  info: "info",
  debug: "debug",
};

/** Levels of `--proxyLogLevel` and `--proxyComponentLogLevel`, which are Envoy's. */
const PROXY_LEVELS: Readonly<Record<string, string>> = {
  off: "off",
  critical: "error",
  error: "error",
  warning: "warn",
  warn: "warn",
  info: "info",
  debug: "debug",
  trace: "trace",
};

/** The agent's scopes that have a counterpart here. */
const AGENT_SCOPES: Readonly<Record<string, string>> = { ads: "xds", delta: "xds", xdsproxy: "xds", dns: "dns" };

/** Envoy's components that have a counterpart here. */
const PROXY_COMPONENTS: Readonly<Record<string, string>> = {
  config: "waypoint::state",
  conn_handler: "waypoint::listener",
  main: "waypoint::app",
  rbac: "waypoint::policy",
};

/** Everything of the data path, which is what Envoy's own level is about. */
const PROXY_SCOPE = "waypoint";
/** What Istio's templates say of Envoy unless told otherwise. Envoy is talkative; here `info` has one line for a change. */
const PROXY_DEFAULT = "warn";

/** The flags' values; undefined: not given. */
export interface AgentLogFlags {
  /** `[SCOPE:]LEVEL,…` */
  readonly outputLevel: string | undefined;
  readonly proxyLevel: string | undefined;
  /** `COMPONENT:LEVEL,…` */
  readonly componentLevels: string | undefined;
}

export type AgentLogResult =
  | { readonly ok: true; readonly filter: string | undefined }
  | { readonly ok: false; readonly error: string };

/**
 * The levels as directives. `--log_output_level` says the level of all, `--proxyLogLevel` that of the data path where it
 * is not the template's default; scopes and components that have no counterpart here are passed over.
 */
export function agentLogFilter({ outputLevel, proxyLevel, componentLevels }: AgentLogFlags): AgentLogResult {
  const directives: string[] = [];
  const refuse = (flag: string, text: string, level: string, levels: Readonly<Record<string, string>>) => ({
    ok: false as const,
    error: `${flag}=${text}: ${JSON.stringify(level)} is no level (${Object.keys(levels).join(", ")})`,
  });
  for (const [scope, level] of pairs(outputLevel)) {
    const own = AGENT_LEVELS[level];
    if (own === undefined) return refuse("--log_output_level", outputLevel ?? "", level, AGENT_LEVELS);
    const target = AGENT_SCOPES[scope];
    if (scope === "" || scope === "default" || scope === "all") directives.unshift(own);
    else if (target !== undefined) directives.push(`${target}=${own}`);
  }
  if (proxyLevel !== undefined) {
    const own = PROXY_LEVELS[proxyLevel];
    if (own === undefined) return refuse("--proxyLogLevel", proxyLevel, proxyLevel, PROXY_LEVELS);
    if (own !== PROXY_DEFAULT) directives.push(`${PROXY_SCOPE}=${own}`);
  }
  for (const [component, level] of pairs(componentLevels)) {
    const own = PROXY_LEVELS[level];
    if (own === undefined) return refuse("--proxyComponentLogLevel", componentLevels ?? "", level, PROXY_LEVELS);
    const target = PROXY_COMPONENTS[component];
    if (target !== undefined) directives.push(`${target}=${own}`);
  }
  // A filter of scopes alone would silence all others.
  const filter = directives.length === 0 || !directives[0]!.includes("=") ? directives : ["info", ...directives];
  return { ok: true, filter: filter.length === 0 ? undefined : filter.join(",") };
}

/** `SCOPE:LEVEL` or `LEVEL`, with "" as scope, of a comma list. */
function pairs(text: string | undefined): (readonly [scope: string, level: string])[] {
  return (text ?? "").split(",").map((part) => part.trim()).filter((part) => part !== "").map((part) => {
    const colon = part.lastIndexOf(":");
    return [part.slice(0, Math.max(colon, 0)), part.slice(colon + 1)] as const;
  });
}
