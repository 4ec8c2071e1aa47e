import { isLocalhost } from "../dns/mod.ts";
import type { Pool } from "../hbone/mod.ts";
import { peerAddress } from "../linux/mod.ts";
import { canonicalIp, formatAddress, isIpv4, type SocketAddress } from "../net/address.ts";
import { surfaceBug } from "../net/surface.ts";
import { adoptListener } from "../net/tcp.ts";
import { TcpEndpoint, type TcpSocket } from "../net/tcp_endpoint.ts";
import type { DnsProxy } from "./dns/mod.ts";
import type { Field } from "../telemetry/mod.ts";
import { OutboundConnection } from "./outbound.ts";
import {
  encodeReply,
  REPLY_GENERAL_FAILURE,
  REPLY_HOST_UNREACHABLE,
  REPLY_SUCCEEDED,
  type Socks5Event,
  Socks5Handshake,
  type Socks5Target,
} from "./socks5_protocol.ts";
import type { WorkloadContext } from "./workload_context.ts";

/** `socket.data`: the handshake, then the endpoint of the connection that it asked for. */
type SocksData = Socks5Handshake | TcpEndpoint;
type SocksSocket = Bun.Socket<SocksData>;

/** `dst.addr`, as in the access log; of a name, which may hold any byte, each part in a field of its own. */
function targetFields(target: Socks5Target | undefined): Field[] {
  if (target === undefined) return [];
  const { host, port } = target;
  if (canonicalIp(host) !== undefined) return [["dst.addr", { display: formatAddress({ ip: host, port }) }]];
  return [["dst.hostname", host], ["dst.port", port]];
}

function descriptorOf(socket: SocksSocket): number {
  return (socket as unknown as { fd?: number }).fd ?? -1;
}

/**
 * Serves SOCKS5 on a listening fd; connections go the same way as captured ones, names are the DNS proxy's. `stop` closes the
 * listener, and the connections that have not asked for a destination yet or have no answer to that.
 */
export function serveSocks5(
  context: WorkloadContext,
  pool: Pool,
  dns: DnsProxy | undefined,
  fd: number,
  closed: () => void,
): { stop(): void } {
  const shaking = new Set<SocksSocket>();
  const act = (socket: SocksSocket, handshake: Socks5Handshake, event: Socks5Event): void => {
    switch (event.kind) {
      case "more":
        return;
      case "reply":
        socket.write(event.bytes);
        act(socket, handshake, handshake.resume());
        return;
      case "refuse":
        refuse(socket, event.bytes, event.reason, event.target);
        return;
      case "connect":
        connect(socket, handshake, event.destination);
        return;
      case "resolve":
        resolve(socket, handshake, event);
    }
  };
  const refuse = (socket: SocksSocket, reply: Uint8Array, reason: string, target: Socks5Target | undefined): void => {
    const { plane, info } = context;
    const source = peerAddress(descriptorOf(socket));
    plane.logs.socks5.warn("request refused", [
      ...(source === undefined ? [] : [["src.addr", { display: formatAddress(source) }] as const]),
      ["src.workload", plane.mesh.current.localWorkload(info)?.name ?? info.name],
      ["src.namespace", info.namespace],
      ...targetFields(target),
      ["direction", "outbound"],
      ["error", reason],
    ]);
    socket.write(reply);
    socket.end();
  };
  const connect = (socket: SocksSocket, { rest }: Socks5Handshake, destination: SocketAddress): void => {
    const source = peerAddress(descriptorOf(socket));
    if (source === undefined) {
      socket.end(); // reset meanwhile
      return;
    }
    // Before connecting, as the original does: the client finds out from the connection itself.
    socket.write(encodeReply(REPLY_SUCCEEDED));
    shaking.delete(socket);
    const endpoint = new TcpEndpoint(socket as unknown as TcpSocket);
    if (rest.length > 0) endpoint.received(rest);
    new OutboundConnection(context, pool, endpoint, source, destination).start();
  };
  const resolve = (
    socket: SocksSocket,
    handshake: Socks5Handshake,
    target: Socks5Event & { kind: "resolve" },
  ): void => {
    const { host, port } = target;
    const client = peerAddress(descriptorOf(socket));
    const family = client === undefined || isIpv4(client.ip) ? "IPv4" : "IPv6";
    if (dns === undefined && isLocalhost(host.toLowerCase())) {
      connect(socket, handshake, { ip: family === "IPv4" ? "127.0.0.1" : "::1", port });
      return;
    }
    if (dns === undefined) {
      refuse(socket, encodeReply(REPLY_GENERAL_FAILURE), "names need the DNS proxy, which is off", target);
      return;
    }
    dns.resolve(host, family, (found) => {
      if (socket.data !== handshake || handshake.refused || descriptorOf(socket) < 0) return; // the client is gone
      if ("ip" in found) connect(socket, handshake, { ip: found.ip, port });
      else refuse(socket, encodeReply(REPLY_HOST_UNREACHABLE), found.error, target);
    });
  };
  const listener = adoptListener<SocksData>(fd, {
    open(socket) {
      shaking.add(socket);
      context.plane.traffic.sockets.source.value++;
      socket.data = new Socks5Handshake();
    },
    data(socket, chunk) {
      const { data } = socket;
      if (data instanceof TcpEndpoint) data.received(chunk);
      else act(socket, data, data.receive(chunk));
    },
    drain(socket) {
      if (socket.data instanceof TcpEndpoint) socket.data.writable();
    },
    end(socket) {
      if (socket.data instanceof TcpEndpoint) socket.data.ended();
      else socket.end();
    },
    close(socket, error) {
      closed();
      shaking.delete(socket);
      if (socket.data instanceof TcpEndpoint) socket.data.gone(error);
    },
    error(socket, error) {
      if (socket.data instanceof TcpEndpoint) socket.data.broken(error);
      else {
        surfaceBug(error);
        socket.end();
      }
    },
  });
  return {
    stop() {
      listener.stop(false);
      for (const socket of [...shaking]) socket.terminate();
    },
  };
}
