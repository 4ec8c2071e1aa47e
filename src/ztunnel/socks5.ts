import type { Pool } from "../hbone/mod.ts";
import { peerAddress } from "../linux/mod.ts";
import { isIpv4, type SocketAddress } from "../net/address.ts";
import { surfaceBug } from "../net/surface.ts";
import { adoptListener } from "../net/tcp.ts";
import { TcpEndpoint, type TcpSocket } from "../net/tcp_endpoint.ts";
import type { DnsProxy } from "./dns/mod.ts";
import { OutboundConnection } from "./outbound.ts";
import {
  encodeReply,
  REPLY_GENERAL_FAILURE,
  REPLY_HOST_UNREACHABLE,
  REPLY_SUCCEEDED,
  type Socks5Event,
  Socks5Handshake,
} from "./socks5_protocol.ts";
import type { WorkloadContext } from "./workload_context.ts";

/** `socket.data`: the handshake, then the endpoint of the connection that it asked for. */
type SocksData = Socks5Handshake | TcpEndpoint;
type SocksSocket = Bun.Socket<SocksData>;

function descriptorOf(socket: SocksSocket): number {
  return (socket as unknown as { fd?: number }).fd ?? -1;
}

/** Serves SOCKS5 on a listening fd; connections go the same way as captured ones, names are the DNS proxy's. */
export function serveSocks5(
  context: WorkloadContext,
  pool: Pool,
  dns: DnsProxy | undefined,
  fd: number,
  closed: () => void,
): Bun.TCPSocketListener<SocksData> {
  const act = (socket: SocksSocket, handshake: Socks5Handshake, event: Socks5Event): void => {
    switch (event.kind) {
      case "more":
        return;
      case "reply":
        socket.write(event.bytes);
        act(socket, handshake, handshake.resume());
        return;
      case "refuse":
        refuse(socket, event.code, event.reason);
        return;
      case "connect":
        connect(socket, handshake, event.destination);
        return;
      case "resolve":
        resolve(socket, handshake, event);
    }
  };
  const refuse = (socket: SocksSocket, code: number, reason: string): void => {
    context.plane.logs.socks5.warn("request refused", [["error", reason]]);
    socket.write(encodeReply(code));
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
    const endpoint = new TcpEndpoint(socket as unknown as TcpSocket);
    if (rest.length > 0) endpoint.received(rest);
    new OutboundConnection(context, pool, endpoint, source, destination).start();
  };
  const resolve = (
    socket: SocksSocket,
    handshake: Socks5Handshake,
    { host, port }: Socks5Event & { kind: "resolve" },
  ): void => {
    if (dns === undefined) {
      refuse(socket, REPLY_GENERAL_FAILURE, `the name ${host} needs the DNS proxy, which is off`);
      return;
    }
    const client = peerAddress(descriptorOf(socket));
    dns.resolve(host, client === undefined || isIpv4(client.ip) ? "IPv4" : "IPv6", (found) => {
      if (socket.data !== handshake || descriptorOf(socket) < 0) return; // the client is gone
      if ("ip" in found) connect(socket, handshake, { ip: found.ip, port });
      else refuse(socket, REPLY_HOST_UNREACHABLE, found.error);
    });
  };
  return adoptListener<SocksData>(fd, {
    open(socket) {
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
}
