/** Quiet time after a change before it is told (spec/ztunnel.md §3.4, §3.6); ms. */
export const WATCH_DEBOUNCE_MS = 2_000;

/**
 * Calls `onChange` after the file at `path` became another one: written, replaced, there at last. Not for its removal:
 * there is nothing to read then. Watch first and read afterwards, so that nothing is missed. Keeps no process alive.
 */
export function watchFile(_path: string, _onChange: () => void, _debounceMs = WATCH_DEBOUNCE_MS): { close(): void } {
  throw new Error("watchFile: not there yet");
}
