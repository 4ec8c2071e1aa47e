/** Giving Bun descriptors that were made elsewhere, in another namespace: `fd` works but is not in the type declarations. */
import type { Socket, SocketHandler, TCPSocketConnectOptions, TCPSocketListener, TCPSocketListenOptions } from "bun";

export interface Adoption<Data> {
  readonly fd: number;
  readonly socket: SocketHandler<Data>;
  readonly data?: Data;
  readonly tls?: Bun.TLSOptions | undefined;
}

/** Takes over a listening descriptor. Half-open connections are allowed, as everywhere here. */
export function adoptListener<Data>(adoption: Adoption<Data>): TCPSocketListener<Data> {
  const { fd, socket, tls } = adoption;
  const options = { fd, socket, allowHalfOpen: true, ...(tls === undefined ? {} : { tls }) };
  return Bun.listen<Data>(options as unknown as TCPSocketListenOptions<Data>);
}

/** Takes over a connecting descriptor. `open` comes for a refused connect too: read SO_ERROR there. */
export function adoptConnection<Data>(adoption: Adoption<Data>): Promise<Socket<Data>> {
  const { fd, socket, data, tls } = adoption;
  const options = { fd, socket, data, allowHalfOpen: true, ...(tls === undefined ? {} : { tls }) };
  return Bun.connect<Data>(options as unknown as TCPSocketConnectOptions<Data>);
}

export function descriptorOf(socket: Socket<unknown>): number {
  return (socket as unknown as { readonly fd: number }).fd;
}
