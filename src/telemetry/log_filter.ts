/** Levels of detail from none to all; a line passes when its level's rank is at most the threshold's. */
export const LEVEL_RANK = { off: 0, error: 1, warn: 2, info: 3, debug: 4, trace: 5 } as const;
export type Threshold = keyof typeof LEVEL_RANK;
export type Level = Exclude<Threshold, "off">;

const THRESHOLDS = Object.keys(LEVEL_RANK) as Threshold[];

interface Directive {
  /** Prefix of the scopes meant; undefined means every scope. */
  readonly target: string | undefined;
  readonly threshold: Threshold;
}

function parseThreshold(text: string): Threshold | undefined {
  const lower = text.toLowerCase();
  return THRESHOLDS.find((name, rank) => name === lower || String(rank) === text);
}

function parseDirective(text: string): Directive | string {
  const parts = text.split("=");
  if (parts.length > 2) return `'${text}': more than one '='`;
  const [first = "", second] = parts;
  if (second === undefined) {
    const threshold = parseThreshold(first);
    return threshold === undefined ? { target: first, threshold: "trace" } : { target: undefined, threshold };
  }
  if (first === "") return `'${text}': the scope before '=' is empty`;
  const threshold = parseThreshold(second);
  return threshold === undefined ? `'${text}': '${second}' is not a level` : { target: first, threshold };
}

/** Longer targets are more specific and come first; equal lengths in reverse alphabetical order, as RUST_LOG tools print. */
function bySpecificity(a: Directive, b: Directive): number {
  const length = (b.target?.length ?? -1) - (a.target?.length ?? -1);
  if (length !== 0) return length;
  const [left, right] = [a.target ?? "", b.target ?? ""];
  return left < right ? 1 : left > right ? -1 : 0;
}

/** Which scopes log at which level: RUST_LOG's `level` and `scope=level` directives, immutable. */
export class LogFilter {
  readonly #directives: readonly Directive[];

  private constructor(directives: readonly Directive[]) {
    this.#directives = directives;
  }

  /** Comma list of `level`, `scope` (= trace) and `scope=level`; of equal scopes the last one counts. A string is the reason of refusal. */
  static parse(text: string): LogFilter | string {
    const byTarget = new Map<string | undefined, Directive>();
    for (const part of text.split(",")) {
      const trimmed = part.trim();
      if (trimmed === "") continue;
      const directive = parseDirective(trimmed);
      if (typeof directive === "string") return directive;
      byTarget.set(directive.target, directive);
    }
    return new LogFilter([...byTarget.values()].sort(bySpecificity));
  }

  /** The threshold of a scope: that of the longest directive that is a prefix of it; `off` when none is. */
  threshold(scope: string): Threshold {
    for (const { target, threshold } of this.#directives) {
      if (target === undefined || scope.startsWith(target)) return threshold;
    }
    return "off";
  }

  toString(): string {
    return this.#directives
      .map(({ target, threshold }) => (target === undefined ? threshold : `${target}=${threshold}`))
      .join(",");
  }
}
