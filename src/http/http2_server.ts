import { hostFieldProblem } from "../http1/mod.ts";
import { ErrorCode, type HeaderList, type Http2Handler, type Http2Stream } from "../http2/mod.ts";
import {
  DEFAULT_IDLE_TIMEOUT_MS,
  DEFAULT_MAX_HEADER_BYTES,
  DEFAULT_MAX_HEADER_COUNT,
  DEFAULT_SEND_BUFFER,
  type Http2ServerOptions,
  type HttpServerEndpoint,
} from "./connection.ts";
import type { RequestListener, ServerConnectionHandler, ServerStream } from "./exchange.ts";
import { requestHead, responseList, trailerList } from "./fields.ts";
import { Http2Endpoint } from "./http2_endpoint.ts";
import type { RequestHead, ResponseHead } from "./message.ts";
import { resetOf } from "./resets.ts";

const DEFAULT_MAX_STREAMS = 1024; // Envoy: max_concurrent_streams
/** Between the two GOAWAYs of a drain, so that requests on their way are served; ms (RFC 9113 §6.8). */
const GOAWAY_GRACE_MS = 1_000;
const CONTINUE: HeaderList = [[":status", "100"]];

/** A request that a client sent, and the way to answer it. */
class Http2Exchange implements ServerStream {
  readonly #connection: Http2ServerConnection;
  readonly #stream: Http2Stream<Http2Exchange>;
  readonly #bodyless: boolean;
  readonly #tunnel: boolean;
  /** Set as soon as the handler has given it; until then nothing of the request arrives. */
  listener: RequestListener | undefined = undefined;
  continued = false;
  requestEnded: boolean;
  #answered = false;

  constructor(
    connection: Http2ServerConnection,
    stream: Http2Stream<Http2Exchange>,
    head: RequestHead,
    endStream: boolean,
  ) {
    this.#connection = connection;
    this.#stream = stream;
    this.requestEnded = endStream;
    this.#bodyless = head.method === "HEAD";
    this.#tunnel = head.upgrade !== undefined;
  }

