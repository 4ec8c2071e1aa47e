/** Where the servers listen, and which ports are therefore ours. */
import { isIpv4, parseAddress } from "../net/address.ts";
import type { ListenAddress } from "./config.ts";

export const INBOUND_HBONE_PORT = 15008;
export const INBOUND_PLAINTEXT_PORT = 15006;
export const OUTBOUND_PORT = 15001;
export const SOCKS5_PORT = 15080;
export const DNS_PORT = 15053;
export const ADMIN_PORT = 15000;
export const STATS_PORT = 15020;
export const READINESS_PORT = 15021;
/** A waypoint's metrics once more, where its pod template says that Envoy has them. */
export const PROMETHEUS_PORT = 15090;

/** Every address of the machine; one dual-stack socket where IPv6 is on. */
export function anyAddress(port: number, ipv6: boolean): ListenAddress & { kind: "address" } {
  return { kind: "address", ip: ipv6 ? "::" : "0.0.0.0", port };
}

/** `localhost:PORT`, or an address and a port; undefined if it is neither. */
export function parseListenAddress(text: string, ipv6Loopback: boolean): ListenAddress | undefined {
  const local = /^localhost:([0-9]{1,5})$/.exec(text);
  if (local !== null) {
    const port = Number(local[1]);
    return port > 0xffff ? undefined : { kind: "localhost", ipv6: ipv6Loopback, port };
  }
  const address = parseAddress(text);
  return address === undefined ? undefined : { kind: "address", ip: address.ip, port: address.port };
}

/** The addresses to bind, as texts such as `[::]:15008`. */
export function formatListenAddress(address: ListenAddress & { kind: "address" }): string {
  return isIpv4(address.ip) ? `${address.ip}:${address.port}` : `[${address.ip}]:${address.port}`;
}
