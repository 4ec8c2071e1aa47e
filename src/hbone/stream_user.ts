import type { HeaderList, Http2Stream } from "../http2/mod.ts";
import type { RelayError } from "../net/relay.ts";
import type { HboneTransport } from "./transport.ts";

/** What an HBONE stream reports to: one object a stream, so that the codec's handler needs no closure of its own. */
export interface StreamUser {
  onHeaders(headers: HeaderList, endStream: boolean): void;
  onData(chunk: Uint8Array, endStream: boolean): void;
  /** The stream's queue in the codec has room again. */
  onWritable(): void;
  /** The socket has taken all that was written (see `whenDrained`). */
  onDrained(): void;
  /** Bytes received on this stream that wait for their reader. */
  readonly unread: number;
  /** Ends the stream for a reason of the transport's, which the access log will say. */
  cut(error: RelayError): void;
  /** Its transport ends with this error, at once: what the stream will say of it, and not of the end itself. */
  doom(error: RelayError): void;
  onReset(code: number, remote: boolean): void;
  onClosed(stream: Http2Stream<StreamUser>): void;
}

/** Who owns a transport: the pool (client) or the server. */
export interface TransportOwner {
  /** Server role: a request arrived. Must set `stream.data` or answer with an end of stream. */
  onRequest(transport: HboneTransport, stream: Http2Stream<StreamUser>, headers: HeaderList, endStream: boolean): void;
  /** A stream ended, or the peer's settings changed: there may be room for another one. */
  onCapacity(transport: HboneTransport): void;
  /** The peer asked us to open no more streams here. */
  onGoaway(transport: HboneTransport): void;
  onTransportClosed(transport: HboneTransport): void;
}
