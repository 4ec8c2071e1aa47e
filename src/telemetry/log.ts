import process from "node:process";
import { nowMicroseconds, rfc3339 } from "./clock.ts";
import { GatheredSink } from "./gathered_sink.ts";
import { type Level, LEVEL_RANK, LogFilter } from "./log_filter.ts";
import { type Field, formatFields, formatLine, type LogFormat, type Span } from "./log_format.ts";
import { DescriptorSink, type LogSink } from "./log_sink.ts";

/** Always in front of RUST_LOG, as in the original, so that `/logging` prints the same. */
const BASE_DIRECTIVES = "hickory_server::server=off";
const NO_SPANS: readonly Span[] = [];

/**
 * One source of lines, e.g. `ztunnel::proxy::outbound` (the full name; plain lines leave `ztunnel::` out).
 * Get it once with `log.scope(name)`. Where building fields costs something on a hot path, ask `enabled` first.
 */
export class LogScope {
  readonly name: string;
  readonly #logger: Logger;
  /** Rank of the most detailed level that is written now; kept by the logger. */
  threshold: number;

  constructor(logger: Logger, name: string, threshold: number) {
    this.#logger = logger;
    this.name = name;
    this.threshold = threshold;
  }

  enabled(level: Level): boolean {
    return LEVEL_RANK[level] <= this.threshold;
  }
  error(message: string, fields?: readonly Field[], spans?: readonly Span[]): void {
    if (this.threshold >= 1) this.#logger.write(this.name, "error", message, fields, spans);
  }
  warn(message: string, fields?: readonly Field[], spans?: readonly Span[]): void {
    if (this.threshold >= 2) this.#logger.write(this.name, "warn", message, fields, spans);
  }
  info(message: string, fields?: readonly Field[], spans?: readonly Span[]): void {
    if (this.threshold >= 3) this.#logger.write(this.name, "info", message, fields, spans);
  }
  debug(message: string, fields?: readonly Field[], spans?: readonly Span[]): void {
    if (this.threshold >= 4) this.#logger.write(this.name, "debug", message, fields, spans);
  }
  trace(message: string, fields?: readonly Field[], spans?: readonly Span[]): void {
    if (this.threshold >= 5) this.#logger.write(this.name, "trace", message, fields, spans);
  }
}

export interface LoggerOptions {
  /** Comma list of directives as in RUST_LOG; default `info`. */
  readonly directives?: string;
  readonly format?: LogFormat;
}

/**
 * The process' log: levels by scope that can be changed while it runs, lines as istio's ztunnel writes them.
 * None is lost, not even at exit.
 */
export class Logger {
  readonly #scopes = new Map<string, LogScope>();
  #defaultFilter: LogFilter;
  #filter: LogFilter;
  #format: LogFormat = "plain";
  readonly #sink: LogSink;

  constructor(sink: LogSink) {
    this.#sink = sink;
    this.#defaultFilter = LogFilter.parse(`${BASE_DIRECTIVES},info`) as LogFilter;
    this.#filter = this.#defaultFilter;
  }

  get format(): LogFormat {
    return this.#format;
  }

  /** The current directives, as `/logging` shows them. */
  get filter(): string {
    return this.#filter.toString();
  }

  /** Sets what start-up decides. Returns the reason when the directives are refused; then nothing has changed. */
  configure(options: LoggerOptions): string | undefined {
    const filter = LogFilter.parse(`${BASE_DIRECTIVES},${options.directives ?? "info"}`);
    if (typeof filter === "string") return filter;
    this.#format = options.format ?? this.#format;
    this.#defaultFilter = filter;
    this.#apply(filter);
    return undefined;
  }

  /** Adds directives to the current ones, or to the default ones after a reset. Returns the reason when refused. */
  setLevels(directives: string, reset: boolean): string | undefined {
    const filter = LogFilter.parse(`${reset ? this.#defaultFilter : this.#filter},${directives}`);
    if (typeof filter === "string") return filter;
    this.#apply(filter);
    return undefined;
  }

  scope(name: string): LogScope {
    let scope = this.#scopes.get(name);
    if (scope === undefined) {
      scope = new LogScope(this, name, LEVEL_RANK[this.#filter.threshold(name)]);
      this.#scopes.set(name, scope);
    }
    return scope;
  }

  error(scope: string, message: string, fields?: readonly Field[], spans?: readonly Span[]): void {
    this.scope(scope).error(message, fields, spans);
  }
  warn(scope: string, message: string, fields?: readonly Field[], spans?: readonly Span[]): void {
    this.scope(scope).warn(message, fields, spans);
  }
  info(scope: string, message: string, fields?: readonly Field[], spans?: readonly Span[]): void {
    this.scope(scope).info(message, fields, spans);
  }
  debug(scope: string, message: string, fields?: readonly Field[], spans?: readonly Span[]): void {
    this.scope(scope).debug(message, fields, spans);
  }
  trace(scope: string, message: string, fields?: readonly Field[], spans?: readonly Span[]): void {
    this.scope(scope).trace(message, fields, spans);
  }

  /** Writes a line whatever the levels say; callers are the scopes, which have asked before. */
  write(scope: string, level: Level, message: string, fields: readonly Field[] = [], spans = NO_SPANS): void {
    this.writeFormatted(scope, level, message, formatFields(this.#format, fields), spans);
  }

  /** As write, with fields that are formatted already (for lines whose fields are mostly the same each time). */
  writeFormatted(scope: string, level: Level, message: string, fields: string, spans = NO_SPANS): void {
    this.#sink.write(formatLine(this.#format, rfc3339(nowMicroseconds()), level, scope, message, fields, spans), 1);
  }

  /** Returns when every line is with the system; blocks on a slow reader. */
  flush(): void {
    this.#sink.flush();
  }

  #apply(filter: LogFilter): void {
    this.#filter = filter;
    for (const scope of this.#scopes.values()) scope.threshold = LEVEL_RANK[filter.threshold(scope.name)];
  }
}

/** Standard output, for whole lines of all who write there. */
export const standardOutput: LogSink = new GatheredSink(new DescriptorSink(1));
/** The log of this process, on its standard output. */
export const log: Logger = new Logger(standardOutput);
process.on("exit", () => log.flush());
