import { Buffer } from "node:buffer";
import {
  type ConnectionOption,
  EncodeError,
  encodeResponseHead,
  type Framing,
  type Http1Error,
  RequestParser,
  type RequestSink,
  responseBody,
  type SentBody,
} from "../http1/mod.ts";
import type { HeaderList } from "../http2/mod.ts";
import {
  DEFAULT_IDLE_TIMEOUT_MS,
  DEFAULT_MAX_HEADER_BYTES,
  DEFAULT_MAX_HEADER_COUNT,
  DEFAULT_SEND_BUFFER,
  type Http1ServerOptions,
  type HttpServerEndpoint,
} from "./connection.ts";
import type { ServerConnectionHandler } from "./exchange.ts";
import { trailerList } from "./fields.ts";
import { EMPTY, Http1Endpoint } from "./http1_endpoint.ts";
import { Http1Exchange, type Http1ExchangeOwner } from "./http1_exchange.ts";
import { dateField } from "./http_date.ts";
import { fieldOf, type RequestHead, type ResponseHead } from "./message.ts";

const DEFAULT_SERVER_NAME = "istio-envoy";
/** A header section that takes longer is not meant well. Envoy has no limit unless `request_headers_timeout` is set. */
const DEFAULT_HEADERS_TIMEOUT_MS = 60_000;

/**
 * How long a connection that is drained waits for a request, ms: clients that are busy hear of the end by
 * `Connection: close` in an answer, and lose nothing.
 */
const DRAIN_IDLE_MS = 1_000;

const CONTINUE_HEAD: ResponseHead = {
  status: 100,
  fields: [],
  protocol: "HTTP/1.1",
  upgrade: undefined,
  wireBytes: 0,
};

class Http1ServerConnection extends Http1Endpoint implements RequestSink, Http1ExchangeOwner {
  idleSince: number = performance.now();
  readonly #options: Http1ServerOptions;
  readonly #handler: ServerConnectionHandler;
  readonly #parser: RequestParser;
  readonly #idleTimeout: number;
  readonly #headersTimeout: number;
  #exchange: Http1Exchange | undefined = undefined;
  #draining = false;
  #drainedAt = 0;
  /** When a header section was first seen to be incomplete. */
  #headSince = 0;

