/** The few facts of the machine that settings depend on; given in tests. */
import { existsSync, readFileSync } from "node:fs";
import { availableParallelism, homedir } from "node:os";
import process from "node:process";

export interface Surroundings {
  readonly cores: number;
  /** We run as root. */
  readonly root: boolean;
  readonly home: string;
  /** The loopback interface has IPv6. */
  readonly ipv6Loopback: boolean;
  exists(path: string): boolean;
}

export function ownSurroundings(): Surroundings {
  return {
    cores: availableParallelism(),
    root: process.getuid?.() === 0,
    home: home(),
    ipv6Loopback: ipv6Loopback(),
    exists: existsSync,
  };
}

/** A container may run as a user whom nobody has named, and without HOME. */
function home(): string {
  try {
    return homedir();
  } catch {
    return "/";
  }
}

function ipv6Loopback(): boolean {
  try {
    return readFileSync("/proc/sys/net/ipv6/conf/lo/disable_ipv6", "utf8").trim() !== "1";
  } catch {
    return false; // no IPv6 in this kernel
  }
}
