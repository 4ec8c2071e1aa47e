/** The program's lines to whoever started it. */
import process from "node:process";
import type { ProgramLine, SeenEvent } from "../protocol.ts";

/** An event without its time. */
export type Event = SeenEvent extends infer E ? E extends SeenEvent ? Omit<E, "at"> : never : never;

export function tell(line: ProgramLine): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

/** Milliseconds of the epoch, with fractions. */
export function now(): number {
  return performance.timeOrigin + performance.now();
}

export function saw(event: Event): void {
  tell({ event: { ...event, at: now() } as SeenEvent });
}
