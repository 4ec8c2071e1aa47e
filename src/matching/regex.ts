/** Regular expressions of the configuration: RE2 syntax and RE2's linear time, by re2js. */
import { MatchError } from "./match_error.ts";
import { isAscii, octetsOf, textOf } from "./octets.ts";

/** What is used of re2js. */
interface Compiled {
  testExact(text: string): boolean;
  groupCount(): number;
  matcher(text: string): {
    find(): boolean;
    start(): number;
    end(): number;
    group(index: number): string | null;
  };
}

/**
 * re2js costs the process 9 MB as soon as it is evaluated, so that happens with the first pattern; `require` does it
 * without an await, which lets everything that compiles matchers stay synchronous.
 */
function compile(pattern: string): Compiled {
  const { RE2JS } = require("re2js") as typeof import("re2js");
  return RE2JS.compile(pattern);
}

/** Text with `\1` for the first group: RE2's rewrite syntax, read once. Strings are literal, numbers are groups. */
export type Substitution = readonly (string | number)[];

export class Regex {
  readonly pattern: string;
  readonly #compiled: Compiled;
  /** The pattern speaks of characters beyond ASCII: what is compared is decoded before. */
  readonly #unicode: boolean;

  /** @throws MatchError */
  constructor(pattern: string) {
    this.pattern = pattern;
    this.#unicode = !isAscii(pattern);
    try {
      this.#compiled = compile(pattern);
    } catch (error) {
      throw new MatchError("regex", pattern, error instanceof Error ? error.message : String(error));
    }
  }

  /** Whether the whole text matches (RE2::FullMatch). */
  test(text: string): boolean {
    return this.#compiled.testExact(this.#unicode ? textOf(text) : text);
  }

  /**
   * Reads a substitution (`\0` to `\9`, `\\`).
   * @throws MatchError when it is malformed or names a group that the pattern does not have.
   */
  substitution(text: string): Substitution {
    const parts: (string | number)[] = [];
    const groups = this.#compiled.groupCount();
    let literal = "";
    for (let i = 0; i < text.length; i++) {
      const character = text[i]!;
      if (character !== "\\") {
        literal += character;
        continue;
      }
      const next = text[++i];
      if (next === "\\") {
        literal += "\\";
      } else if (next !== undefined && next >= "0" && next <= "9") {
        const group = Number(next);
        if (group > groups) {
          throw new MatchError("substitution", text, `\\${next} is not one of the ${groups} groups of ${this.pattern}`);
        }
        if (literal !== "") parts.push(octetsOf(literal));
        parts.push(group);
        literal = "";
      } else {
        throw new MatchError("substitution", text, "a backslash must be followed by a digit or a backslash");
      }
    }
    if (literal !== "") parts.push(octetsOf(literal));
    return parts;
  }

  /** Replaces all that matches (RE2::GlobalReplace: no empty match right after another match). */
  replaceAll(text: string, substitution: Substitution): string {
    const subject = this.#unicode ? textOf(text) : text;
    const matcher = this.#compiled.matcher(subject);
    let result = "";
    let done = 0;
    let lastEnd = -1;
    while (matcher.find()) {
      const start = matcher.start();
      const end = matcher.end();
      if (start === end && start === lastEnd) continue;
      result += this.#octets(subject.slice(done, start));
      for (const part of substitution) {
        result += typeof part === "string" ? part : this.#octets(matcher.group(part) ?? "");
      }
      done = lastEnd = end;
    }
    return done === 0 && lastEnd < 0 ? text : result + this.#octets(subject.slice(done));
  }

  #octets(text: string): string {
    return this.#unicode ? octetsOf(text) : text;
  }
}

/**
 * One object for each pattern while anything uses it: routes and policies repeat patterns, each costs 10 to 25 KB, and a
 * new snapshot mostly brings the old ones again.
 */
const known = new Map<string, WeakRef<Regex>>();
let sweepAt = 256;

/** @throws MatchError */
export function regexOf(pattern: string): Regex {
  const found = known.get(pattern)?.deref();
  if (found !== undefined) return found;
  const regex = new Regex(pattern);
  known.set(pattern, new WeakRef(regex));
  if (known.size >= sweepAt) {
    for (const [key, ref] of known) if (ref.deref() === undefined) known.delete(key);
    sweepAt = Math.max(256, known.size * 2);
  }
  return regex;
}

const META = "\\.+*?()|[]{}^$";

/**
 * A text that everything which matches begins with; empty when there is none or it cannot be told simply. For indexes:
 * a cheap condition that is looked up before the expression is tried.
 */
export function literalPrefix(pattern: string): string {
  const from = pattern.startsWith("^") ? 1 : 0;
  let end = from;
  while (end < pattern.length && !META.includes(pattern[end]!) && pattern.charCodeAt(end) < 0x80) end++;
  // A quantifier takes the character before it away from what is certain; `+` does not.
  const next = pattern[end];
  if (end > from && (next === "*" || next === "?" || next === "{")) end--;
  return mayAlternate(pattern) ? "" : pattern.slice(from, end);
}

/** Whether there may be a `|` outside of every group, which gives each alternative a start of its own. */
function mayAlternate(pattern: string): boolean {
  if (!pattern.includes("|")) return false;
  // Quotations and named classes can hide brackets; they are rare.
  if (pattern.includes("\\Q") || pattern.includes("[:")) return true;
  let depth = 0;
  for (let i = 0; i < pattern.length; i++) {
    switch (pattern[i]) {
      case "\\":
        i++;
        break;
      case "(":
        depth++;
        break;
      case ")":
        depth--;
        break;
      case "[":
        i = classEnd(pattern, i);
        break;
      case "|":
        if (depth <= 0) return true;
    }
  }
  return false;
}

/** Index of the bracket that ends the class which begins at `open`; one right at the start belongs to the class. */
function classEnd(pattern: string, open: number): number {
  let i = open + 1;
  if (pattern[i] === "^") i++;
  if (pattern[i] === "]") i++;
  while (i < pattern.length && pattern[i] !== "]") i += pattern[i] === "\\" ? 2 : 1;
  return i;
}
