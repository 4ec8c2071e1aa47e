import { ptr } from "bun:ffi";
import { isIpv4, readIp, type SocketAddress, writeIp } from "../net/address.ts";
import { AF_INET, AF_INET6 } from "./constants.ts";

/** struct sockaddr_in and sockaddr_in6. */
const SOCKADDR_IN = 16; // bytes
const SOCKADDR_IN6 = 28; // bytes

/**
 * One sockaddr and its socklen_t, kept for the life of the thread: system calls are synchronous, so a call's argument is
 * never needed after it. Backed by an ArrayBuffer from the start, because a small typed array moves when its buffer is
 * first asked for, and the pointer would dangle.
 */
const storage = new Uint8Array(new ArrayBuffer(128));
const length = new Uint32Array(new ArrayBuffer(8));

export const sockaddr = ptr(storage);
export const sockaddrLength = ptr(length);

/** AF_INET or AF_INET6, by the form of the IP. */
export function familyOf(ip: string): number {
  return isIpv4(ip) ? AF_INET : AF_INET6;
}

/** Writes the shared sockaddr and returns its length. Throws RangeError when `ip` is no IP. */
export function encodeSockaddr(ip: string, port: number): number {
  const ipv4 = isIpv4(ip);
  storage[0] = ipv4 ? AF_INET : AF_INET6;
  storage[1] = 0;
  storage[2] = port >>> 8;
  storage[3] = port;
  if (ipv4) {
    writeIp(ip, storage, 4);
    storage.fill(0, 8, SOCKADDR_IN);
    return SOCKADDR_IN;
  }
  storage.fill(0, 4, 8); // flow information
  writeIp(ip, storage, 8);
  storage.fill(0, 24, SOCKADDR_IN6); // scope: a link-local address without one is refused by the kernel
  return SOCKADDR_IN6;
}

/** Tells the next call how much room the shared sockaddr has. */
export function expectSockaddr(): void {
  length[0] = storage.length;
}

/** The address the last call wrote, or undefined when its family is neither IPv4 nor IPv6. IPv4-mapped comes as IPv4. */
export function decodeSockaddr(): SocketAddress | undefined {
  const port = ((storage[2] ?? 0) << 8) | (storage[3] ?? 0);
  if (storage[0] === AF_INET) return { ip: readIp(storage, 4, 4), port };
  if (storage[0] !== AF_INET6) return undefined;
  if (isMappedAddress()) return { ip: readIp(storage, 20, 4), port };
  return { ip: readIp(storage, 8, 16), port };
}

/** ::ffff:0:0/96, as every IPv4 peer of a dual-stack listener shows. */
function isMappedAddress(): boolean {
  for (let i = 8; i < 18; i++) if (storage[i] !== 0) return false;
  return storage[18] === 0xff && storage[19] === 0xff;
}
