/** A gRPC server that does as it is told, right and wrong: the project's HTTP/2 in the other role, and nothing of src/grpc. */
import type { WorkloadCertificate } from "../../src/identity/mod.ts";
import {
  type HeaderList,
  Http2Connection,
  type Http2Handler,
  type Http2Options,
  type Http2Stream,
} from "../../src/http2/mod.ts";
import { bytesOf, framed, joined, textOf } from "./bytes.ts";

const OPTIONS: Http2Options = {
  initialWindowSize: 1 << 20,
  connectionWindowSize: 8 << 20,
  maxFrameSize: 16_384,
  maxHeaderListSize: 64 << 10,
  maxSendBuffer: 1 << 20,
};

/** One stream as the server sees it. */
export class ServerCall {
  readonly stream: Http2Stream<ServerCall | undefined>;
  readonly connection: ServerConnection;
  readonly headers: HeaderList;
  readonly path: string;
  /** Whole messages that came, as text. */
  readonly messages: string[] = [];
  ended = false;
  /** The client's RST_STREAM. */
  reset: number | undefined = undefined;
  readonly #pieces: Uint8Array[] = [];

  constructor(stream: Http2Stream<ServerCall | undefined>, connection: ServerConnection, headers: HeaderList) {
    this.stream = stream;
    this.connection = connection;
    this.headers = headers;
    this.path = headers.find(([name]) => name === ":path")?.[1] ?? "";
  }

  received(chunk: Uint8Array, endStream: boolean): void {
    if (chunk.length > 0) this.#pieces.push(chunk.slice());
    this.stream.consume(chunk.length);
    this.ended ||= endStream;
    let bytes = joined(this.#pieces);
    for (let size = sizeOf(bytes); bytes.length >= size; size = sizeOf(bytes)) {
      this.messages.push(textOf(bytes.subarray(5, size)));
      bytes = bytes.subarray(size);
    }
    this.#pieces.splice(0, this.#pieces.length, bytes);
  }

  /** Response headers. */
  accept(more: HeaderList = []): void {
    this.stream.respond([[":status", "200"], ["content-type", "application/grpc"], ...more], false);
  }

  send(message: Uint8Array | string): void {
    this.stream.sendData(framed(message), false);
  }

  finish(status = 0, message?: string): void {
    this.stream.sendTrailers([
      ["grpc-status", String(status)],
      ...(message === undefined ? [] : [["grpc-message", message] as [string, string]]),
    ]);
  }

  /** Headers, one message, status OK. */
  answer(message: Uint8Array | string): void {
    this.accept();
    this.send(message);
    this.finish();
  }
}

function sizeOf(bytes: Uint8Array): number {
  return bytes.length < 5 ? Infinity : 5 + new DataView(bytes.buffer, bytes.byteOffset).getUint32(1);
}

/** One connection as the server sees it. */
export class ServerConnection {
  readonly socket: Bun.Socket<ServerConnection>;
  readonly h2: Http2Connection<ServerCall | undefined>;
  readonly server: TestServer;
  readonly calls: ServerCall[] = [];
  pings = 0;
  goaways = 0;
  closed = false;
  #rest: Uint8Array | undefined = undefined;

  constructor(socket: Bun.Socket<ServerConnection>, server: TestServer) {
    this.socket = socket;
    this.server = server;
    this.h2 = new Http2Connection<ServerCall | undefined>("server", { ...OPTIONS, ...server.options.http2 }, handler);
    this.h2.data = this;
    server.options.greet?.(socket);
    this.flush();
  }

