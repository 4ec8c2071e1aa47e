import { constants } from "node:os";

const NAMES = new Map<number, string>();
for (const [name, number] of Object.entries(constants.errno)) {
  // Second names of EAGAIN and EOPNOTSUPP, which the manual pages of sockets do not use.
  if (name !== "EWOULDBLOCK" && name !== "ENOTSUP") NAMES.set(number, name);
}

/** `EPERM` for 1, and so on; `errno 524` for a number without a name. */
export function errnoName(errno: number): string {
  return NAMES.get(errno) ?? `errno ${errno}`;
}

/** A system call that failed. `call` names it with the argument that matters, e.g. `setsockopt(IP_TRANSPARENT)`. */
export class SystemError extends Error {
  override readonly name = "SystemError";
  readonly call: string;
  readonly errno: number;
  /** The symbolic name, e.g. `EPERM`: what node's errors carry under the same name. */
  readonly code: string;

  constructor(call: string, errno: number) {
    const code = errnoName(errno);
    super(`${call}: ${code}`);
    this.call = call;
    this.errno = errno;
    this.code = code;
  }

  override toString(): string {
    return this.message;
  }
}

/**
 * The thread could not return to its own network namespace. Every socket made from now on would be in the wrong one,
 * so whoever catches this must end the process.
 */
export class FatalNamespaceError extends Error {
  override readonly name = "FatalNamespaceError";

  constructor(cause: SystemError) {
    super(`cannot return to the process's own network namespace: ${cause.message}`, { cause });
  }
}
