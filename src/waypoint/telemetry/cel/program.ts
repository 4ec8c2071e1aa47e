/**
 * Expressions made ready by the CEL library. Only `expression.ts` loads this module, when an expression needs it: it costs
 * the process 8 MB. In the executable it is a file of its own, which knows nothing of the modules outside but values.
 */
import { type CelEnv, celEnv, type CelResult, isCelError, parse, plan } from "@bufbuild/cel";
import type { StreamInfo } from "../../stream_info.ts";
import type { FormatValue } from "../operators.ts";
import { BINDINGS, withStream } from "./bindings.ts";
import type { Compiled } from "../format.ts";
import { CelSyntaxError, checkExpression } from "./check.ts";
import type { Expression } from "./expression.ts";
import { resultJson, resultText } from "./result.ts";

/** Makes a pattern of RE2 ready. Throws errors whose message says what is wrong with it. */
export type PatternCompiler = (pattern: string) => { test(text: string): boolean };

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

  /** Throws CelSyntaxError. */
  constructor(text: string, env: CelEnv, checkPattern: (pattern: string) => void) {
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

/**
 * What compiles expressions; the error is the reason alone.
 * @param compilePattern for `matches`; the library's own engine would compile a pattern again for each call.
 */
export function programCompiler(compilePattern: PatternCompiler): (text: string) => Compiled<Expression> {
  const env = celEnv({ re2: { compile: compilePattern } });
  const checkPattern = (pattern: string) => {
    try {
      compilePattern(pattern);
    } catch (error) {
      throw new CelSyntaxError(`matches("${pattern}"): ${(error as Error).message}`);
    }
  };
  return (text) => {
    try {
      return { ok: true, format: new Program(text, env, checkPattern) };
    } catch (error) {
      if (error instanceof CelSyntaxError) return { ok: false, error: error.message };
      throw error;
    }
  };
}
