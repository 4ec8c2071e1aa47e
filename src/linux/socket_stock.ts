import { ECANCELED, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_STREAM } from "./constants.ts";
import { closeFd } from "./descriptor.ts";
import { SystemError } from "./error.ts";
import { failure, libc } from "./libc.ts";
import { enterNamespace, leaveNamespace } from "./namespace.ts";

/** Sockets made in one visit to the namespace: entering costs more than making all of them. */
const BATCH = 8;

/**
 * Unconnected TCP sockets of a network namespace, a few in advance, so that not every connection has to move the thread
 * there and back. A socket belongs to its namespace for ever, so the stock must be closed with the pod.
 */
export class SocketStock {
  readonly #namespace: number;
  readonly #free = new Map<number, number[]>();
  #closed = false;

  /** @param namespace descriptor of the network namespace; stays the caller's */
  constructor(namespace: number) {
    this.#namespace = namespace;
  }

  /**
   * A socket of this address family (AF_INET, AF_INET6), or why there is none: ECANCELED once the stock is closed, when
   * the descriptor's number may already stand for another pod's namespace. Throws FatalNamespaceError.
   */
  take(family: number): number | SystemError {
    if (this.#closed) return new SystemError("socket(SOCK_STREAM)", ECANCELED);
    let free = this.#free.get(family);
    if (free === undefined) this.#free.set(family, free = []);
    return free.pop() ?? this.#fill(family, free);
  }

  #fill(family: number, free: number[]): number | SystemError {
    const error = enterNamespace(this.#namespace);
    if (error !== undefined) return error;
    let refused: SystemError | undefined;
    while (free.length < BATCH) {
      const fd = libc().socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
      if (fd < 0) {
        refused = failure("socket(SOCK_STREAM)");
        break;
      }
      free.push(fd);
    }
    leaveNamespace(undefined);
    return free.pop() ?? refused as SystemError;
  }

  /** Closes what was not taken; from now on there is none. */
  close(): void {
    this.#closed = true;
    for (const free of this.#free.values()) free.splice(0).forEach(closeFd);
  }
}
