// HBONE transports over plain loopback TCP: the same code as under TLS, without certificates in the way.
import { type HboneSettings, HboneTransport, StreamEndpoint, type StreamUser } from "../../src/hbone/mod.ts";
import type { TransportOwner } from "../../src/hbone/stream_user.ts";
import type { TransportSocket } from "../../src/hbone/transport.ts";
import type { HeaderList, Http2Stream } from "../../src/http2/mod.ts";

export const SETTINGS: HboneSettings = { streamWindow: 4 << 20, connectionWindow: 16 << 20, frameSize: 1 << 20 };

/** What a test server does with a request; `endpoint` is bound to the stream already. */
export type OnConnect = (
  stream: Http2Stream<StreamUser>,
  endpoint: StreamEndpoint,
  headers: HeaderList,
  transport: HboneTransport,
) => void;

type Data = HboneTransport | undefined;

const handlers: Bun.SocketHandler<Data> = {
  data: (socket, chunk) => socket.data?.received(chunk),
  drain: (socket) => socket.data?.writable(),
  end: (socket) => socket.data?.close(),
  close: (socket) => socket.data?.gone("closed"),
};

/** Serves transports on a loopback port. */
export class PlainServer implements TransportOwner {
  readonly transports: HboneTransport[] = [];
  readonly #listener: Bun.TCPSocketListener<Data>;
  readonly #onConnect: OnConnect;

  constructor(onConnect: OnConnect, settings: HboneSettings = SETTINGS) {
    this.#onConnect = onConnect;
    this.#listener = Bun.listen<Data>({
      hostname: "127.0.0.1",
      port: 0,
      allowHalfOpen: true,
      socket: {
        ...handlers,
        open: (socket) => {
          socket.data = new HboneTransport("server", socket as TransportSocket, settings, this);
          this.transports.push(socket.data);
        },
      },
    } as Bun.TCPSocketListenOptions<Data>);
  }

  get port(): number {
    return this.#listener.port;
  }

  onRequest(transport: HboneTransport, stream: Http2Stream<StreamUser>, headers: HeaderList): void {
    const endpoint = new StreamEndpoint(undefined);
    stream.data = endpoint;
    endpoint.bind(stream, undefined);
    this.#onConnect(stream, endpoint, headers, transport);
  }
  onCapacity(): void {}
  onGoaway(): void {}
  onTransportClosed(): void {}

  stop(): void {
    this.#listener.stop(true);
    for (const transport of this.transports) transport.close();
  }
}

/** Connects a client transport to a port. */
export function connectPlain(
  port: number,
  owner: TransportOwner,
  done: (transport: HboneTransport) => void,
  failed: (error: Error) => void,
  settings: HboneSettings = SETTINGS,
): void {
  Bun.connect<Data>({
    hostname: "127.0.0.1",
    port,
    data: undefined,
    allowHalfOpen: true,
    socket: {
      ...handlers,
      open(socket) {
        const transport = new HboneTransport("client", socket as TransportSocket, settings, owner);
        socket.data = transport;
        done(transport);
      },
    },
  } as Bun.TCPSocketConnectOptions<Data>).catch(failed);
}
