/** The snapshot that serves now, compiled. Chains that did not change keep their compiled form. */
import { type CompiledRbac, compileRbac, readsServerName } from "../policy/mod.ts";
import { ChainIndex } from "./chain_index.ts";
import { CompiledRoutes } from "./routing/mod.ts";
import type { AccessLog, Chain, ConnectOptions, HttpChain, TcpChain, WaypointSnapshot } from "./snapshot/mod.ts";
import type { StreamInfo } from "./stream_info.ts";
import { type AccessLogWriter, type ChainMetrics, compileAccessLogs, type LogOutputs } from "./telemetry/mod.ts";
import type { RequestMetrics } from "./telemetry/mod.ts";

interface Compiled {
  /** undefined: nothing to check. */
  readonly rbac: CompiledRbac | undefined;
  /** Why nothing may pass: a filter that concerns security and that this version lacks. */
  readonly refusal: string | undefined;
  readonly metrics: ChainMetrics | undefined;
  /** What of its telemetry could not be done. */
  readonly telemetryProblems: readonly string[];
  /** The access log's part of the end of a request or connection. */
  readonly log: AccessLogWriter;
  /** Everything that telemetry does when a request has ended. */
  record(info: StreamInfo): void;
}

export interface CompiledHttpChain extends Compiled {
  readonly kind: "http";
  readonly chain: HttpChain;
  readonly routes: CompiledRoutes;
}

export interface CompiledTcpChain extends Compiled {
  readonly kind: "tcp";
  readonly chain: TcpChain;
  /** Its policies ask for the server name: where that is unknown nothing passes. */
  readonly readsServerName: boolean;
}

export type CompiledChain = CompiledHttpChain | CompiledTcpChain;

export interface CompileOptions {
  readonly outputs: LogOutputs;
  readonly metrics: RequestMetrics;
  readonly unsupportedFilter: "fail" | "ignore";
}

export type ConfigurationResult =
  | { readonly ok: true; readonly configuration: Configuration }
  | { readonly ok: false; readonly errors: readonly string[] };

/** What is done with a CONNECT. */
export interface CompiledConnect {
  /** undefined: nothing to check. */
  readonly rbac: CompiledRbac | undefined;
  readonly log: AccessLogWriter;
  readonly problems: readonly string[];
}

export class Configuration {
  readonly snapshot: WaypointSnapshot;
  readonly connect: CompiledConnect;
  readonly index: ChainIndex;
  /** Routes that cannot be done as asked; one line each. The others serve. */
  readonly problems: readonly string[];
  readonly #chains: ReadonlyMap<string, CompiledChain>;

  private constructor(
    snapshot: WaypointSnapshot,
    connect: CompiledConnect,
    chains: ReadonlyMap<string, CompiledChain>,
  ) {
    this.snapshot = snapshot;
    this.connect = connect;
    this.index = new ChainIndex(snapshot.matcher);
    this.#chains = chains;
    this.problems = [...connect.problems, ...[...chains.values()].flatMap(problemsOf)];
  }

  chain(name: string): CompiledChain | undefined {
    return this.#chains.get(name);
  }

  /** All of it or nothing: every error names its chain. */
  static compile(
    snapshot: WaypointSnapshot,
    previous: Configuration | undefined,
    options: CompileOptions,
  ): ConfigurationResult {
    const errors: string[] = [];
    const chains = new Map<string, CompiledChain>();
    for (const [name, chain] of Object.entries(snapshot.chains)) {
      const before = previous?.chain(name);
      if (before !== undefined && Bun.deepEquals(before.chain, chain, true)) {
        chains.set(name, before);
        continue;
      }
      const compiled = compileChain(chain, options);
      if (typeof compiled === "string") errors.push(`chain ${name}: ${compiled}`);
      else chains.set(name, compiled);
    }
    const connect = compileConnect(snapshot.connect, options);
    if (typeof connect === "string") errors.push(`CONNECT: ${connect}`);
    if (errors.length > 0 || typeof connect === "string") return { ok: false, errors };
    return { ok: true, configuration: new Configuration(snapshot, connect, chains) };
  }
}

/** The text is an error. */
function compileConnect(connect: ConnectOptions | undefined, options: CompileOptions): CompiledConnect | string {
  const { authorization = [], accessLogs = [] } = connect ?? {};
  if (readsServerName(authorization)) return "a policy asks for the server name, which no CONNECT has";
  const rbac = compileRbac(authorization);
  if (!rbac.ok) return rbac.error;
  const { log, problems } = compileLogs(accessLogs, options);
  return {
    rbac: authorization.length === 0 ? undefined : rbac.rbac,
    log,
    problems: problems.map((problem) => `CONNECT: ${problem}`),
  };
}

function problemsOf(chain: CompiledChain): string[] {
  const problems = [...chain.telemetryProblems];
  if (chain.kind === "http") {
    for (const { route, reason, effect } of chain.routes.problems) {
      problems.push(`${route} ${effect === "answers-500" ? "answers 500" : "never matches"}: ${reason}`);
    }
  }
  return problems.map((problem) => `chain ${chain.chain.name}: ${problem}`);
}

/** Telemetry that cannot be done is left out and told: it is no reason to refuse traffic or a configuration. */
function compileTelemetry(chain: Chain, options: CompileOptions) {
  const { log, problems } = compileLogs(chain.telemetry.accessLogs, options);
  let metrics = options.metrics.chain(chain.telemetry.metrics);
  if (!metrics.ok) {
    problems.push(`the changes of its metrics are left out: ${metrics.error}`);
    metrics = options.metrics.chain({ overrides: [] });
  }
  return { metrics: metrics.ok ? metrics.format : undefined, problems, log };
}

function compileLogs(accessLogs: readonly AccessLog[], options: CompileOptions) {
  const problems: string[] = [];
  const logs: AccessLogWriter[] = [];
  for (const accessLog of accessLogs) {
    const compiled = compileAccessLogs([accessLog], options.outputs);
    if (compiled.ok) logs.push(compiled.format);
    else problems.push(`left out: ${compiled.error}`);
  }
  const log: AccessLogWriter = (info) => {
    for (const write of logs) write(info);
  };
  return { log, problems };
}

/** The text is an error. */
function compileChain(chain: Chain, options: CompileOptions): CompiledChain | string {
  const { metrics, problems, log } = compileTelemetry(chain, options);
  const rbac = compileRbac(chain.authorization);
  if (!rbac.ok) return rbac.error;
  const asksName = readsServerName(chain.authorization);
  try {
    const common: Compiled = {
      rbac: chain.authorization.length === 0 ? undefined : rbac.rbac,
      refusal: chain.kind === "http" && asksName
        ? "a policy asks for the server name, which HTTP has none of"
        : refusalOf(chain, options.unsupportedFilter),
      metrics,
      log,
      telemetryProblems: problems,
      record(info) {
        metrics?.record(info);
        log(info);
      },
    };
    return chain.kind === "tcp"
      ? { ...common, kind: "tcp", chain, readsServerName: asksName }
      : { ...common, kind: "http", chain, routes: new CompiledRoutes(chain.routes) };
  } catch (error) {
    return (error as Error).message;
  }
}

function refusalOf(chain: Chain, behaviour: CompileOptions["unsupportedFilter"]): string | undefined {
  const refused = chain.unsupported.filter(({ severity }) =>
    severity === "security" || severity === "behaviour" && behaviour === "fail"
  );
  if (refused.length === 0) return undefined;
  return `unsupported filter: ${refused.map(({ name }) => name).join(", ")}`;
}
