import { Buffer } from "node:buffer";
import { fstatSync, readFileSync } from "node:fs";
import { CLONE_NEWNET, NS_GET_NSTYPE, O_CLOEXEC, O_RDONLY } from "./constants.ts";
import { FatalNamespaceError, SystemError } from "./error.ts";
import { checked, failure, libc } from "./libc.ts";

/** Which namespace a descriptor stands for: equal pairs are the same namespace. */
export interface NamespaceIdentity {
  readonly device: bigint;
  readonly inode: bigint;
}

/** Opens a namespace file such as `/var/run/netns/NAME` or `/proc/PID/ns/net`, close-on-exec. Throws SystemError. */
export function openNamespace(path: string): number {
  return checked(libc().open(Buffer.from(`${path}\0`), O_RDONLY | O_CLOEXEC, 0), `open(${path})`);
}

let own: number | undefined;

/**
 * The network namespace in which this thread was when this was first called; never closed. Each thread has a namespace
 * of its own, so it is the thread's, not the process's, that is opened. Throws SystemError.
 */
export function ownNamespace(): number {
  return own ??= openNamespace("/proc/thread-self/ns/net");
}

export function namespaceIdentity(fd: number): NamespaceIdentity {
  const { dev, ino } = fstatSync(fd, { bigint: true });
  return { device: dev, inode: ino };
}

export function sameNamespace(a: NamespaceIdentity, b: NamespaceIdentity): boolean {
  return a.inode === b.inode && a.device === b.device;
}

/** Whether the descriptor is a network namespace (ioctl NS_GET_NSTYPE); false too where the kernel cannot tell. */
export function isNetworkNamespace(fd: number): boolean {
  return libc().ioctl(fd, NS_GET_NSTYPE, null) === CLONE_NEWNET;
}

/** Where the thread is now; undefined is its own namespace. */
let current: number | undefined;

/** Whether it is known that the way back is open. */
let returnable = false;

/**
 * Moves the thread. A failure leaves it where it was. Every success must be followed by leaveNamespace() in the same
 * turn. The first time, the way back is tried before the way out: in a user namespace a process may enter namespaces it
 * made itself and still not be let into the one it came from.
 */
export function enterNamespace(fd: number): SystemError | undefined {
  if (!returnable) {
    if (libc().setns(ownNamespace(), CLONE_NEWNET) !== 0) return failure("setns(own network namespace)");
    returnable = true;
  }
  if (libc().setns(fd, CLONE_NEWNET) !== 0) return failure("setns(CLONE_NEWNET)");
  current = fd;
  return undefined;
}

/** Moves the thread back to `previous` (its own namespace when undefined). Throws FatalNamespaceError. */
export function leaveNamespace(previous: number | undefined): void {
  if (libc().setns(previous ?? ownNamespace(), CLONE_NEWNET) !== 0) {
    throw new FatalNamespaceError(failure("setns(CLONE_NEWNET)"));
  }
  current = previous;
}

/**
 * Runs `body` with this thread in the network namespace `fd` (undefined: where it is) and comes back, also when it
 * throws. The body must be synchronous: sockets made in it stay in that namespace, and nothing else may run meanwhile.
 * Throws SystemError when the namespace cannot be entered, FatalNamespaceError when the way back is barred.
 */
export function inNamespace<T>(fd: number | undefined, body: () => T extends Promise<unknown> ? never : T): T {
  if (fd === undefined) return body();
  const previous = current;
  const error = enterNamespace(fd);
  if (error !== undefined) throw error;
  try {
    return body();
  } finally {
    leaveNamespace(previous);
  }
}

/** Whether the loopback interface of a namespace has IPv6: true unless the kernel says that it is disabled there. */
export function loopbackHasIpv6(namespace?: number): boolean {
  return inNamespace(namespace, () => {
    try {
      return readFileSync("/proc/sys/net/ipv6/conf/lo/disable_ipv6", "utf8").trim() !== "1";
    } catch {
      return false; // a kernel without IPv6 has no such file
    }
  });
}

/**
 * Whether a TCP socket listens on a port of a namespace, of whatever process and address. Reads the list of all TCP sockets
 * there: not for every connection. Throws SystemError when the namespace cannot be entered.
 */
export function portIsListenedOn(port: number, namespace?: number): boolean {
  const wanted = port.toString(16).toUpperCase().padStart(4, "0");
  // "  0: 00000000:3A98 00000000:0000 0A …": place, local address, remote address, state (0A: TCP_LISTEN)
  const listening = new RegExp(`^ *\\d+: [0-9A-F]+:${wanted} [0-9A-F:]+ 0A `, "m");
  return inNamespace(namespace, () =>
    ["tcp", "tcp6"].some((list) => {
      try {
        return listening.test(readFileSync(`/proc/thread-self/net/${list}`, "latin1"));
      } catch {
        return false; // a kernel without IPv6 has no such file
      }
    }));
}

/** Why this process cannot work in other namespaces, as a check at the start; undefined when it can. */
export function namespaceRefusal(fd: number = ownNamespace()): SystemError | undefined {
  const previous = current;
  const error = enterNamespace(fd);
  if (error === undefined) leaveNamespace(previous);
  return error;
}
