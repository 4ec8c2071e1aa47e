/**
 * Memory for small output that is handed to somebody who may queue it: a slab is used up from its start and never written
 * twice, so that pieces need no giving back. The garbage collector frees it with its last piece.
 */

/** Size of a slab that is given away piece by piece. */
const SLAB = 64 << 10; // bytes
/** A rest of a slab that is smaller is not worth keeping. */
const SMALLEST_REST = 2 << 10; // bytes
const RESTS_KEPT = 32;
const rests: Uint8Array[] = [];

/** At least `bytes` of memory whose parts may be given away for good; what is left goes back by `giveRest`. */
export function takeSlab(bytes: number): Uint8Array {
  const rest = rests.pop();
  if (rest !== undefined && rest.length >= bytes) return rest;
  return new Uint8Array(Math.max(SLAB, bytes));
}

/** Gives back the part of a slab that nobody else refers to. */
export function giveRest(rest: Uint8Array): void {
  if (rest.length >= SMALLEST_REST && rests.length < RESTS_KEPT) rests.push(rest);
}
