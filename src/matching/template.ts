/**
 * Path templates (envoy.path.match.uri_template): `{*}` or `*` is one segment that is not empty, `{**}` or `**` any
 * number of segments, empty ones too, but at least the slash before them. Variables are read as what they stand for:
 * `{id}` and `{id=*}` as `{*}`, `{rest=**}` as `{**}`.
 */
import { MatchError } from "./match_error.ts";
import { octetsOf } from "./octets.ts";
import type { TextPredicate } from "./text.ts";

type Segment = string | typeof ONE | typeof MANY;

const ONE = Symbol("{*}");
const MANY = Symbol("{**}");

export interface Template {
  readonly test: TextPredicate;
  /** Text before the first operator. */
  readonly literal: string;
}

/** @throws MatchError */
export function compileTemplate(template: string): Template {
  if (!template.startsWith("/")) throw new MatchError("path template", template, "it does not begin with /");
  const segments = template.slice(1).split("/").map((text) => segmentOf(text, template));
  let literal = "";
  for (const segment of segments) {
    if (typeof segment !== "string") return { test: (path) => matches(segments, path), literal: `${literal}/` };
    literal += `/${segment}`;
  }
  const whole = literal;
  return { test: (path) => path === whole, literal };
}

function segmentOf(text: string, template: string): Segment {
  if (text === "*") return ONE;
  if (text === "**") return MANY;
  if (text.startsWith("{") && text.endsWith("}")) {
    const inner = text.slice(1, -1);
    const equals = inner.indexOf("=");
    const glob = equals < 0 ? inner : inner.slice(equals + 1);
    if (glob === "**") return MANY;
    const variable = equals < 0 ? inner : inner.slice(0, equals);
    const named = variable !== "" && !"{}*".includes(variable[0]!) && !/[{}*=]/.test(variable);
    if (inner === "*" || (named && (equals < 0 || glob === "*"))) return ONE;
    throw new MatchError("path template", template, `${text} is not {*}, {**} or a variable of one of them`);
  }
  if (/[*{}]/.test(text)) {
    throw new MatchError("path template", template, `an operator must be a whole segment, not part of ${text}`);
  }
  return octetsOf(text);
}

/** Segment by segment; on a mismatch the last {**} takes one segment more, which is enough for any number of them. */
function matches(segments: readonly Segment[], path: string): boolean {
  if (path.charCodeAt(0) !== 0x2f) return false;
  let start = 1;
  let index = 0;
  let many = -1;
  let manyEnd = -1;
  for (;;) {
    const slash = start > path.length ? -1 : path.indexOf("/", start);
    const end = slash < 0 ? path.length : slash;
    const over = start > path.length;
    if (over && index === segments.length) return true;
    const segment = segments[index];
    if (!over && segment === MANY) {
      many = index++;
      manyEnd = start = end + 1;
      continue;
    }
    if (
      !over && segment !== undefined &&
      (segment === ONE
        ? end > start
        : end - start === (segment as string).length && path.startsWith(segment as string, start))
    ) {
      index++;
      start = end + 1;
      continue;
    }
    if (many < 0 || manyEnd > path.length) return false;
    const next = path.indexOf("/", manyEnd);
    manyEnd = next < 0 ? path.length + 1 : next + 1;
    start = manyEnd;
    index = many + 1;
  }
}
