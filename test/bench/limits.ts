/** What two ztunnels are measured at, and how much it may cost. */
import type { Limit } from "./figures.ts";

export const SIDES = ["client", "server"] as const;
export const CONNECTIONS = [1, 32, 256] as const;
export const DIRECTIONS = ["up", "down"] as const;
export const STREAMS = [1, 4] as const;

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
