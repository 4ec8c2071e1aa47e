/**
 * Gather buffers, shared by all connections of a thread: a connection holds one only while it has output, so idle
 * connections cost nothing and busy ones find their buffers warm in the cache.
 */
const SIZES = [2 << 10, 16 << 10, 128 << 10] as const; // bytes
const KEPT = [64, 32, 16] as const; // free buffers kept of each size: 128 KiB + 512 KiB + 2 MiB a thread

/** A gather buffer is never larger than this; more output goes on in another. */
export const LARGEST_BUFFER: number = SIZES[2];

const free: Uint8Array[][] = SIZES.map(() => []);

/** A buffer of at least `bytes` (up to LARGEST_BUFFER), with arbitrary content. */
export function takeBuffer(bytes: number): Uint8Array {
  for (let i = 0; i < SIZES.length; i++) {
    const size = SIZES[i]!;
    if (bytes <= size) return free[i]!.pop() ?? new Uint8Array(size);
  }
  return new Uint8Array(bytes);
}

/** Gives a buffer back; nobody may look at it any more. */
export function giveBuffer(buffer: Uint8Array): void {
  for (let i = 0; i < SIZES.length; i++) {
    if (buffer.length === SIZES[i]) {
      if (free[i]!.length < KEPT[i]!) free[i]!.push(buffer);
      return;
    }
  }
}
