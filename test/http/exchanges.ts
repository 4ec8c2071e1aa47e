// Both sides of an exchange as a test sees them.
import type {
  ClientStream,
  RequestHead,
  RequestListener,
  Reset,
  ResponseHead,
  ResponseListener,
  ServerConnectionHandler,
  ServerStream,
} from "../../src/http/mod.ts";
import type { HeaderList } from "../../src/http2/mod.ts";
import { latin1, octets } from "./memory_endpoint.ts";

/** A request as its server saw it. */
export class SeenRequest implements RequestListener {
  body = "";
  ended: boolean;
  trailers: HeaderList | undefined = undefined;
  reset: Reset | undefined = undefined;
  writable = 0;
  /** Bytes of the body that were not given back. */
  owed = 0;
  /** The body's bytes are given back at once. */
  consumes = true;
  onBody: ((chunk: Uint8Array, endStream: boolean) => void) | undefined = undefined;
  readonly stream: ServerStream;
  readonly head: RequestHead;

  constructor(stream: ServerStream, head: RequestHead, endStream: boolean) {
    this.stream = stream;
    this.head = head;
    this.ended = endStream;
  }

  onData(chunk: Uint8Array, endStream: boolean): void {
    this.body += latin1(chunk);
    this.ended ||= endStream;
    if (this.consumes) this.stream.consume(chunk.length);
    else this.owed += chunk.length;
    this.onBody?.(chunk, endStream);
  }
  onTrailers(fields: HeaderList): void {
    this.trailers = fields;
    this.ended = true;
  }
  onWritable(): void {
    this.writable++;
  }
  onReset(reset: Reset): void {
    this.reset = reset;
  }

  respond(status: number, body = "", fields: HeaderList = []): void {
    const all: HeaderList = [...fields, ["content-length", String(body.length)]];
    this.stream.respond(responseOf(status, all), body === "");
    if (body !== "") this.stream.sendData(octets(body), true);
  }
}

/** A handler that keeps what it is told; `react` is called for each request. */
export class RecordingHandler implements ServerConnectionHandler {
  readonly requests: SeenRequest[] = [];
  readonly refused: { status: number; details: string; path: string | undefined }[] = [];
  closed = 0;
  readonly #react: ((request: SeenRequest) => void) | undefined;

  constructor(react?: (request: SeenRequest) => void) {
    this.#react = react;
  }

  onRequest(stream: ServerStream, head: RequestHead, endStream: boolean): RequestListener {
    const request = new SeenRequest(stream, head, endStream);
    this.requests.push(request);
    this.#react?.(request);
    return request;
  }
  onRefused(status: number, details: string, head: RequestHead | undefined): void {
    this.refused.push({ status, details, path: head?.path });
  }
  onConnectionClosed(): void {
    this.closed++;
  }
}

/** A response as its client saw it. */
export class SeenResponse implements ResponseListener {
  readonly informational: ResponseHead[] = [];
  head: ResponseHead | undefined = undefined;
  body = "";
  bytes = 0;
  ended = false;
  trailers: HeaderList | undefined = undefined;
  reset: Reset | undefined = undefined;
  writable = 0;
  owed = 0;
  consumes = true;
  stream: ClientStream | undefined = undefined;
  onEnd: (() => void) | undefined = undefined;

  onInformational(head: ResponseHead): void {
    this.informational.push(head);
  }
  onHeaders(head: ResponseHead, endStream: boolean): void {
    this.head = head;
    if (endStream) this.#end();
  }
  onData(chunk: Uint8Array, endStream: boolean): void {
    this.bytes += chunk.length;
    if (this.bytes < 1 << 16) this.body += latin1(chunk);
    if (this.consumes) this.stream?.consume(chunk.length);
    else this.owed += chunk.length;
    if (endStream) this.#end();
  }
  onTrailers(fields: HeaderList): void {
    this.trailers = fields;
    this.#end();
  }
  onWritable(): void {
    this.writable++;
  }
  onReset(reset: Reset): void {
    this.reset = reset;
    this.onEnd?.();
  }
  #end(): void {
    this.ended = true;
    this.onEnd?.();
  }
}

export function requestOf(
  method: string,
  path: string,
  fields: HeaderList = [],
  more: Partial<RequestHead> = {},
): RequestHead {
  return {
    method,
    scheme: "http",
    authority: "web.shop",
    path,
    protocol: "HTTP/1.1",
    fields,
    upgrade: undefined,
    expectContinue: false,
    wireBytes: 0,
    ...more,
  };
}

export function responseOf(status: number, fields: HeaderList = [], upgrade?: string): ResponseHead {
  return { status, fields, protocol: "HTTP/1.1", upgrade, wireBytes: 0 };
}
