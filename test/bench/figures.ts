/** Collecting figures: samples of several rounds, medians of them, and what limits say about the medians. */

/** Name of a figure within a path, e.g. `requests.32.cpu.client`. */
export type FigureName = string;

/** Figures of the paths that are compared. */
export class Figures<Path extends string> {
  readonly #samples = new Map<Path, Map<FigureName, number[]>>();

  add(path: Path, figure: FigureName, value: number): void {
    const figures = this.#samples.get(path) ?? new Map<FigureName, number[]>();
    this.#samples.set(path, figures);
    const samples = figures.get(figure) ?? [];
    figures.set(figure, samples);
    samples.push(value);
  }

  /** Median of the rounds; undefined where it was not measured. */
  median(path: Path, figure: FigureName): number | undefined {
    const samples = this.#samples.get(path)?.get(figure);
    if (samples === undefined || samples.length === 0) return undefined;
    const sorted = samples.toSorted((a, b) => a - b);
    const middle = sorted.length >> 1;
    const high = sorted[middle] ?? 0;
    return sorted.length % 2 === 1 ? high : ((sorted[middle - 1] ?? high) + high) / 2;
  }

  samples(path: Path, figure: FigureName): readonly number[] {
    return this.#samples.get(path)?.get(figure) ?? [];
  }

  toJSON(): Record<string, Record<string, { median: number; samples: readonly number[] }>> {
    const all: Record<string, Record<string, { median: number; samples: readonly number[] }>> = {};
    for (const [path, figures] of this.#samples) {
      const out: Record<string, { median: number; samples: readonly number[] }> = {};
      for (const [figure, samples] of figures) out[figure] = { median: this.median(path, figure) ?? 0, samples };
      all[path] = out;
    }
    return all;
  }
}

/** A limit on one path: absolute, or as a multiple of the figure of the path it is measured by, in the same run. */
export interface Limit {
  readonly figure: FigureName;
  readonly label: string;
  readonly most: number;
  readonly relative: boolean;
  readonly unit: string;
}

export interface Judgement {
  readonly limit: Limit;
  /** Figure of the path it is measured by. */
  readonly yardstick: number | undefined;
  readonly own: number;
  /** What is compared with the limit: the ratio or the figure itself. */
  readonly value: number;
  readonly pass: boolean;
}

/** Of what it was before: the noise of a machine that does nothing else, and no more. */
const WORSE = 1.1;

/** The same figures, none of which may have become worse. */
export function noWorse(limits: readonly Limit[]): Limit[] {
  return limits.map((limit) => ({ ...limit, most: WORSE, relative: true }));
}

/** What the limits say where both paths were measured. */
export function judge<Path extends string>(
  figures: Figures<Path>,
  limits: readonly Limit[],
  paths: { readonly own: Path; readonly yardstick: Path },
): Judgement[] {
  const judgements: Judgement[] = [];
  for (const limit of limits) {
    const own = figures.median(paths.own, limit.figure);
    const yardstick = figures.median(paths.yardstick, limit.figure);
    if (own === undefined || (limit.relative && yardstick === undefined)) continue;
    const value = limit.relative ? own / (yardstick ?? Number.NaN) : own;
    judgements.push({ limit, yardstick, own, value, pass: value <= limit.most });
  }
  return judgements;
}
