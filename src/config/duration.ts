/** Durations as ztunnel's environment writes them: `5m`, `1h30m`, `500ms`, `1m+30`; without a unit, seconds. */

/** Milliseconds of each unit. */
const UNITS: ReadonlyMap<string, number> = new Map([
  ["", 1000],
  ["ns", 1e-6],
  ["us", 1e-3],
  ["µs", 1e-3],
  ["ms", 1],
  ["s", 1000],
  ["sec", 1000],
  ["m", 60_000],
  ["min", 60_000],
  ["h", 3_600_000],
  ["hr", 3_600_000],
  ["d", 86_400_000],
  ["day", 86_400_000],
  ["w", 7 * 86_400_000],
]);
/**
 * The longest time that a timer of the runtime can be set to, ms: 24 days. Set to more it fires at once, so what asks for
 * more waits for so long.
 */
export const LONGEST_TIMER = 0x7fff_ffff;

const TERM = /\s*(\+?)\s*([0-9]+)\s*([a-zµ]*)/y;

/** Milliseconds, or undefined if the text is no duration. */
export function parseDuration(text: string): number | undefined {
  const trimmed = text.trim();
  let total = 0;
  TERM.lastIndex = 0;
  let at = 0;
  let unitless = false;
  while (at < trimmed.length) {
    const term = TERM.exec(trimmed);
    if (term === null) return undefined;
    const [, plus, digits, unit] = term;
    // A bare number may only be followed by `+`: "30 10s" is more likely a mistake than a sum.
    if (plus === "+" ? at === 0 : unitless) return undefined;
    const scale = UNITS.get(unit!);
    if (scale === undefined) return undefined;
    total += Number(digits) * scale;
    unitless = unit === "";
    at = TERM.lastIndex;
  }
  return at === 0 || !Number.isSafeInteger(Math.round(total)) ? undefined : total;
}