  respond(head: ResponseHead, endStream: boolean): void {
    let { status } = head;
    if (status === 100 && this.continued) return; // we have said so already
    if (status === 101) {
      if (!this.#tunnel) throw new Error("http2: 101 for a request that asks for no upgrade");
      status = 200; // RFC 8441 §5: the stream is the connection then
    }
    const ends = endStream || (status >= 200 && (this.#bodyless || status === 204 || status === 304));
    this.#stream.respond(responseList(status, head.fields), ends);
    if (ends) this.#ended();
  }

  sendData(chunk: Uint8Array, endStream: boolean): boolean {
    const room = this.#stream.sendData(chunk, endStream);
    if (endStream) this.#ended();
    return room;
  }

  sendTrailers(fields: HeaderList): void {
    this.#stream.sendTrailers(trailerList(fields));
    this.#ended();
  }

  reset(code: number): void {
    this.#stream.reset(code);
  }

  consume(bytes: number): void {
    this.#stream.consume(bytes);
  }

  closeAfter(): void {
    this.#connection.drain();
  }

  get stream(): Http2Stream<Http2Exchange> {
    return this.#stream;
  }

  get answered(): boolean {
    return this.#answered;
  }

  #ended(): void {
    if (this.#answered) return;
    this.#answered = true;
    this.listener = undefined; // nobody waits for the rest of the request
    if (!this.requestEnded) this.#connection.answeredEarly(this);
  }
}

class Http2ServerConnection extends Http2Endpoint<Http2Exchange> {
  idleSince: number = performance.now();
  readonly #options: Http2ServerOptions;
  readonly #handler: ServerConnectionHandler;
  readonly #maxBytes: number;
  readonly #maxCount: number;
  readonly #idleTimeout: number;
  #finalGoawayAt = Infinity;
  /** Answered before their requests were complete, and the answer is still on its way out. */
  #early: Http2Exchange[] | undefined = undefined;

  constructor(options: Http2ServerOptions, handler: ServerConnectionHandler) {
    const maxBytes = options.maxHeaderBytes ?? DEFAULT_MAX_HEADER_BYTES;
    super(
      "server",
      { ...options, sendBuffer: options.sendBuffer ?? DEFAULT_SEND_BUFFER },
      {
        // The codec's limit is a wider one, which counts each field with what it costs to keep.
        maxHeaderListSize: maxBytes * 4,
        maxConcurrentStreams: options.maxConcurrentStreams ?? DEFAULT_MAX_STREAMS,
        enableConnectProtocol: true,
      },
      codecHandler,
    );
    this.#options = options;
    this.#handler = handler;
    this.#maxBytes = maxBytes;
    this.#maxCount = options.maxHeaderCount ?? DEFAULT_MAX_HEADER_COUNT;
    this.#idleTimeout = options.idleTimeoutMs ?? DEFAULT_IDLE_TIMEOUT_MS;
  }

  drain(): void {
    if (this.state !== "open" || this.draining || this.#finalGoawayAt !== Infinity) return;
    this.h2.goaway();
    this.#finalGoawayAt = performance.now() + GOAWAY_GRACE_MS;
  }

  request(stream: Http2Stream<Http2Exchange>, list: HeaderList, endStream: boolean): void {
    this.idleSince = 0;
    const count = list.length;
    const head = requestHead(list);
    // As Envoy's codec: reset without an answer.
    const large = head.wireBytes > this.#maxBytes;
    if (large || count > this.#maxCount) {
      stream.reset(ErrorCode.INTERNAL_ERROR);
      this.#handler.onRefused(0, large ? "http2.header_list_too_large" : "http2.too_many_headers", head);
      return;
    }
    if (head.authority === "" || hostFieldProblem(head.authority) !== "") {
      stream.reset(ErrorCode.PROTOCOL_ERROR);
      this.#handler.onRefused(0, "http.invalid_authority", head);
      return;
    }
    const exchange = new Http2Exchange(this, stream, head, endStream);
    stream.data = exchange;
    if (head.expectContinue && !endStream && this.#options.answerContinue !== false) {
      exchange.continued = true;
      stream.respond(CONTINUE, false);
    }
    const listener = this.#handler.onRequest(exchange, head, endStream);
    if (!exchange.answered) exchange.listener = listener;
  }

  /** The response has ended before the request: the rest of that is not wanted (RFC 9113 §8.1). */
  answeredEarly(exchange: Http2Exchange): void {
    (this.#early ??= []).push(exchange);
    this.plan();
  }

  protected override flush(): void {
    super.flush();
    if (this.#early === undefined) return;
    const waiting = this.#early.filter(({ stream }) => {
      if (stream.state === "half-closed-local") stream.reset(ErrorCode.NO_ERROR);
      return stream.state !== "closed";
    });
    this.#early = waiting.length === 0 ? undefined : waiting;
  }

  streamClosed(): void {
    if (this.h2.openStreams > 0) return;
    this.idleSince = performance.now();
    this.streamEnded();
  }

  protected override onReadEnded(): void {
    // Requests that have come whole get their answers; nothing new can come.
    for (const stream of [...this.h2.streams()]) {
      if (stream.state !== "open" && stream.state !== "half-closed-local") continue;
      const listener = stream.data?.listener;
      stream.reset(ErrorCode.CANCEL);
      listener?.onReset({ reason: "connection-termination", detail: "", unsent: false });
    }
    this.endWithLastStream();
  }

  protected override onEnd(): void {
    this.h2.transportClosed("connection closed");
    this.#handler.onConnectionClosed();
  }

  protected override onTick(now: number): void {
    super.onTick(now);
    if (now >= this.#finalGoawayAt) {
      this.#finalGoawayAt = Infinity;
      this.endWithLastStream();
    } else if (
      this.#idleTimeout > 0 && this.idleSince !== 0 && now - this.idleSince >= this.#idleTimeout && !this.draining
    ) {
      this.endWithLastStream();
    }
  }
}

function connectionOf(stream: Http2Stream<Http2Exchange>): Http2ServerConnection {
  return stream.connection.data as Http2ServerConnection;
}

/** One handler for all connections. A stream without data is one that was refused. */
const codecHandler: Http2Handler<Http2Exchange> = {
  onOutput: (connection) => (connection.data as Http2ServerConnection | undefined)?.plan(),
  onHeaders: (stream, headers, endStream) => connectionOf(stream).request(stream, headers, endStream),
  onTrailers(stream, trailers) {
    const exchange = stream.data;
    if (exchange === undefined) return;
    exchange.requestEnded = true;
    exchange.listener?.onTrailers(trailers);
  },
  onData(stream, chunk, endStream) {
    const exchange = stream.data;
    if (exchange !== undefined && endStream) exchange.requestEnded = true;
    const listener = exchange?.listener;
    if (listener === undefined) stream.consume(chunk.length);
    else listener.onData(chunk, endStream);
  },
  onWritable: (stream) => stream.data?.listener?.onWritable(),
  onReset: (stream, code, remote) =>
    stream.data?.listener?.onReset(resetOf(code, remote, stream.connection.endReason, false)),
  onStreamClosed: (stream) => connectionOf(stream).streamClosed(),
  onConnectionError: (connection) => (connection.data as Http2ServerConnection).failed(),
};

/** HTTP/2 as a server on a byte stream: join the result with the stream's endpoint by a Relay. */
export function serveHttp2(options: Http2ServerOptions, handler: ServerConnectionHandler): HttpServerEndpoint {
  return new Http2ServerConnection(options, handler);
}
