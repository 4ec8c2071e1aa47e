import type { GrpcChannelOptions, GrpcStream, GrpcStreamHandler, StreamOptions, UnaryOptions } from "./types.ts";

/** Calls to one server over one connection, which is made when a call needs it. */
export class GrpcChannel {
  constructor(_options: GrpcChannelOptions) {}

  /** Calls a unary method: one message there, one back. Rejects with GrpcError. */
  unary(_path: string, _message: Uint8Array, _options: UnaryOptions): Promise<Uint8Array> {
    throw new Error("not there yet");
  }

  /** Begins a bidirectional stream. */
  stream(_path: string, _handler: GrpcStreamHandler, _options?: StreamOptions): GrpcStream {
    throw new Error("not there yet");
  }

  /** Calls from now on get a new connection (the roots have changed); running ones go on. */
  renew(): void {}

  /** Ends every call and the connection. */
  close(): void {}
}
