import type { ListenAddress } from "../config/mod.ts";
import type { SocketAddress } from "../net/address.ts";

/** Both loopbacks for a `localhost` address, else the one. */
export function socketAddresses(address: ListenAddress): SocketAddress[] {
  if (address.kind === "address") return [{ ip: address.ip, port: address.port }];
  const { port } = address;
  return address.ipv6 ? [{ ip: "127.0.0.1", port }, { ip: "::1", port }] : [{ ip: "127.0.0.1", port }];
}