  flush(): void {
    if (this.server.options.mute === true) return;
    for (;;) {
      const piece = this.#rest ?? this.h2.nextOutput();
      this.#rest = undefined;
      if (piece === undefined) return;
      const written = this.socket.write(piece);
      if (written < piece.length) {
        this.#rest = piece.slice(Math.max(0, written));
        return;
      }
    }
  }
}

const handler: Http2Handler<ServerCall | undefined> = {
  onOutput: ({ data }) => void setImmediate(() => (data as ServerConnection).flush()),
  onHeaders(stream, headers, endStream) {
    const connection = stream.connection.data as ServerConnection;
    const call = new ServerCall(stream, connection, headers);
    stream.data = call;
    call.ended = endStream;
    connection.calls.push(call);
    connection.server.options.serve?.(call);
    connection.server.changed();
  },
  onData(stream, chunk, endStream) {
    const before = stream.data?.messages.length;
    stream.data?.received(chunk, endStream);
    const { server } = stream.connection.data as ServerConnection;
    if (stream.data !== undefined && stream.data.messages.length !== before) server.options.message?.(stream.data);
    server.changed();
  },
  onTrailers() {},
  onWritable() {},
  onReset(stream, code) {
    if (stream.data !== undefined) stream.data.reset = code;
    (stream.connection.data as ServerConnection).server.changed();
  },
  onStreamClosed() {},
  onGoaway(connection) {
    (connection.data as ServerConnection).goaways++;
  },
  onConnectionError() {},
};

export interface TestServerOptions {
  readonly http2?: Partial<Http2Options>;
  /** A call has begun. */
  readonly serve?: (call: ServerCall) => void;
  /** One message or more of it are there. */
  readonly message?: (call: ServerCall) => void;
  /** Speaks TLS and not a word of HTTP/2. */
  readonly mute?: boolean;
  /** First thing on a connection, before any HTTP/2. */
  readonly greet?: (socket: Bun.Socket<ServerConnection>) => void;
  readonly tls?: Bun.TLSOptions;
  readonly hostname?: string;
}

const EVENT_DEADLINE_MS = 15_000;

export class TestServer {
  readonly options: TestServerOptions;
  readonly connections: ServerConnection[] = [];
  readonly #listener: Bun.TCPSocketListener<ServerConnection>;
  #waiting: { readonly condition: () => boolean; readonly resolve: () => void }[] = [];

  constructor(certificate: WorkloadCertificate, options: TestServerOptions = {}) {
    this.options = options;
    const tls = { key: certificate.keyPem, cert: certificate.chainPem, ALPNProtocols: "\x02h2", ...options.tls };
    this.#listener = Bun.listen<ServerConnection>({
      hostname: options.hostname ?? "127.0.0.1",
      port: 0,
      allowHalfOpen: true,
      tls: tls as Bun.TLSOptions,
      socket: {
        handshake: (socket, ok) => {
          if (!ok) return;
          const connection = new ServerConnection(socket, this);
          socket.data = connection;
          this.connections.push(connection);
          this.changed();
        },
        data: ({ data }, bytes) => {
          // The first frames of a client, PINGs among them, by their types.
          if (isPing(bytes)) data.pings++;
          if (this.options.mute !== true) data.h2.receive(bytes);
          this.changed();
        },
        drain: ({ data }) => data?.flush(),
        end: (socket) => void socket.end(),
        close: ({ data }) => {
          if (data === undefined) return;
          data.closed = true;
          data.h2.transportClosed("closed");
          this.changed();
        },
        error() {},
      },
    });
  }

  get port(): number {
    return this.#listener.port;
  }

  get calls(): ServerCall[] {
    return this.connections.flatMap(({ calls }) => calls);
  }

  /** Resolves as soon as the condition holds after something has happened here. */
  until(condition: () => boolean): Promise<void> {
    if (condition()) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`the server never saw ${condition}`)), EVENT_DEADLINE_MS);
      this.#waiting.push({
        condition,
        resolve: () => {
          clearTimeout(timer);
          resolve();
        },
      });
    });
  }

  changed(): void {
    const [ready, waiting] = [this.#waiting.filter((x) => x.condition()), this.#waiting.filter((x) => !x.condition())];
    this.#waiting = waiting;
    for (const { resolve } of ready) resolve();
  }

  stop(): void {
    this.#listener.stop(true);
  }
}

/** Whether these bytes are one PING frame that is no answer. */
function isPing(bytes: Uint8Array): boolean {
  return bytes.length >= 17 && bytes[2] === 8 && bytes[3] === 6 && bytes[4] === 0;
}

/** Echoes every message and ends when the client has. */
export function echo(call: ServerCall): void {
  if (!call.stream.connection.closing && call.messages.length > 0) call.answer(bytesOf(call.messages[0]!));
}
