import { errorCode } from "../net/os_error.ts";
import { surfaceBug } from "../net/surface.ts";
import { HboneTransport } from "./transport.ts";

/** What `socket.data` holds until the peer is verified: an accepted connection or one that we make. */
export interface Unverified {
  handshake(socket: TunnelSocket, ok: boolean, error: Error | null | undefined): void;
  /** The socket is gone before the handshake was over. */
  closed(error: Error | undefined): void;
  /** Something else went wrong with it; the socket is still there. */
  broken(error: Error): void;
}

export type TunnelData = Unverified | HboneTransport;
export type TunnelSocket = Bun.Socket<TunnelData>;

/** Handlers of the TLS sockets of all tunnels. Nothing of a peer is looked at before `handshake` has verified it. */
export const tunnelHandlers: Bun.SocketHandler<TunnelData> = {
  handshake(socket, ok, error) {
    if (!(socket.data instanceof HboneTransport)) socket.data.handshake(socket, ok, error);
  },
  data({ data }, chunk) {
    if (data instanceof HboneTransport) data.received(chunk);
  },
  drain({ data }) {
    if (data instanceof HboneTransport) data.writable();
  },
  end({ data }) {
    if (data instanceof HboneTransport) data.close();
    else data.closed(undefined);
  },
  close({ data }, error) {
    if (data instanceof HboneTransport) data.gone(errorCode(error) || "closed by the peer");
    else data.closed(error);
  },
  error({ data }, error) {
    surfaceBug(error);
    if (data instanceof HboneTransport) data.close();
    else data.broken(error);
  },
};
