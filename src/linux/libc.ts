import { dlopen, FFIType, type Pointer, read } from "bun:ffi";
import { SystemError } from "./error.ts";

const OPEN = {
  __errno_location: { args: [], returns: "ptr" },
  open: { args: ["ptr", "i32", "i32"], returns: "i32" },
  close: { args: ["i32"], returns: "i32" },
  fcntl: { args: ["i32", "i32", "i32"], returns: "i32" },
  ioctl: { args: ["i32", "u64", "ptr"], returns: "i32" },
  setns: { args: ["i32", "i32"], returns: "i32" },
  socket: { args: ["i32", "i32", "i32"], returns: "i32" },
  socketpair: { args: ["i32", "i32", "i32", "ptr"], returns: "i32" },
  bind: { args: ["i32", "ptr", "u32"], returns: "i32" },
  listen: { args: ["i32", "i32"], returns: "i32" },
  connect: { args: ["i32", "ptr", "u32"], returns: "i32" },
  accept4: { args: ["i32", "ptr", "ptr", "i32"], returns: "i32" },
  shutdown: { args: ["i32", "i32"], returns: "i32" },
  setsockopt: { args: ["i32", "i32", "i32", "ptr", "u32"], returns: "i32" },
  getsockopt: { args: ["i32", "i32", "i32", "ptr", "ptr"], returns: "i32" },
  getsockname: { args: ["i32", "ptr", "ptr"], returns: "i32" },
  getpeername: { args: ["i32", "ptr", "ptr"], returns: "i32" },
  sendmsg: { args: ["i32", "ptr", "i32"], returns: FFIType.i64_fast },
  recvmsg: { args: ["i32", "ptr", "i32"], returns: FFIType.i64_fast },
  getrlimit: { args: ["i32", "ptr"], returns: "i32" },
  setrlimit: { args: ["i32", "ptr"], returns: "i32" },
  madvise: { args: ["ptr", "u64", "i32"], returns: "i32" },
  memfd_create: { args: ["ptr", "u32"], returns: "i32" },
} as const;

type Libc = ReturnType<typeof load>["symbols"];

function load() {
  return dlopen("libc.so.6", OPEN);
}

let symbols: Libc | undefined;
let errnoLocation: Pointer | undefined;

/** The C library, opened when a thread first needs it: module state is per thread, and so is errno's address. */
export function libc(): Libc {
  if (symbols !== undefined) return symbols;
  symbols = load().symbols;
  const location = symbols.__errno_location();
  if (typeof location !== "number") throw new Error("__errno_location() gave no address");
  errnoLocation = location;
  return symbols;
}

/** errno of the call just made. Nothing may stand between the two: the runtime makes system calls of its own. */
export function errno(): number {
  return errnoLocation === undefined ? 0 : read.i32(errnoLocation, 0);
}

/** The error of the call just made. */
export function failure(call: string): SystemError {
  return new SystemError(call, errno());
}

/** `result` unless it is negative; then the failure, thrown. */
export function checked(result: number, call: string): number {
  if (result < 0) throw failure(call);
  return result;
}
