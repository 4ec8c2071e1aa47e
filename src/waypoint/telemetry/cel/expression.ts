/** Expressions of the Common Expression Language (github.com/google/cel-spec) over Envoy's attributes. */
import type { StreamInfo } from "../../stream_info.ts";
import type { Compiled } from "../format.ts";
import type { FormatValue } from "../operators.ts";
import type { PatternCompiler } from "./program.ts";

/**
 * An expression made ready. Whatever goes wrong in an evaluation — an attribute without a value, operands that do not
 * fit — is no more than a missing result.
 */
export interface Expression {
  /** Attributes of Envoy that it names and that this version does not know: they never have a value. */
  readonly absent: readonly string[];
  /** What it names and is no attribute at all. Envoy takes it, and it never has a value. */
  readonly unknown: readonly string[];
  /** Whether the result is true; false for any other result and for errors. */
  test(info: StreamInfo): boolean;
  /** The result as Envoy prints it; undefined: an error. */
  text(info: StreamInfo): string | undefined;
  /** The result with its type; null: an error, or null. */
  json(info: StreamInfo): FormatValue;
}

/** More than anyone writes; parsing takes some 5 µs for each character. */
const MAX_LENGTH = 4096;

/** Patterns of constants are few; those that requests bring must not fill the memory. */
const MAX_PATTERNS = 256;
const patterns = new Map<string, ReturnType<PatternCompiler>>();

const compilePattern: PatternCompiler = (text) => {
  let pattern = patterns.get(text);
  if (pattern === undefined) {
    const { RE2JS } = require("re2js") as typeof import("re2js");
    const compiled = RE2JS.compile(text);
    pattern = { test: (subject) => compiled.matcher(subject).find() };
    if (patterns.size >= MAX_PATTERNS) patterns.clear();
    patterns.set(text, pattern);
  }
  return pattern;
};

let compileProgram: ((text: string) => Compiled<Expression>) | undefined;

/** Without an await, so that everything that compiles telemetry stays synchronous. */
function loadCompiler(): (text: string) => Compiled<Expression> {
  const program = require(Bun.fileURLToPath(new URL("./program.ts", import.meta.url))) as typeof import("./program.ts");
  return program.programCompiler(compilePattern);
}

/**
 * One object for each text while anything uses it: chains repeat expressions, and a new snapshot mostly brings the old
 * ones again.
 */
const known = new Map<string, WeakRef<Expression>>();
let sweepAt = 64;

/**
 * Refuses, with the expression and the reason: what does not parse, functions that there are not, macros that loop,
 * patterns of `matches` that are none. The library is loaded by the first call.
 */
export function compileExpression(text: string): Compiled<Expression> {
  const found = known.get(text)?.deref();
  if (found !== undefined) return { ok: true, format: found };
  if (text.length > MAX_LENGTH) {
    return { ok: false, error: `CEL expression "${text.slice(0, 60)}…": longer than ${MAX_LENGTH} characters` };
  }
  compileProgram ??= loadCompiler();
  const compiled = compileProgram(text);
  if (!compiled.ok) return { ok: false, error: `CEL expression "${text}": ${compiled.error}` };
  known.set(text, new WeakRef(compiled.format));
  if (known.size >= sweepAt) {
    for (const [key, ref] of known) if (ref.deref() === undefined) known.delete(key);
    sweepAt = Math.max(64, known.size * 2);
  }
  return compiled;
}
