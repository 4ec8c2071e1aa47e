/** Which requests an access log shows: envoy.config.accesslog.v3.AccessLogFilter. */
import type { AccessLogFilter } from "../snapshot/mod.ts";
import type { StreamInfo } from "../stream_info.ts";
import { compileExpression, type Expression } from "./cel/mod.ts";
import type { Compiled } from "./format.ts";

export type LogPredicate = (info: StreamInfo) => boolean;

type Comparison = "GE" | "EQ" | "LE";

function compare(op: Comparison, left: number, right: number): boolean {
  switch (op) {
    case "GE":
      return left >= right;
    case "EQ":
      return left === right;
    case "LE":
      return left <= right;
  }
}

/** Whole ms, of a stream that still runs up to now. */
function durationOf(info: StreamInfo): number {
  return Math.floor((info.endedAt === 0 ? performance.now() : info.endedAt) - info.startedAt);
}

/** The filter that most are, e.g. `response.code >= 400`. Without a code there is no comparison and no line. */
const CODE = /^response\.code\s*(>=|<=|==|!=|>|<)\s*(\d{1,9})$/;

function directFilter(expression: string): LogPredicate | undefined {
  const [, operator, digits] = CODE.exec(expression.trim()) ?? [];
  if (operator === undefined) return undefined;
  const value = Number(digits);
  const holds = (test: (code: number) => boolean): LogPredicate => ({ responseCode }) =>
    responseCode !== 0 && test(responseCode);
  switch (operator) {
    case ">=":
      return holds((code) => code >= value);
    case "<=":
      return holds((code) => code <= value);
    case "==":
      return holds((code) => code === value);
    case "!=":
      return holds((code) => code !== value);
    case ">":
      return holds((code) => code > value);
    default:
      return holds((code) => code < value);
  }
}

/** What is no bool, and what is an error, shows nothing. */
function compileCel(expression: string): Compiled<LogPredicate> {
  const direct = directFilter(expression);
  if (direct !== undefined) return { ok: true, format: direct };
  const compiled = compileExpression(expression);
  return compiled.ok ? { ok: true, format: (info) => compiled.format.test(info) } : compiled;
}

/** What there is to say of a filter's expression beyond its syntax; undefined: it needs no CEL, and is right. */
export function inspectLogExpression(expression: string): Compiled<Expression> | undefined {
  return directFilter(expression) === undefined ? compileExpression(expression) : undefined;
}

/** Refuses expressions that are no CEL, by the filter that has them. */
export function compileLogFilter(filter: AccessLogFilter): Compiled<LogPredicate> {
  switch (filter.kind) {
    case "status":
      return { ok: true, format: (info) => compare(filter.op, info.responseCode, filter.value) };
    case "duration":
      return { ok: true, format: (info) => compare(filter.op, durationOf(info), filter.value) };
    case "response-flag": {
      const wanted = new Set<string>(filter.flags);
      if (wanted.size === 0) return { ok: true, format: (info) => info.flags.length > 0 };
      return { ok: true, format: (info) => info.flags.some((flag) => wanted.has(flag)) };
    }
    case "not-health-check":
      // Only Envoy's health check filter marks requests so, and a waypoint has none.
      return { ok: true, format: () => true };
    case "and":
    case "or": {
      const predicates: LogPredicate[] = [];
      for (const [index, part] of filter.filters.entries()) {
        const compiled = compileLogFilter(part);
        if (!compiled.ok) return { ok: false, error: `${filter.kind} filters[${index}]: ${compiled.error}` };
        predicates.push(compiled.format);
      }
      return {
        ok: true,
        format: filter.kind === "and"
          ? (info) => predicates.every((predicate) => predicate(info))
          : (info) => predicates.some((predicate) => predicate(info)),
      };
    }
    case "cel":
      return compileCel(filter.expression);
  }
}
