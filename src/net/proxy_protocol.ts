/** The PROXY protocol (HAProxy's specification, versions 1 and 2): who is behind a connection that is passed on. */
import { Buffer } from "node:buffer";
import { isIpv4, type SocketAddress, writeIp } from "./address.ts";

const SIGNATURE = [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a];
const VERSION_2_PROXY = 0x21;
const TCP_OVER_IPV4 = 0x11;
const TCP_OVER_IPV6 = 0x21;
/** Signature, command, family, length. */
const V2_HEADER = 16; // bytes

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
  const size = ipv4 ? 4 : 16;
  const bytes = new Uint8Array(V2_HEADER + 2 * size + 4);
  bytes.set(SIGNATURE);
  bytes[12] = VERSION_2_PROXY;
  bytes[13] = ipv4 ? TCP_OVER_IPV4 : TCP_OVER_IPV6;
  bytes[15] = 2 * size + 4;
  let at = V2_HEADER;
  for (const { ip } of [source, destination]) {
    if (!ipv4 && isIpv4(ip)) {
      bytes[at + 10] = bytes[at + 11] = 0xff; // ::ffff:a.b.c.d
      writeIp(ip, bytes, at + 12);
    } else writeIp(ip, bytes, at);
    at += size;
  }
  for (const { port } of [source, destination]) {
    bytes[at++] = port >>> 8;
    bytes[at++] = port;
  }
  return bytes;
}
