/** Where the machine is described. */
import { readFileSync } from "node:fs";
import { release } from "node:os";

export function machineLine(): string {
  const cpu = /^model name\s*:\s*(.*)$/m.exec(readFileSync("/proc/cpuinfo", "utf8"))?.[1] ?? "unknown CPU";
  return `${navigator.hardwareConcurrency} × ${cpu}, Linux ${release()}, Bun ${Bun.version}`;
}
