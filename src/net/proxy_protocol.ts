/** The PROXY protocol (HAProxy's specification, versions 1 and 2): who is behind a connection that is passed on. */
import { Buffer } from "node:buffer";
import { isIpv4, type SocketAddress, writeIp } from "./address.ts";

export const SIGNATURE = [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a];
const VERSION_2_PROXY = 0x21;
const TCP_OVER_IPV4 = 0x11;
const TCP_OVER_IPV6 = 0x21;
const TCP_OVER_UNSPECIFIED = 0x01;
/** Two addresses and two ports. */
const IPV4_BLOCK = 12; // bytes
const IPV6_BLOCK = 36; // bytes
/** Type and length of a value. */
export const TLV_HEADER = 3; // bytes
/** PP2_TYPE of Istio's range (0xd0 and on): the peer's SPIFFE id. */
export const TLV_AUTHORITY = 0xd0;
/** Signature, command, family, length. */
export const V2_HEADER = 16; // bytes

/** The header that goes before everything else. Addresses of different families are both written as IPv6. */
export function proxyProtocolHeader(
  version: "V1" | "V2",
  source: SocketAddress,
  destination: SocketAddress,
): Uint8Array {
  const ipv4 = isIpv4(source.ip) && isIpv4(destination.ip);
  return version === "V1" ? text(ipv4, source, destination) : binary(ipv4, source, destination);
}

function text(ipv4: boolean, source: SocketAddress, destination: SocketAddress): Uint8Array {
  const ip = (address: SocketAddress) => !ipv4 && isIpv4(address.ip) ? `::ffff:${address.ip}` : address.ip;
  const family = ipv4 ? "TCP4" : "TCP6";
  return Buffer.from(
    `PROXY ${family} ${ip(source)} ${ip(destination)} ${source.port} ${destination.port}\r\n`,
    "latin1",
  );
}

function binary(ipv4: boolean, source: SocketAddress, destination: SocketAddress): Uint8Array {
  const block = ipv4 ? IPV4_BLOCK : IPV6_BLOCK;
  const bytes = start(ipv4 ? TCP_OVER_IPV4 : TCP_OVER_IPV6, block);
  writeAddresses(bytes, ipv4 ? 4 : 16, source, destination);
  return bytes;
}

/**
 * What a workload's own proxy sends to the waypoint beside it (spec/ztunnel.md §6.6), version 2. Addresses of different
 * families cannot both be said and are left out. `identity`, the client's SPIFFE id if it proved one, goes along as
 * a value of type TLV_AUTHORITY. Throws RangeError for one of more than 65 KB.
 */
export function tunnelProxyHeader(
  source: SocketAddress,
  destination: SocketAddress,
  identity: string | undefined,
): Uint8Array {
  const ipv4 = isIpv4(source.ip);
  const mixed = ipv4 !== isIpv4(destination.ip);
  const block = mixed ? 0 : ipv4 ? IPV4_BLOCK : IPV6_BLOCK;
  const value = identity === undefined ? undefined : Buffer.from(identity, "utf8");
  const bytes = start(
    mixed ? TCP_OVER_UNSPECIFIED : ipv4 ? TCP_OVER_IPV4 : TCP_OVER_IPV6,
    block + (value === undefined ? 0 : TLV_HEADER + value.length),
  );
  if (!mixed) writeAddresses(bytes, ipv4 ? 4 : 16, source, destination);
  if (value !== undefined) {
    const at = V2_HEADER + block;
    bytes[at] = TLV_AUTHORITY;
    bytes[at + 1] = value.length >>> 8;
    bytes[at + 2] = value.length;
    bytes.set(value, at + TLV_HEADER);
  }
  return bytes;
}

/** A header with so many bytes after its fixed part, which are still to be written. */
function start(family: number, length: number): Uint8Array {
  if (length > 0xffff) throw new RangeError(`proxy protocol: ${length} bytes after the header, 65535 at most`);
  const bytes = new Uint8Array(V2_HEADER + length);
  bytes.set(SIGNATURE);
  bytes[12] = VERSION_2_PROXY;
  bytes[13] = family;
  bytes[14] = length >>> 8;
  bytes[15] = length;
  return bytes;
}

/** An IPv4 address in a block of IPv6 is written as ::ffff:a.b.c.d. */
function writeAddresses(bytes: Uint8Array, size: 4 | 16, source: SocketAddress, destination: SocketAddress): void {
  let at = V2_HEADER;
  for (const { ip } of [source, destination]) {
    if (size === 16 && isIpv4(ip)) {
      bytes[at + 10] = bytes[at + 11] = 0xff;
      writeIp(ip, bytes, at + 12);
    } else writeIp(ip, bytes, at);
    at += size;
  }
  for (const { port } of [source, destination]) {
    bytes[at++] = port >>> 8;
    bytes[at++] = port;
  }
}
