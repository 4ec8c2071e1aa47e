import { ptr } from "bun:ffi";
import { AF_UNIX, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_STREAM } from "./constants.ts";
import type { SystemError } from "./error.ts";
import { failure, libc } from "./libc.ts";

const pair = new Int32Array(new ArrayBuffer(8));
const pairPointer = ptr(pair);

/** Two connected stream sockets (socketpair(2)), non-blocking and close-on-exec; or the error. */
export function socketPair(): [number, number] | SystemError {
  const error = libc().socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pairPointer) === 0
    ? undefined
    : failure("socketpair");
  return error ?? [pair[0] ?? -1, pair[1] ?? -1];
}
