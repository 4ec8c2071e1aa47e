import { ErrorCode, type HeaderList, type Http2Handler, type Http2Stream } from "../http2/mod.ts";
import {
  type ClientConnectionOwner,
  DEFAULT_MAX_HEADER_COUNT,
  DEFAULT_SEND_BUFFER,
  type Http2ClientOptions,
  type HttpClientEndpoint,
} from "./connection.ts";
import type { ClientStream, ResponseListener } from "./exchange.ts";
import { requestList, responseHead, trailerList } from "./fields.ts";
import { Http2Endpoint } from "./http2_endpoint.ts";
import type { RequestHead } from "./message.ts";
import { resetOf } from "./resets.ts";
import { websocketAccept } from "./websocket.ts";

const DEFAULT_MAX_HEADER_BYTES = 122_880; // between the 70 kB that pass and the 200 kB that do not (spec/waypoint.md §7)

class Http2Request implements ClientStream {
  stream: Http2Stream<Http2Request> | undefined = undefined;
  listener: ResponseListener | undefined;
  readonly #connection: Http2ClientConnection;
  readonly #upgrade: string | undefined;
  /** Answer to the WebSocket key of an HTTP/1 client. */
  readonly #accept: string | undefined;
  /** Output handed over before this request was written. */
  readonly #mark: number;

  constructor(connection: Http2ClientConnection, head: RequestHead, listener: ResponseListener, mark: number) {
    this.#connection = connection;
    this.#upgrade = head.upgrade;
    this.#accept = head.upgrade === "websocket" ? websocketAccept(head.fields) : undefined;
    this.#mark = mark;
    this.listener = listener;
  }

  sendData(chunk: Uint8Array, endStream: boolean): boolean {
    return this.stream!.sendData(chunk, endStream);
  }

  sendTrailers(fields: HeaderList): void {
    this.stream!.sendTrailers(trailerList(fields));
  }

  reset(): void {
    this.listener = undefined;
    this.stream!.reset(ErrorCode.CANCEL);
  }

  consume(bytes: number): void {
    this.stream!.consume(bytes);
  }

  // --- from the codec ---

  onHeaders(list: HeaderList, endStream: boolean): void {
    const { listener } = this;
    if (listener === undefined) return;
    const count = list.length;
    const head = responseHead(list);
    if (head.wireBytes > this.#connection.maxBytes || count > this.#connection.maxCount) {
      this.listener = undefined;
      this.stream!.reset(ErrorCode.PROTOCOL_ERROR);
      listener.onReset({ reason: "protocol-error", detail: "response headers too large", unsent: false });
      return;
    }
    if (head.status < 200) {
      listener.onInformational(head);
      return;
    }
    if (this.#upgrade !== undefined && head.status === 200) {
      head.status = 101; // RFC 8441 §5: what an HTTP/1 server says
      head.upgrade = this.#upgrade;
      if (this.#accept !== undefined) head.fields.push(["sec-websocket-accept", this.#accept]);
    }
    if (endStream) this.listener = undefined;
    listener.onHeaders(head, endStream);
  }

  onData(chunk: Uint8Array, endStream: boolean): void {
    const { listener } = this;
    if (endStream) this.listener = undefined; // a reset after the end is no news
    if (listener === undefined) this.stream!.consume(chunk.length);
    else listener.onData(chunk, endStream);
  }

  onTrailers(trailers: HeaderList): void {
    const { listener } = this;
    this.listener = undefined;
    listener?.onTrailers(trailers);
  }

  onReset(code: number, remote: boolean, endReason: string): void {
    const { listener } = this;
    this.listener = undefined;
    listener?.onReset(resetOf(code, remote, endReason, this.#connection.handedOver === this.#mark));
  }
}

class Http2ClientConnection extends Http2Endpoint<Http2Request> {
  readonly maxBytes: number;
  readonly maxCount: number;
  readonly #owner: ClientConnectionOwner;
  #told = false; // the owner knows that we take no more

  constructor(options: Http2ClientOptions, owner: ClientConnectionOwner) {
    const maxBytes = options.maxHeaderBytes ?? DEFAULT_MAX_HEADER_BYTES;
    super(
      "client",
      { ...options, sendBuffer: options.sendBuffer ?? DEFAULT_SEND_BUFFER },
      { maxHeaderListSize: maxBytes * 2 },
      codecHandler,
    );
    this.maxBytes = maxBytes;
    this.maxCount = options.maxHeaderCount ?? DEFAULT_MAX_HEADER_COUNT;
    this.#owner = owner;
  }

  get handedOver(): number {
    return this.emissions;
  }

  get available(): boolean {
    return this.state === "open" && !this.draining && !this.readEnded && this.h2.canRequest;
  }

  request(head: RequestHead, endStream: boolean, listener: ResponseListener): ClientStream | undefined {
    if (!this.available) return undefined;
    const request = new Http2Request(this, head, listener, this.emissions);
    const upgrade = head.upgrade !== undefined;
    const stream = this.h2.request(requestList(head), endStream && !upgrade, request);
    if (stream === undefined) return undefined;
    request.stream = stream;
    return request;
  }

  drain(): void {
    this.#tell();
    this.endWithLastStream();
  }

  goneAway(): void {
    this.draining = true;
    this.#tell();
    this.plan();
  }

  streamClosed(): void {
    this.streamEnded();
    if (this.available) this.#owner.onAvailable();
  }

  settled(): void {
    if (this.available) this.#owner.onAvailable();
  }

  override failed(): void {
    super.failed();
    this.#tell();
  }

  protected override onReadEnded(): void {
    this.end(false);
  }

  protected override onEnd(): void {
    this.h2.transportClosed(this.relay?.error?.text ?? "connection closed");
    this.#tell();
    this.#owner.onClosed();
  }

  #tell(): void {
    if (this.#told) return;
    this.#told = true;
    this.#owner.onDraining();
  }
}

function connectionOf(stream: Http2Stream<Http2Request>): Http2ClientConnection {
  return stream.connection.data as Http2ClientConnection;
}

const codecHandler: Http2Handler<Http2Request> = {
  onOutput: (connection) => (connection.data as Http2ClientConnection | undefined)?.plan(),
  onHeaders: (stream, headers, endStream) => stream.data.onHeaders(headers, endStream),
  onTrailers: (stream, trailers) => stream.data.onTrailers(trailers),
  onData: (stream, chunk, endStream) => stream.data.onData(chunk, endStream),
  onWritable: (stream) => stream.data.listener?.onWritable(),
  onReset: (stream, code, remote) => stream.data.onReset(code, remote, stream.connection.endReason),
  onStreamClosed: (stream) => connectionOf(stream).streamClosed(),
  onSettings: (connection) => (connection.data as Http2ClientConnection).settled(),
  onGoaway: (connection) => (connection.data as Http2ClientConnection).goneAway(),
  onConnectionError: (connection) => (connection.data as Http2ClientConnection).failed(),
};

/** HTTP/2 as a client on a byte stream: join the result with the upstream's endpoint by a Relay. */
export function http2Client(options: Http2ClientOptions, owner: ClientConnectionOwner): HttpClientEndpoint {
  return new Http2ClientConnection(options, owner);
}
