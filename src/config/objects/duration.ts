/** Durations as Go writes them: in Gateway API (GEP-2257) and in Istio's protobuf JSON. */

const UNITS: Readonly<Record<string, number>> = { h: 3_600_000, m: 60_000, s: 1000, ms: 1, us: 1e-3, ns: 1e-6 };
const PART = /([0-9]+(?:\.[0-9]+)?)(h|ms|m|s|us|ns)/y;

/** `1m30s`, `2.5s`, `0s`, `0` in whole milliseconds, what is less than one counted as one; undefined: no duration. */
export function parseDuration(text: string): number | undefined {
  if (text === "0") return 0;
  let ms = 0;
  let at = 0;
  while (at < text.length) {
    PART.lastIndex = at;
    const part = PART.exec(text);
    if (part === null) return undefined;
    ms += Number(part[1]) * (UNITS[part[2]!] as number);
    at = PART.lastIndex;
  }
  return at === 0 || ms > Number.MAX_SAFE_INTEGER ? undefined : Math.ceil(ms);
}
