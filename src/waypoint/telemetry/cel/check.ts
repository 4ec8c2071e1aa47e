/** What of an expression can be judged before any stream is there. Throws CelSyntaxError for what can never be evaluated. */
import type { CelEnv, parse } from "@bufbuild/cel";
import { judgeName } from "./names.ts";

type Expr = NonNullable<ReturnType<typeof parse>["expr"]>;
type Kind<C> = Extract<Expr["exprKind"], { case: C }> extends { value: infer V } ? V : never;

/** The message says what is wrong, without the expression. */
export class CelSyntaxError extends Error {}

/** Attributes that an expression names and that never have a value. */
export interface NameReport {
  /** Attributes of Envoy that this version does not know. */
  readonly absent: Set<string>;
  /** Not attributes at all. */
  readonly unknown: Set<string>;
}

/** Operators that are not functions of the environment. */
const SYNTAX: ReadonlySet<string> = new Set(["_&&_", "_||_", "_?_:_", "_[_]"]);

const MESSAGES: ReadonlySet<string> = new Set(["google.protobuf.Timestamp", "google.protobuf.Duration"]);

const INT64_MAX = (1n << 63n) - 1n;
const UINT64_MAX = (1n << 64n) - 1n;

export function checkExpression(env: CelEnv, expr: Expr, checkPattern: (pattern: string) => void): NameReport {
  const report: NameReport = { absent: new Set(), unknown: new Set() };

  function name(root: string, member: string | undefined): void {
    const verdict = judgeName(root, member);
    if (verdict === "known") return;
    // Of a root that is not known itself the members say nothing more.
    const full = member === undefined || judgeName(root, undefined) !== "known" ? root : `${root}.${member}`;
    report[verdict].add(full);
  }

  /** `root.member` and `root['member']` are one name. */
  function member(operand: Expr | undefined, field: string): void {
    if (operand?.exprKind.case === "identExpr") name(operand.exprKind.value.name, field);
    else if (operand !== undefined) visit(operand);
  }

  function call({ function: called, target, args }: Kind<"callExpr">): void {
    if (called === "_[_]") {
      const key = constantText(args[1]);
      if (key !== undefined) return member(args[0], key);
    }
    if (!SYNTAX.has(called) && env.funcs.find(called) === undefined) {
      throw new CelSyntaxError(
        called === "has" ? "has() needs a field as in has(request.referer)" : `there is no function ${called}`,
      );
    }
    if (called === "matches") {
      const pattern = constantText(args[args.length - 1]);
      if (pattern !== undefined) checkPattern(pattern);
    }
    if (target !== undefined) visit(target);
    for (const argument of args) visit(argument);
  }

  function struct({ messageName, entries }: Kind<"structExpr">): void {
    if (messageName !== "" && !MESSAGES.has(messageName)) {
      throw new CelSyntaxError(`there is no message ${messageName}`);
    }
    for (const { keyKind, value } of entries) {
      if (keyKind.case === "mapKey") visit(keyKind.value);
      if (value !== undefined) visit(value);
    }
  }

  function constant({ constantKind: { case: kind, value } }: Kind<"constExpr">): void {
    const fits = kind === "int64Value"
      ? value <= INT64_MAX && value >= -INT64_MAX - 1n
      : kind !== "uint64Value" || value <= UINT64_MAX;
    if (!fits) throw new CelSyntaxError(`${value} is no integer of 64 bits`);
  }

  function visit({ exprKind: kind }: Expr): void {
    switch (kind.case) {
      case "identExpr":
        return name(kind.value.name, undefined);
      case "selectExpr":
        return member(kind.value.operand, kind.value.field);
      case "callExpr":
        return call(kind.value);
      case "listExpr":
        return kind.value.elements.forEach(visit);
      case "structExpr":
        return struct(kind.value);
      case "constExpr":
        return constant(kind.value);
      case "comprehensionExpr":
        // Envoy refuses them too: what one expression may cost stays bounded by its length.
        throw new CelSyntaxError("macros that go through lists and maps (all, exists, map, filter) are not supported");
    }
  }

  visit(expr);
  return report;
}

function constantText(expr: Expr | undefined): string | undefined {
  if (expr?.exprKind.case !== "constExpr") return undefined;
  const { constantKind } = expr.exprKind.value;
  return constantKind.case === "stringValue" ? constantKind.value : undefined;
}
