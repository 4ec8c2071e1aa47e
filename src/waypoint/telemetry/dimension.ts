/**
 * Values of metric dimensions. Istio writes them in CEL; a string literal, an attribute or a header are read directly,
 * which gives the same and needs no library. Everything else is evaluated as CEL.
 */
import type { StreamInfo } from "../stream_info.ts";
import { valueText } from "./attribute_value.ts";
import { attributeNamed, requestHeader, responseHeader } from "./attributes.ts";
import { compileExpression, type Expression } from "./cel/mod.ts";
import type { Compiled } from "./format.ts";

/** The value as a label has it; undefined: there is none (an error in CEL). */
export type Dimension = (info: StreamInfo) => string | undefined;

/** 'x' or "x" without escapes. */
const LITERAL = /^(?:'([^'\\\n]*)'|"([^"\\\n]*)")$/;
const HEADER = /^(request|response)\.headers\[(?:'([^'\\\n]+)'|"([^"\\\n]+)")\]$/;

/** The expression without CEL; undefined: it is more than that. */
function directDimension(text: string): Dimension | undefined {
  const literal = LITERAL.exec(text);
  if (literal !== null) {
    const value = literal[1] ?? literal[2] ?? "";
    return () => value;
  }
  const header = HEADER.exec(text);
  if (header !== null) {
    const name = (header[2] ?? header[3] ?? "").toLowerCase();
    return header[1] === "request" ? requestHeader(name) : responseHeader(name);
  }
  const attribute = attributeNamed(text);
  if (attribute === undefined) return undefined;
  return (info) => {
    const value = attribute(info);
    return value === undefined ? undefined : valueText(value);
  };
}

/** Makes an expression ready, or says why it is none. */
export function compileDimension(expression: string): Compiled<Dimension> {
  const direct = directDimension(expression.trim());
  if (direct !== undefined) return { ok: true, format: direct };
  const compiled = compileExpression(expression);
  return compiled.ok ? { ok: true, format: (info) => compiled.format.text(info) } : compiled;
}

/** What there is to say of a dimension's expression beyond its syntax; undefined: it needs no CEL, and is right. */
export function inspectDimension(expression: string): Compiled<Expression> | undefined {
  return directDimension(expression.trim()) === undefined ? compileExpression(expression) : undefined;
}
