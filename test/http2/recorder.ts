import type { HeaderList, Http2Connection, Http2Handler, Http2Stream } from "../../src/http2/mod.ts";

/** Writes every event down; on a server it answers complete requests, except those for /hold. */
export class Recorder implements Http2Handler<unknown> {
  readonly events: string[] = [];
  readonly streams: Map<number, Http2Stream<unknown>> = new Map();
  readonly #methods = new Map<number, string>();
  readonly #received = new Map<number, number>();

  onOutput(): void {}

  onHeaders(stream: Http2Stream<unknown>, headers: HeaderList, endStream: boolean): void {
    this.streams.set(stream.id, stream);
    this.events.push(`headers ${stream.id} ${headers.map((field) => field.join("=")).join(" ")} ${endStream}`);
    if (stream.connection.role === "client") return;
    const hold = headers.some(([name, value]) => name === ":path" && value === "/hold");
    if (!hold) this.#methods.set(stream.id, headers.find(([name]) => name === ":method")![1]);
    if (endStream) this.#answer(stream);
  }

  onTrailers(stream: Http2Stream<unknown>, trailers: HeaderList): void {
    this.events.push(`trailers ${stream.id} ${trailers.map((field) => field.join("=")).join(" ")}`);
    this.#answer(stream);
  }

  onData(stream: Http2Stream<unknown>, chunk: Uint8Array, endStream: boolean): void {
    // Pieces depend on how bytes arrive; their sum does not.
    this.#received.set(stream.id, (this.#received.get(stream.id) ?? 0) + chunk.length);
    stream.consume(chunk.length);
    if (!endStream) return;
    this.events.push(`data ${stream.id} ${this.#received.get(stream.id)}`);
    this.#answer(stream);
  }

  received(streamId: number): number {
    return this.#received.get(streamId) ?? 0;
  }

  onWritable(stream: Http2Stream<unknown>): void {
    this.events.push(`writable ${stream.id}`);
  }

  onReset(stream: Http2Stream<unknown>, code: number, remote: boolean): void {
    this.events.push(`reset ${stream.id} ${code} ${remote}`);
  }

  onStreamClosed(stream: Http2Stream<unknown>): void {
    this.events.push(`closed ${stream.id}`);
  }

  onSettings(): void {
    this.events.push("settings");
  }

  onGoaway(_connection: Http2Connection<unknown>, lastStreamId: number, code: number, debug: string): void {
    this.events.push(`goaway ${lastStreamId} ${code} ${debug}`);
  }

  onPong(_connection: Http2Connection<unknown>, payload: Uint8Array): void {
    this.events.push(`pong ${payload.toHex()}`);
  }

  onConnectionError(_connection: Http2Connection<unknown>, code: number, message: string): void {
    this.events.push(`failed ${code} ${message}`);
  }

  #answer(stream: Http2Stream<unknown>): void {
    const method = this.#methods.get(stream.id);
    if (method === undefined || stream.connection.role === "client") return;
    stream.respond([[":status", "200"]], false);
    stream.sendData(new TextEncoder().encode(`method ${method}\n`), true);
  }
}
