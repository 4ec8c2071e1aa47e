import { Endpoint } from "./endpoint.ts";

/** Sends bytes on an endpoint that is not joined yet and has read nothing: a header that goes before the payload. */
export function writeFirst(endpoint: Endpoint, bytes: Uint8Array): void {
  endpoint.peer = new CreditSink();
  endpoint.deliver(bytes);
  endpoint.peer = undefined;
}

/** Takes back credit and has nothing to say. */
class CreditSink extends Endpoint {
  override deliver(chunk: Uint8Array): void {
    this.peer?.consumed(chunk.length);
  }
  override consumed(): void {}
  override finish(): void {}
  override close(): void {}
  override abort(): void {}
  override joined(): void {}
}
