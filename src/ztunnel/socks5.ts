import type { Pool } from "../hbone/mod.ts";
import { peerAddress } from "../linux/mod.ts";
import { surfaceBug } from "../net/surface.ts";
import { adoptListener } from "../net/tcp.ts";
import { TcpEndpoint, type TcpSocket } from "../net/tcp_endpoint.ts";
import { OutboundConnection } from "./outbound.ts";
import { encodeReply, REPLY_SUCCEEDED, type Socks5Event, Socks5Handshake } from "./socks5_protocol.ts";
import type { WorkloadContext } from "./workload_context.ts";

/** `socket.data`: the handshake, then the endpoint of the connection that it asked for. */
type SocksData = Socks5Handshake | TcpEndpoint;
type SocksSocket = Bun.Socket<SocksData>;

/** Serves SOCKS5 on a listening fd; connections go the same way as captured ones. */
export function serveSocks5(
  context: WorkloadContext,
  pool: Pool,
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
        context.plane.logs.socks5.warn("request refused", [["error", event.reason]]);
        socket.write(encodeReply(event.code));
        socket.end();
        return;
      case "connect": {
        const source = peerAddress((socket as unknown as { fd: number }).fd);
        if (source === undefined) {
          socket.end(); // reset meanwhile
          return;
        }
        // Before connecting, as the original does: the client finds out from the connection itself.
        socket.write(encodeReply(REPLY_SUCCEEDED));
        const endpoint = new TcpEndpoint(socket as unknown as TcpSocket);
        if (event.rest.length > 0) endpoint.received(event.rest);
        new OutboundConnection(context, pool, endpoint, source, event.destination).start();
      }
    }
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
