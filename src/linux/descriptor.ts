import { readdirSync } from "node:fs";
import { ptr } from "bun:ffi";
import { F_DUPFD_CLOEXEC, RLIMIT_NOFILE } from "./constants.ts";
import { checked, libc } from "./libc.ts";

/** Closes a descriptor. A failure is not reported: on Linux the number is free again whatever close() says. */
export function closeFd(fd: number): void {
  libc().close(fd);
}

/** A second descriptor (close-on-exec) for the same open file. Throws SystemError. */
export function duplicateFd(fd: number): number {
  return checked(libc().fcntl(fd, F_DUPFD_CLOEXEC, 0), "fcntl(F_DUPFD_CLOEXEC)");
}

/** struct rlimit: two 64-bit numbers, soft then hard. */
const limits = new BigUint64Array(new ArrayBuffer(16));

/** The soft and hard limit of open files. Throws SystemError. */
export function openFileLimit(): { soft: number; hard: number } {
  checked(libc().getrlimit(RLIMIT_NOFILE, ptr(limits)), "getrlimit(RLIMIT_NOFILE)");
  return { soft: Number(limits[0]), hard: Number(limits[1]) };
}

/** Raises the soft limit of open files to the hard one and returns it. Throws SystemError. */
export function raiseOpenFileLimit(): number {
  const { soft, hard } = openFileLimit();
  if (soft >= hard) return soft;
  limits[0] = limits[1] ?? 0n;
  checked(libc().setrlimit(RLIMIT_NOFILE, ptr(limits)), "setrlimit(RLIMIT_NOFILE)");
  return hard;
}

/** How many descriptors the process has open, not counting the one that lists them. */
export function openFdCount(): number {
  return readdirSync("/proc/self/fd").length - 1;
}
