// Wall-clock time with microseconds. Date.now() has milliseconds only and performance.now() does not follow
// adjustments of the clock, so the second refines the first and is set right whenever the two disagree.

let offset = Date.now() - performance.now();
let cachedSecond = -1;
let cachedText = "";

/** Microseconds since the epoch. */
export function nowMicroseconds(): number {
  const milliseconds = Date.now();
  let refined = performance.now() + offset;
  if (refined < milliseconds || refined >= milliseconds + 1) {
    const wanted = refined < milliseconds ? milliseconds : milliseconds + 0.999;
    offset += wanted - refined;
    refined = wanted;
  }
  return Math.floor(refined * 1000);
}

/** RFC 3339 in UTC with six fractional digits, e.g. `2026-11-21T08:34:22.000123Z`. */
export function rfc3339(microseconds: number): string {
  const second = Math.floor(microseconds / 1e6);
  if (second !== cachedSecond) {
    cachedSecond = second;
    cachedText = new Date(second * 1000).toISOString().slice(0, 20);
  }
  return `${cachedText}${String(microseconds - second * 1e6).padStart(6, "0")}Z`;
}
