import { ptr } from "bun:ffi";
import type { SocketAddress } from "../net/address.ts";
import {
  IP6T_SO_ORIGINAL_DST,
  IPPROTO_TCP,
  SO_ERROR,
  SO_KEEPALIVE,
  SO_LINGER,
  SO_ORIGINAL_DST,
  SOL_IP,
  SOL_IPV6,
  SOL_SOCKET,
  TCP_KEEPCNT,
  TCP_KEEPIDLE,
  TCP_KEEPINTVL,
  TCP_USER_TIMEOUT,
} from "./constants.ts";
import { SystemError } from "./error.ts";
import { checked, errno, failure, libc } from "./libc.ts";
import { decodeSockaddr, expectSockaddr, sockaddr, sockaddrLength } from "./sockaddr.ts";

/** One option's value and its length, shared by all calls of the thread (see sockaddr.ts for why this is safe). */
const value = new Int32Array(new ArrayBuffer(8));
const valueLength = new Uint32Array(new ArrayBuffer(8));
const valuePointer = ptr(value);
const valueLengthPointer = ptr(valueLength);

/** Sets an int option. A failure is returned, named after the option. */
export function setOption(
  fd: number,
  level: number,
  option: number,
  to: number,
  name: string,
): SystemError | undefined {
  value[0] = to;
  if (libc().setsockopt(fd, level, option, valuePointer, 4) === 0) return undefined;
  return failure(`setsockopt(${name})`);
}

/** Sets an int option or throws SystemError. */
export function requireOption(fd: number, level: number, option: number, to: number, name: string): void {
  const error = setOption(fd, level, option, to, name);
  if (error !== undefined) throw error;
}

/** Reads an int option. Throws SystemError. */
export function getOption(fd: number, level: number, option: number, name: string): number {
  valueLength[0] = 4;
  checked(libc().getsockopt(fd, level, option, valuePointer, valueLengthPointer), `getsockopt(${name})`);
  return value[0] ?? 0;
}

/** Keepalive probes of a TCP socket. Milliseconds, rounded up to the kernel's seconds. */
export interface KeepAlive {
  /** Silence before the first probe. */
  readonly timeMs: number;
  /** Between probes. */
  readonly intervalMs: number;
  /** Unanswered probes after which the connection is dead. */
  readonly retries: number;
}

/**
 * The kernel takes no more and none of them 0 (tcp(7), net/tcp.h): what is beyond is as much as can be had, for a setting that
 * was refused would refuse every connection.
 */
const MAX_KEEP_SECONDS = 32_767;
const MAX_KEEP_PROBES = 127;
const MAX_INT = 0x7fff_ffff;

/** What the mesh sets on TCP sockets to notice dead peers. */
export interface LivenessOptions {
  readonly keepAlive?: KeepAlive;
  /** TCP_USER_TIMEOUT: how long sent data may stay unacknowledged. */
  readonly userTimeoutMs?: number;
}

/** Sets keepalive and user timeout, those that are given. The first failure is returned. */
export function setLiveness(fd: number, options: LivenessOptions): SystemError | undefined {
  const { keepAlive, userTimeoutMs } = options;
  if (keepAlive !== undefined) {
    const error = setOption(fd, SOL_SOCKET, SO_KEEPALIVE, 1, "SO_KEEPALIVE") ??
      setOption(fd, IPPROTO_TCP, TCP_KEEPIDLE, seconds(keepAlive.timeMs), "TCP_KEEPIDLE") ??
      setOption(fd, IPPROTO_TCP, TCP_KEEPINTVL, seconds(keepAlive.intervalMs), "TCP_KEEPINTVL") ??
      setOption(fd, IPPROTO_TCP, TCP_KEEPCNT, Math.max(1, Math.min(keepAlive.retries, MAX_KEEP_PROBES)), "TCP_KEEPCNT");
    if (error !== undefined) return error;
  }
  if (userTimeoutMs === undefined) return undefined;
  return setOption(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, Math.min(userTimeoutMs, MAX_INT), "TCP_USER_TIMEOUT");
}

function seconds(milliseconds: number): number {
  return Math.max(1, Math.min(Math.ceil(milliseconds / 1000), MAX_KEEP_SECONDS));
}

/**
 * Where the client of an accepted, redirected connection wanted to go: SO_ORIGINAL_DST of IPv4, then of IPv6. Undefined
 * when connection tracking does not know it (no redirect in that namespace); then the local address is the destination.
 */
export function originalDestination(fd: number): SocketAddress | undefined {
  expectSockaddr();
  if (libc().getsockopt(fd, SOL_IP, SO_ORIGINAL_DST, sockaddr, sockaddrLength) === 0) return decodeSockaddr();
  expectSockaddr();
  if (libc().getsockopt(fd, SOL_IPV6, IP6T_SO_ORIGINAL_DST, sockaddr, sockaddrLength) === 0) return decodeSockaddr();
  return undefined;
}

/** The socket's own address, or undefined when it has none (closed, not a TCP or UDP socket). */
export function localAddress(fd: number): SocketAddress | undefined {
  expectSockaddr();
  return libc().getsockname(fd, sockaddr, sockaddrLength) === 0 ? decodeSockaddr() : undefined;
}

/** The peer's address, or undefined when the socket is not, or no more, connected. */
export function peerAddress(fd: number): SocketAddress | undefined {
  expectSockaddr();
  return libc().getpeername(fd, sockaddr, sockaddrLength) === 0 ? decodeSockaddr() : undefined;
}

/** SO_ERROR, read and cleared: 0, or the errno of the failed connect. A descriptor that is no socket gives its own errno. */
export function socketError(fd: number): number {
  valueLength[0] = 4;
  if (libc().getsockopt(fd, SOL_SOCKET, SO_ERROR, valuePointer, valueLengthPointer) !== 0) return errno();
  return value[0] ?? 0;
}

/** Makes close() reset the connection instead of finishing it (SO_LINGER with 0 seconds). Throws SystemError. */
export function setResetOnClose(fd: number): void {
  value[0] = 1;
  value[1] = 0;
  checked(libc().setsockopt(fd, SOL_SOCKET, SO_LINGER, valuePointer, 8), "setsockopt(SO_LINGER)");
}
