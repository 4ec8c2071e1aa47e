/** Reading what a process has cost, from /proc. */
import { readdirSync, readFileSync } from "node:fs";

/** CPU time of all threads of a process, nanoseconds (schedstat counts exactly; stat only in ticks of 10 ms). */
export function cpuTime(pid: number): number {
  let sum = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    try {
      sum += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8").split(" ")[0]);
    } catch {
      // The thread ended between the listing and the reading.
    }
  }
  return sum;
}

/** Resident memory of a process in KB. */
export function residentMemory(pid: number): number {
  const match = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
  return Number(match?.[1] ?? 0);
}

export function openFiles(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}

/** A process that has been quiet for so long has given back the code that only starts it and collected its garbage; ms. */
export const SETTLING_MS = 10_000;

/** Resident memory once it has stopped moving (or after the deadline): the least of the last readings, KB. */
export async function settledMemory(pid: number, deadlineMs = 4000): Promise<number> {
  const end = performance.now() + deadlineMs;
  let previous = residentMemory(pid);
  let calm = 0;
  while (performance.now() < end && calm < 4) {
    await Bun.sleep(250);
    const now = residentMemory(pid);
    calm = Math.abs(now - previous) <= 64 ? calm + 1 : 0;
    previous = now;
  }
  return previous;
}
