/** Collecting figures: samples of several rounds, medians of them, and what the limits say about the medians. */
import type { PathName } from "./path.ts";

/** Name of a figure within a path, e.g. `requests.32.cpu.client`. */
export type FigureName = string;

export class Figures {
  readonly #samples = new Map<PathName, Map<FigureName, number[]>>();

  add(path: PathName, figure: FigureName, value: number): void {
    const figures = this.#samples.get(path) ?? new Map<FigureName, number[]>();
    this.#samples.set(path, figures);
    const samples = figures.get(figure) ?? [];
    figures.set(figure, samples);
    samples.push(value);
  }

  /** Median of the rounds; undefined where it was not measured. */
  median(path: PathName, figure: FigureName): number | undefined {
    const samples = this.#samples.get(path)?.get(figure);
    if (samples === undefined || samples.length === 0) return undefined;
    const sorted = samples.toSorted((a, b) => a - b);
    const middle = sorted.length >> 1;
    const high = sorted[middle] ?? 0;
    return sorted.length % 2 === 1 ? high : ((sorted[middle - 1] ?? high) + high) / 2;
  }

  samples(path: PathName, figure: FigureName): readonly number[] {
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

export const SIDES = ["client", "server"] as const;
export const CONNECTIONS = [1, 32, 256] as const;
export const DIRECTIONS = ["up", "down"] as const;
export const STREAMS = [1, 4] as const;

/** A limit on the ambient path: absolute, or as a multiple of the relay's figure in the same run. */
export interface Limit {
  readonly figure: FigureName;
  readonly label: string;
  readonly most: number;
  readonly relative: boolean;
  readonly unit: string;
}

const PER_REQUEST: Readonly<Record<number, number>> = { 1: 1.1, 32: 0.8, 256: 0.6 };

export const LIMITS: readonly Limit[] = [
  ...CONNECTIONS.flatMap((connections) =>
    SIDES.map((side): Limit => ({
      figure: `requests.${connections}.cpu.${side}`,
      label: `CPU per request, ${connections} connection${connections === 1 ? "" : "s"}, ${side}`,
      most: PER_REQUEST[connections] ?? 1,
      relative: true,
      unit: "µs",
    }))
  ),
  ...DIRECTIONS.flatMap((direction) =>
    STREAMS.flatMap((streams) =>
      SIDES.map((side): Limit => ({
        figure: `bulk.${direction}.${streams}.cpu.${side}`,
        label: `CPU per GB ${direction}, ${streams} stream${streams === 1 ? "" : "s"}, ${side}`,
        most: 1.1,
        relative: true,
        unit: "s",
      }))
    )
  ),
  ...SIDES.map((side): Limit => ({
    figure: `churn.cpu.${side}`,
    label: `CPU per new connection, ${side}`,
    most: 90,
    relative: false,
    unit: "µs",
  })),
  ...SIDES.map((side): Limit => ({
    figure: `held.memory.${side}`,
    label: `memory per held connection, ${side}`,
    most: 5.5,
    relative: false,
    unit: "KB",
  })),
  ...SIDES.map((side): Limit => ({
    figure: `idle.memory.${side}`,
    label: `idle memory, ${side}`,
    most: 40,
    relative: false,
    unit: "MB",
  })),
];

export interface Judgement {
  readonly limit: Limit;
  readonly relay: number | undefined;
  readonly ambient: number;
  /** What is compared with the limit: the ratio or the figure itself. */
  readonly value: number;
  readonly pass: boolean;
}

export function judge(figures: Figures): Judgement[] {
  const judgements: Judgement[] = [];
  for (const limit of LIMITS) {
    const ambient = figures.median("ambient", limit.figure);
    const relay = figures.median("relay", limit.figure);
    if (ambient === undefined || (limit.relative && relay === undefined)) continue;
    const value = limit.relative ? ambient / (relay ?? Number.NaN) : ambient;
    judgements.push({ limit, relay, ambient, value, pass: value <= limit.most });
  }
  return judgements;
}
