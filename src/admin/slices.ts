import { Buffer } from "node:buffer";

/** Milliseconds of work before other work is let in. */
const SLICE_MS = 4;

/** Everything `pieces` yields as UTF-8. The event loop gets its turn every few milliseconds, however much that is. */
export async function collect(pieces: Iterable<string>): Promise<Buffer<ArrayBuffer>> {
  const parts: Buffer[] = [];
  let started = performance.now();
  for (const piece of pieces) {
    parts.push(Buffer.from(piece));
    if (performance.now() - started < SLICE_MS) continue;
    await new Promise((resume) => setImmediate(resume));
    started = performance.now();
  }
  return Buffer.concat(parts);
}
