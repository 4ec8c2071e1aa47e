import { surfaceBug } from "../net/surface.ts";

/** Who has a socket: its handshake at first, its connection from then on. */
export interface SocketUser {
  /** Only a handshake is asked. */
  verified?(socket: GrpcSocket, ok: boolean, error: Error | null | undefined): void;
  opened?(socket: GrpcSocket): void;
  received(bytes: Uint8Array): void;
  writable(): void;
  /** The server has said all. */
  ended(): void;
  /** The socket is gone. */
  closed(error: Error | undefined): void;
  /** Something went wrong with it, or one of our own handlers threw; the socket is still there. */
  broken(error: Error): void;
}

export type GrpcSocket = Bun.Socket<SocketUser>;

/** Handlers of all sockets of gRPC clients. */
export const socketHandlers: Bun.SocketHandler<SocketUser> = {
  open: (socket) => socket.data.opened?.(socket),
  handshake: (socket, ok, error) => socket.data.verified?.(socket, ok, error),
  data: ({ data }, chunk) => data.received(chunk),
  drain: ({ data }) => data.writable(),
  end: ({ data }) => data.ended(),
  close: ({ data }, error) => data.closed(error),
  error({ data }, error) {
    surfaceBug(error);
    data.broken(error);
  },
};
