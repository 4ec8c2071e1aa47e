/**
 * Output gathered during one callback of the runtime leaves at its end: a head and the body that follows it in the same
 * turn are one piece, and so are the frames of several streams. Microtasks run when the callback is over.
 */
import { surfaceBug } from "../net/surface.ts";

export interface Flushable {
  /** Hands over what was gathered. */
  flushTurn(): void;
  /** Its flush threw: that is a bug, and the end of this one. */
  abort(): void;
}

let planned: Flushable[] = [];
/** An array to use again; none while it is in use. The runtime runs microtasks inside some of its calls, so calls nest. */
let spare: Flushable[] | undefined = [];

/** Calls `flushTurn` once, at the end of the running callback. */
export function planFlush(member: Flushable): void {
  if (planned.push(member) === 1) queueMicrotask(flushAll);
}

function flushAll(): void {
  const due = planned;
  planned = spare ?? [];
  spare = undefined;
  for (const member of due) {
    try {
      member.flushTurn();
    } catch (error) {
      member.abort(); // the others are owed their turn
      surfaceBug(error as Error);
    }
  }
  due.length = 0;
  spare = due;
}
