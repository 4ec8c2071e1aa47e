import process from "node:process";
import { readFileSync } from "node:fs";
import type { Pointer } from "bun:ffi";
import { libc } from "./libc.ts";

/** Unmaps pages; those of a file are read again from the page cache when they are next touched. */
const MADV_DONTNEED = 4;

/**
 * Unmaps the executable's own code, most of which has run only to start the process: what runs on is mapped again, page
 * by page, at the cost of some hundred minor faults. Only mappings that are executable, private and of the executable's
 * file are touched: they are never written, so nothing can be lost. Returns the bytes of address space given back.
 */
export function releaseStartupCode(): number {
  let released = 0;
  const executable = /^([0-9a-f]+)-([0-9a-f]+) r-xp [0-9a-f]+ \S+ [1-9]\d* +(\/.*)$/;
  for (const line of readFileSync("/proc/self/maps", "utf8").split("\n")) {
    const [, from, to, path] = executable.exec(line) ?? [];
    if (from === undefined || to === undefined || path !== process.execPath) continue;
    const start = Number.parseInt(from, 16);
    const length = Number.parseInt(to, 16) - start;
    if (libc().madvise(start as Pointer, length, MADV_DONTNEED) === 0) released += length;
  }
  return released;
}
