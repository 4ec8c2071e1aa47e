import { ErrorCode, type Http2Connection, type Http2Handler, type Http2Stream } from "../http2/mod.ts";
import { surfaceBug } from "../net/surface.ts";
import type { StreamUser } from "./stream_user.ts";
import type { HboneTransport } from "./transport.ts";

function transportOf(connection: Http2Connection<StreamUser>): HboneTransport {
  return connection.data as HboneTransport;
}

/** A bug in what uses one stream is the end of that stream, and not of the others in the tunnel. */
function failed(stream: Http2Stream<StreamUser>, error: unknown): void {
  stream.reset(ErrorCode.INTERNAL_ERROR);
  surfaceBug(error as Error);
}

/** One handler for all transports of the process: what the codec tells goes to the stream it is about, or to the transport. */
export const codecHandler: Http2Handler<StreamUser> = {
  onOutput: (connection) => transportOf(connection)?.planFlush(),
  onHeaders(stream, headers, endStream) {
    const transport = transportOf(stream.connection);
    try {
      if (transport.h2.role === "server") transport.request(stream, headers, endStream);
      else stream.data.onHeaders(headers, endStream);
    } catch (error) {
      failed(stream, error);
    }
  },
  // A CONNECT stream carries no trailers with meaning; their end of stream is what counts (RFC 9113 §8.5).
  onTrailers: (stream) => codecHandler.onData(stream, EMPTY, true),
  onData(stream, chunk, endStream) {
    if (stream.data === undefined) {
      stream.consume(chunk.length);
      return;
    }
    try {
      stream.data.onData(chunk, endStream);
    } catch (error) {
      failed(stream, error);
    }
  },
  onWritable(stream) {
    try {
      stream.data?.onWritable();
    } catch (error) {
      failed(stream, error);
    }
  },
  onReset: (stream, code, remote) => stream.data?.onReset(code, remote),
  onStreamClosed(stream) {
    stream.data?.onClosed(stream);
    transportOf(stream.connection).capacity();
  },
  onSettings: (connection) => transportOf(connection)?.capacity(),
  onGoaway: (connection) => transportOf(connection).goneAway(),
  onPong: (connection) => transportOf(connection).pong(),
  onConnectionError: (connection, code, message) => transportOf(connection).fail(code, message),
};

const EMPTY = new Uint8Array(0);
