/**
 * Which of the processes that share a port gets what comes (SO_REUSEPORT).
 *
 * The kernel spreads new connections over all sockets of the group by a hash. During an upgrade that is two processes, and
 * the older one takes new connections until it closes its listener, which resets those it has not accepted yet and those
 * whose handshake has its last packet still to come. So each socket brings a program for its group that says "the second
 * one": the kernel keeps a group in the order in which its sockets began to listen (a socket that goes leaves its place to
 * the last one), so that of two the second is the newer. While there is only one, the answer names nobody, and the kernel
 * falls back to its hash, which then has no choice. From the moment in which the newer process listens, everything new is
 * its own, and nothing waits in the older one's queue when that goes; and when the newer one dies, the older has all again.
 *
 * What it cannot do: a newer process that hangs without dying keeps all that comes, and a third one does not change that,
 * being the third; the kernel gives it back when the one that hangs is killed. Of three it is the second that is served,
 * which is why nobody is started before the oldest has closed its listeners: a DaemonSet with maxSurge 1 does so.
 *
 * Two other ways, and why not: net.ipv4.tcp_migrate_req moves the queue of a socket that closes (Linux 5.14), but it is a
 * sysctl of each pod's namespace and /proc/sys is read-only for a container that is not privileged; programs of the kind
 * BPF_PROG_TYPE_SK_REUSEPORT could choose by name, and need CAP_BPF or CAP_SYS_ADMIN and a map that outlives its maker. A
 * classic program needs Linux 4.6 and no capability.
 */
import { ptr } from "bun:ffi";
import { IPPROTO_TCP, SO_ATTACH_REUSEPORT_CBPF, SO_MEMINFO, SOL_SOCKET, TCP_INFO } from "./constants.ts";
import type { SystemError } from "./error.ts";
import { failure, libc } from "./libc.ts";

/** Index in its group of the newer of two sockets. */
const NEWER = 1;

/**
 * struct sock_fprog and behind it its one struct sock_filter: BPF_RET | BPF_K with NEWER. In one buffer, which a function
 * holds on to: see the program in udp.ts.
 */
const SOCK_FPROG = 16; // bytes
const newerProgram = new DataView(new ArrayBuffer(SOCK_FPROG + 8));
newerProgram.setUint16(0, 1, true);
newerProgram.setBigUint64(8, BigInt(ptr(newerProgram)) + BigInt(SOCK_FPROG), true);
newerProgram.setUint16(SOCK_FPROG, 0x06, true);
newerProgram.setUint32(SOCK_FPROG + 4, NEWER, true);

/**
 * Gives the newer of two sockets of this one's group all that comes, from now on and also of sockets that join the group later.
 * To be called when the socket listens, or is bound for UDP: before that it has a group of its own, whose program is lost.
 */
export function preferNewest(fd: number): SystemError | undefined {
  const result = libc().setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, ptr(newerProgram), SOCK_FPROG);
  return result === 0 ? undefined : failure("setsockopt(SO_ATTACH_REUSEPORT_CBPF)");
}

/** The first part of struct tcp_info; of a listening socket, tcpi_unacked is the length of its accept queue. */
const tcpInfo = new Uint32Array(new ArrayBuffer(104));
const TCPI_UNACKED = 24 / 4;
/** What SO_MEMINFO fills (linux/sock_diag.h): SK_MEMINFO_RMEM_ALLOC is its first. */
const memoryInfo = new Uint32Array(new ArrayBuffer(9 * 4));
const length = new Uint32Array(new ArrayBuffer(4));

/** Connections that are established and not accepted; undefined when the descriptor is no TCP socket (any more). */
export function acceptQueue(fd: number): number | undefined {
  length[0] = tcpInfo.byteLength;
  if (libc().getsockopt(fd, IPPROTO_TCP, TCP_INFO, ptr(tcpInfo), ptr(length)) !== 0) return undefined;
  return tcpInfo[TCPI_UNACKED];
}

/** Bytes of memory that received datagrams take which nobody has read; undefined when the descriptor is no socket. */
export function receiveQueue(fd: number): number | undefined {
  length[0] = memoryInfo.byteLength;
  if (libc().getsockopt(fd, SOL_SOCKET, SO_MEMINFO, ptr(memoryInfo), ptr(length)) !== 0) return undefined;
  return memoryInfo[0];
}
