/**
 * One timer for everything that needs coarse time: keepalive pings, idle limits, deadlines of handshakes.
 * A connection costs an entry in a set instead of a timer of its own.
 */

import { surfaceBug } from "./surface.ts";

/** Resolution of the shared clock in milliseconds. */
export const TICK_MS = 500;

/** Something that wants to hear the time about every `TICK_MS`. */
export interface Ticking {
  tick(now: number): void;
}

const members = new Set<Ticking>();
let timer: Timer | undefined;

function tickAll(): void {
  const now = performance.now();
  for (const member of members) {
    try {
      member.tick(now);
    } catch (error) {
      surfaceBug(error as Error); // the others are owed their tick
    }
  }
}

/** Adds a member; the timer runs only while there are members, and never keeps the process alive. */
export function startTicking(member: Ticking): void {
  members.add(member);
  if (timer === undefined) {
    timer = setInterval(tickAll, TICK_MS);
    timer.unref();
  }
}

export function stopTicking(member: Ticking): void {
  members.delete(member);
  if (members.size === 0 && timer !== undefined) {
    clearInterval(timer);
    timer = undefined;
  }
}
