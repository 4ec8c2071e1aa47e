/**
 * Expressions made ready by the CEL library. This module costs a process 14 MB as soon as it is evaluated: only
 * `expression.ts` loads it, and only for an expression that needs it.
 */
import { celEnv, type CelResult, isCelError, parse, plan } from "@bufbuild/cel";
import type { StreamInfo } from "../../stream_info.ts";
import type { FormatValue } from "../operators.ts";
import { BINDINGS, withStream } from "./bindings.ts";
import { CelSyntaxError, checkExpression } from "./check.ts";
import type { Expression } from "./expression.ts";
import { resultJson, resultText } from "./result.ts";

/** What is used of re2js: the library's own engine compiles a pattern for each call. */
interface Pattern {
  matcher(text: string): { find(): boolean };
}

/** Patterns of constants are few; those that a request brings must not fill the memory. */
const MAX_PATTERNS = 256;
const patterns = new Map<string, Pattern>();

/** Throws re2js's errors. */
function patternOf(text: string): Pattern {
  let pattern = patterns.get(text);
  if (pattern === undefined) {
    const { RE2JS } = require("re2js") as typeof import("re2js");
    pattern = RE2JS.compile(text) as Pattern;
    if (patterns.size >= MAX_PATTERNS) patterns.clear();
    patterns.set(text, pattern);
  }
  return pattern;
}

function checkPattern(text: string): void {
  try {
    patternOf(text);
  } catch (error) {
    throw new CelSyntaxError(`matches("${text}"): ${(error as Error).message}`);
  }
}

const env = celEnv({
  re2: {
    compile: (text) => {
      const pattern = patternOf(text);
      return { test: (subject) => pattern.matcher(subject).find() };
    },
  },
});

/** The parser's message begins with a name of the input that says nothing. */
function syntaxError(error: unknown): CelSyntaxError {
  const message = error instanceof Error ? error.message : String(error);
  const place = /^<input>:(\d+):(\d+): (.*)$/s.exec(message);
  if (place === null) return new CelSyntaxError(message);
  const [, line, column, text = ""] = place;
  // What could stand instead is nearly the whole grammar where a value is missing.
  const short = text.length > 100 ? text.replace(/ but expecting .*$/s, "") : text;
  return new CelSyntaxError(`syntax error at ${line === "1" ? `character ${column}` : `${line}:${column}`}: ${short}`);
}

function parsed(text: string): ReturnType<typeof parse>["expr"] {
  try {
    // A comment ends with its line.
    return parse(text.includes("//") ? `${text}\n` : text).expr;
  } catch (error) {
    throw syntaxError(error);
  }
}

class Program implements Expression {
  readonly absent: readonly string[];
  readonly unknown: readonly string[];
  readonly #plan: (bindings: typeof BINDINGS) => CelResult;

  constructor(text: string) {
    const expr = parsed(text);
    const names = checkExpression(env, expr, checkPattern);
    this.absent = [...names.absent];
    this.unknown = [...names.unknown];
    this.#plan = plan(env, expr) as (bindings: typeof BINDINGS) => CelResult;
  }

  test(info: StreamInfo): boolean {
    return withStream(info, () => this.#plan(BINDINGS) === true);
  }

  text(info: StreamInfo): string | undefined {
    return withStream(info, () => {
      const result = this.#plan(BINDINGS);
      return isCelError(result) ? undefined : resultText(result);
    });
  }

  json(info: StreamInfo): FormatValue {
    return withStream(info, () => {
      const result = this.#plan(BINDINGS);
      return isCelError(result) ? null : resultJson(result);
    });
  }
}

/** Throws CelSyntaxError. */
export function compileProgram(text: string): Expression {
  return new Program(text);
}

export { CelSyntaxError };