  constructor(options: Http1ServerOptions, handler: ServerConnectionHandler) {
    super(options.sendBuffer ?? DEFAULT_SEND_BUFFER);
    this.#options = options;
    this.#handler = handler;
    this.#idleTimeout = options.idleTimeoutMs ?? DEFAULT_IDLE_TIMEOUT_MS;
    this.#headersTimeout = options.headersTimeoutMs ?? DEFAULT_HEADERS_TIMEOUT_MS;
    this.#parser = new RequestParser({
      limits: {
        maxHeaderBytes: options.maxHeaderBytes ?? DEFAULT_MAX_HEADER_BYTES,
        maxHeaderCount: options.maxHeaderCount ?? DEFAULT_MAX_HEADER_COUNT,
      },
      acceptHttp10: options.acceptHttp10 === true,
      keepCase: options.keepCase === true,
      scheme: options.scheme ?? "http",
    }, this);
  }

  get active(): number {
    return this.#exchange === undefined ? 0 : 1;
  }

  drain(): void {
    if (this.#draining) return;
    this.#draining = true;
    this.#drainedAt = performance.now();
    // Not at once: a request may be on its way, and is to be answered. Without one, the end comes with the ticks.
  }

  isCurrent(exchange: Http1Exchange): boolean {
    return exchange === this.#exchange;
  }

  consume(bytes: number): void {
    this.giveBack(bytes);
  }

  // --- from the client ---

  protected override received(chunk: Uint8Array): void {
    this.credit(this.#parser.receive(chunk));
  }

  onRequest(head: RequestHead, framing: Framing): void {
    this.idleSince = 0;
    this.#headSince = 0;
    const bodyless = framing.body === "none";
    if (!bodyless) head.upgrade = undefined; // may be ignored (RFC 9110 §7.8), and content would be in its way
    // What asks to become a tunnel has not ended its side.
    const endStream = bodyless && head.upgrade === undefined && head.method !== "CONNECT";
    const exchange = new Http1Exchange(this, head, framing, endStream);
    this.#exchange = exchange;
    if (head.expectContinue && !bodyless && this.#options.answerContinue !== false && head.protocol === "HTTP/1.1") {
      exchange.continued = true;
      this.write(encodeResponseHead(CONTINUE_HEAD, "none", ""));
    }
    const listener = this.#handler.onRequest(exchange, head, endStream);
    if (!exchange.answered) exchange.listener = listener;
  }

  onData(chunk: Uint8Array): void {
    const exchange = this.#exchange;
    const size = chunk.length;
    const listener = exchange?.listener;
    if (exchange === undefined || listener === undefined) {
      this.credit(size);
      return;
    }
    this.owe(size);
    let ends = false;
    if (exchange.requestLeft >= 0) {
      exchange.requestLeft -= size;
      ends = exchange.requestLeft === 0;
      if (ends) exchange.requestEnded = true;
    }
    listener.onData(chunk, ends);
  }

  onTrailers(fields: HeaderList): void {
    const exchange = this.#exchange;
    if (exchange === undefined || exchange.requestEnded) return;
    exchange.requestEnded = true;
    exchange.listener?.onTrailers(fields);
  }

  onMessageEnd(): void {
    const exchange = this.#exchange;
    if (exchange === undefined) return;
    if (!exchange.requestEnded) {
      if (exchange.asksTunnel) {
        exchange.asksTunnel = false;
        return; // that was the message; octets of the tunnel are yet to come, if it is granted
      }
      exchange.requestEnded = true;
      exchange.listener?.onData(EMPTY, true);
    }
    if (exchange === this.#exchange && exchange.answered) this.#over(exchange);
  }

  onError(error: Http1Error): void {
    const exchange = this.#exchange;
    if (exchange !== undefined) {
      const { listener } = exchange;
      const started = exchange.body !== undefined;
      exchange.answered = true;
      exchange.listener = undefined;
      this.#exchange = undefined;
      this.forgive();
      listener?.onReset({ reason: "protocol-error", detail: error.problem, unsent: false });
      if (started) {
        this.flush();
        this.end(true);
        return;
      }
    }
    // Who is told of another version is told so in ours.
    this.#refuse(error.status, error.text, error.status !== 426 && error.head?.protocol === "HTTP/1.0");
    if (exchange === undefined) this.#handler.onRefused(error.status, error.details, error.head);
  }

  protected override onReadEnded(): void {
    const exchange = this.#exchange;
    this.#parser.eof();
    if (this.state !== "open") return;
    if (this.#exchange === undefined) this.#finish(); // a part of a head gets no answer
    else if (this.#exchange === exchange && !exchange.requestEnded) this.#clientLeft(exchange);
  }

  /** The request will never be complete. */
  #clientLeft(exchange: Http1Exchange): void {
    const { listener } = exchange;
    exchange.answered = true;
    exchange.listener = undefined;
    this.#exchange = undefined;
    listener?.onReset({ reason: "connection-termination", detail: "", unsent: false });
    this.flush();
    this.end(true);
  }

  // --- from the handler ---

  respond(exchange: Http1Exchange, head: ResponseHead, endStream: boolean): void {
    const { status } = head;
    const request = exchange.head;
    const http10 = request.protocol === "HTTP/1.0";
    if (exchange.body !== undefined) throw new Error("http: respond() after the final head");
    if (status < 200 && status !== 101) {
      if (http10 || (status === 100 && exchange.continued)) return;
      this.#writeHead(exchange, head, "none", "");
      return;
    }
    const body = responseBody(status, head.fields, request.method, http10, endStream);
    exchange.body = body;
    if (body === "raw") {
      if (!this.#writeHead(exchange, head, body, "")) return;
      if (endStream) this.endResponse(exchange, undefined);
      this.credit(this.#parser.raw());
      return;
    }
    const last = this.#draining || (this.readEnded && this.#parser.held === 0);
    // The rest of a request that is answered already is not waited for, nor are the octets of a tunnel that is refused.
    if (last || body === "close" || !exchange.keepAlive || !exchange.requestEnded) exchange.closes = true;
    if (request.upgrade !== undefined || request.method === "CONNECT") exchange.requestEnded = true;
    let option: ConnectionOption = "";
    if (exchange.closes) option = "close";
    else if (http10) option = "keep-alive";
    if (!this.#writeHead(exchange, head, body, option)) return;
    if (body === "length") exchange.responseLeft = Number(fieldOf(head.fields, "content-length"));
    if (body === "none" || body === "unsaid" || body === "empty") this.#answered(exchange);
  }

  /** False: HTTP/1 cannot say this head; the client gets no answer rather than a wrong one. */
  #writeHead(exchange: Http1Exchange, head: ResponseHead, body: SentBody, option: ConnectionOption): boolean {
    try {
      this.write(encodeResponseHead(head, body, option, exchange.head.protocol === "HTTP/1.0"));
      return true;
    } catch (error) {
      if (!(error instanceof EncodeError)) throw error;
      this.breakOff(exchange);
      return false;
    }
  }

  sendBody(exchange: Http1Exchange, chunk: Uint8Array, endStream: boolean): boolean {
    const { body } = exchange;
    if (body === undefined) throw new Error("http: sendData() before respond()");
    if (exchange.responseLeft >= 0) {
      exchange.responseLeft -= chunk.length;
      if (exchange.responseLeft < 0) {
        // Octets beyond the Content-Length would be read as the next response.
        this.breakOff(exchange);
        return true;
      }
    }
    const room = this.writeBody(chunk, body);
    if (endStream && this.state === "open") this.endResponse(exchange, undefined);
    return room;
  }

  endResponse(exchange: Http1Exchange, trailers: HeaderList | undefined): void {
    const { body } = exchange;
    if (body === undefined) throw new Error("http: end of a response without a head");
    if (exchange.responseLeft > 0) {
      this.breakOff(exchange);
      return;
    }
    if (body === "chunked") {
      const te = trailers === undefined ? undefined : fieldOf(exchange.head.fields, "te");
      this.writeLastChunk(te !== undefined && takesTrailers(te) ? trailerList(trailers!) : undefined);
    }
    this.#answered(exchange);
  }

  /** The response cannot go on: the client notices by the end of the connection. */
  breakOff(exchange: Http1Exchange): void {
    exchange.answered = true;
    exchange.listener = undefined;
    this.#exchange = undefined;
    this.flush();
    this.end(true);
  }

  protected override onWritable(): void {
    const exchange = this.#exchange;
    if (exchange !== undefined && !exchange.answered) exchange.listener?.onWritable();
  }

  /** The whole response was written. */
  #answered(exchange: Http1Exchange): void {
    exchange.answered = true;
    if (exchange.body === "raw") {
      this.endSending("half");
      if (exchange.requestEnded) this.#over(exchange);
      return;
    }
    exchange.listener = undefined;
    this.forgive();
    if (exchange.requestEnded) {
      // The parser may still have to say that the message ends; `next` before that is for then.
      this.#over(exchange);
      return;
    }
    this.#exchange = undefined;
    this.#finish(); // the rest of the request is not wanted
  }

  /** Request and response are over. */
  #over(exchange: Http1Exchange): void {
    this.#exchange = undefined;
    this.forgive();
    if (exchange.closes || exchange.body === "raw") {
      this.#finish();
      return;
    }
    this.idleSince = performance.now();
    this.credit(this.#parser.next());
    if (this.readEnded && this.#exchange === undefined && this.state === "open") this.#finish();
  }

  #finish(): void {
    this.#parser.close();
    this.settle();
    this.endSending("finish");
  }

  /** An answer that the connection gives by itself, the last one. */
  #refuse(status: number, text: string, http10: boolean): void {
    const head: ResponseHead = {
      status,
      fields: [
        ["content-length", String(text.length)],
        ...(text === "" ? [] : [["content-type", "text/plain"]] as HeaderList),
        dateField(),
        ["server", this.#options.serverName ?? DEFAULT_SERVER_NAME],
      ],
      protocol: "HTTP/1.1",
      upgrade: undefined,
      wireBytes: 0,
    };
    this.write(encodeResponseHead(head, "length", "close", http10));
    this.write(Buffer.from(text, "latin1"));
    this.#finish();
  }

  protected override onTick(now: number): void {
    if (this.#exchange !== undefined || this.ending) return;
    if (!this.#parser.idle) {
      if (this.#headSince === 0) this.#headSince = now;
      else if (this.#headersTimeout > 0 && now - this.#headSince >= this.#headersTimeout) {
        this.#refuse(408, "Request Timeout", false);
        this.#handler.onRefused(408, "request_header_timeout", undefined);
      }
      return;
    }
    this.#headSince = 0;
    if (this.#draining && now - Math.max(this.idleSince, this.#drainedAt) >= DRAIN_IDLE_MS) this.#finish();
    else if (this.#idleTimeout > 0 && this.idleSince !== 0 && now - this.idleSince >= this.#idleTimeout) this.#finish();
  }

  protected override onEnd(): void {
    const exchange = this.#exchange;
    this.#exchange = undefined;
    if (exchange !== undefined) {
      const { listener } = exchange;
      exchange.answered = true;
      exchange.listener = undefined;
      listener?.onReset({ reason: "connection-termination", detail: this.relay?.error?.text ?? "", unsent: false });
    }
    this.#parser.close();
    this.settle();
    this.#handler.onConnectionClosed();
  }
}

function takesTrailers(te: string): boolean {
  return te.toLowerCase().includes("trailers");
}

/** HTTP/1 as a server on a byte stream: join the result with the stream's endpoint by a Relay. */
export function serveHttp1(options: Http1ServerOptions, handler: ServerConnectionHandler): HttpServerEndpoint {
  return new Http1ServerConnection(options, handler);
}
