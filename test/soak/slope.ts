/** How fast something grows, whatever single readings say: the slope of Theil and Sen with its interval. */

export interface Point {
  /** Hours since the start. */
  readonly at: number;
  readonly value: number;
}

export interface Slope {
  /** Median of the slopes of all pairs of points, per hour. */
  readonly perHour: number;
  /** Ends of the interval that holds the true slope in 95 of 100 cases (Sen 1968), per hour. */
  readonly least: number;
  readonly most: number;
}

/** Quantile of the normal distribution for 95 %, both sides. */
const Z95 = 1.96;
/** More pairs than of so many points tell nothing new. */
const MOST_POINTS = 400;

/** Undefined for fewer than three points: two always lie on a line. */
export function slopeOf(points: readonly Point[]): Slope | undefined {
  const step = Math.ceil(points.length / MOST_POINTS);
  const used = step <= 1 ? points : points.filter((_, index) => index % step === 0);
  const count = used.length;
  if (count < 3) return undefined;
  const slopes: number[] = [];
  for (let i = 0; i < count; i++) {
    for (let j = i + 1; j < count; j++) {
      const [first, second] = [used[i] as Point, used[j] as Point];
      if (second.at !== first.at) slopes.push((second.value - first.value) / (second.at - first.at));
    }
  }
  slopes.sort((a, b) => a - b);
  // Of Kendall's statistic, without ties: they only make the interval narrower.
  const deviation = Math.sqrt(count * (count - 1) * (2 * count + 5) / 18);
  const at = (rank: number) => slopes[Math.min(slopes.length - 1, Math.max(0, rank))] ?? 0;
  return {
    perHour: median(slopes),
    least: at(Math.floor((slopes.length - Z95 * deviation) / 2)),
    most: at(Math.ceil((slopes.length + Z95 * deviation) / 2)),
  };
}

/** Of sorted values; 0 of none. */
function median(sorted: readonly number[]): number {
  const middle = sorted.length >> 1;
  const high = sorted[middle] ?? 0;
  return sorted.length % 2 === 1 ? high : ((sorted[middle - 1] ?? high) + high) / 2;
}
