/**
 * A plain HTTP/2 server (prior knowledge, RFC 9113 §3.3) on loopback, served by the codec, for h2spec.
 * `bun test/http2/h2spec_server.ts [port]` runs it alone.
 */
import type { Socket, TCPSocketListener } from "bun";
import process from "node:process";
import { Http2Connection, type Http2Handler, type Http2Options, type Http2Stream } from "../../src/http2/mod.ts";

const OPTIONS: Http2Options = {
  initialWindowSize: 65_535,
  connectionWindowSize: 1 << 20,
  maxFrameSize: 16_384,
  maxHeaderListSize: 64 << 10,
  maxConcurrentStreams: 100,
  maxSendBuffer: 64 << 10,
};

/** What a connection knows of its socket. */
interface Link {
  readonly socket: Socket<Link>;
  readonly connection: Http2Connection<string>;
  rest: Uint8Array | undefined; // of a piece that the socket did not take whole
  failed: boolean;
}

function flush(link: Link): void {
  for (;;) {
    const piece = link.rest ?? link.connection.nextOutput();
    if (piece === undefined) break;
    const written = Math.max(0, link.socket.write(piece));
    link.rest = written < piece.length ? piece.subarray(written) : undefined;
    if (link.rest !== undefined) return; // drain goes on
  }
  // Half of it only: closing over bytes still on their way would be a reset, which can overtake the GOAWAY.
  if (link.failed) link.socket.shutdown();
}

/** Answers 200 with a body that names the method, once the request is complete; h2spec wants five octets or more. */
function answer(stream: Http2Stream<string>): void {
  const body = new TextEncoder().encode(`method ${stream.data}\n`);
  stream.respond([[":status", "200"], ["content-length", String(body.length)]], false);
  stream.sendData(body, true);
}

const handler: Http2Handler<string> = {
  onOutput() {}, // every turn ends with a flush
  onHeaders(stream, headers, endStream) {
    stream.data = headers.find((field) => field[0] === ":method")![1];
    if (endStream) answer(stream);
  },
  onData(stream, chunk, endStream) {
    stream.consume(chunk.length);
    if (endStream) answer(stream);
  },
  onTrailers: answer,
  onWritable() {},
  onReset() {},
  onStreamClosed() {},
  onConnectionError(connection) {
    (connection.data as Link).failed = true;
  },
};

/** Listens on loopback; port 0 takes any free one. */
export function serve(port: number): TCPSocketListener<Link> {
  return Bun.listen<Link>({
    hostname: "127.0.0.1",
    port,
    allowHalfOpen: true,
    socket: {
      open(socket) {
        const connection = new Http2Connection<string>("server", OPTIONS, handler);
        const link: Link = { socket, connection, rest: undefined, failed: false };
        connection.data = link;
        socket.data = link;
        flush(link);
      },
      data(socket, bytes) {
        socket.data.connection.receive(bytes);
        flush(socket.data);
      },
      drain(socket) {
        flush(socket.data);
      },
      end(socket) {
        socket.end();
      },
      close(socket) {
        socket.data.connection.transportClosed("the socket closed");
      },
      error() {},
    },
  });
}

if (import.meta.main) {
  const listener = serve(Number(process.argv[2] ?? 0));
  console.log(listener.port);
}
