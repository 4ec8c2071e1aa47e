import {
  EncodeError,
  encodeRequestHead,
  type Framing,
  type Http1Error,
  requestBody,
  RESPONSE_LIMITS,
  ResponseParser,
  type ResponseSink,
  type SentBody,
} from "../http1/mod.ts";
import type { HeaderList } from "../http2/mod.ts";
import {
  type ClientConnectionOwner,
  DEFAULT_MAX_HEADER_COUNT,
  DEFAULT_SEND_BUFFER,
  type Http1ClientOptions,
  type HttpClientEndpoint,
} from "./connection.ts";
import type { ClientStream, Reset, ResponseListener } from "./exchange.ts";
import { trailerList } from "./fields.ts";
import { EMPTY, Http1Endpoint } from "./http1_endpoint.ts";
import { fieldOf, type RequestHead, type ResponseHead } from "./message.ts";
import { websocketKey } from "./websocket.ts";

/** One request on its way; a connection has one at a time. */
class Http1Request implements ClientStream {
  readonly connection: Http1ClientConnection;
  listener: ResponseListener | undefined;
  body: SentBody;
  /** Octets of content that the head has promised and that were not sent; -1: no promise. */
  requestLeft: number;
  sent: boolean;
  /** Asks for a tunnel that the server has not granted. */
  asksTunnel: boolean;
  responseLeft = -1;
  /** The head of the response has come; all of it has. */
  answered = false;
  responded = false;
  /** Output handed over before this request was written. */
  readonly mark: number;

  constructor(
    connection: Http1ClientConnection,
    listener: ResponseListener,
    head: RequestHead,
    body: SentBody,
    endStream: boolean,
    mark: number,
  ) {
    this.connection = connection;
    this.listener = listener;
    this.body = body === "raw" ? "none" : body; // what asks for a tunnel sends nothing before it is granted
    this.requestLeft = body === "length" ? Number(fieldOf(head.fields, "content-length")) : -1;
    this.asksTunnel = head.upgrade !== undefined || head.method === "CONNECT";
    this.sent = endStream || this.asksTunnel;
    this.mark = mark;
  }

  sendData(chunk: Uint8Array, endStream: boolean): boolean {
    return this.connection.sendBody(this, chunk, endStream);
  }

  sendTrailers(fields: HeaderList): void {
    this.connection.endRequest(this, fields);
  }

  reset(): void {
    this.listener = undefined;
    this.connection.takeBack(this);
  }

  consume(bytes: number): void {
    this.connection.consume(this, bytes);
  }
}

class Http1ClientConnection extends Http1Endpoint implements ResponseSink {
  readonly #owner: ClientConnectionOwner;
  readonly #parser: ResponseParser;
  #request: Http1Request | undefined = undefined;
  /** Whose content is still owed. Its connection is not used again before it is read: the next would wait for it. */
  #reader: Http1Request | undefined = undefined;
  #keepAlive = true;
  #told = false; // the owner knows that we take no more
  /** The parser is reading: what it has yet to read would be taken for the answer to a request that began now. */
  #receiving = false;

  constructor(options: Http1ClientOptions, owner: ClientConnectionOwner) {
    super(options.sendBuffer ?? DEFAULT_SEND_BUFFER);
    this.#owner = owner;
    this.#parser = new ResponseParser({
      limits: {
        maxHeaderBytes: options.maxHeaderBytes ?? RESPONSE_LIMITS.maxHeaderBytes,
        maxHeaderCount: options.maxHeaderCount ?? DEFAULT_MAX_HEADER_COUNT,
      },
      keepCase: options.keepCase === true,
    }, this);
  }

  get active(): number {
    return this.#request === undefined ? 0 : 1;
  }

  get available(): boolean {
    return this.#request === undefined && this.#keepAlive && this.owed === 0 && this.state === "open" &&
      !this.readEnded && !this.#receiving;
  }

  // --- from the router ---

  request(head: RequestHead, endStream: boolean, listener: ResponseListener): ClientStream | undefined {
    if (!this.available) return undefined;
    const upgrade = head.upgrade !== undefined;
    const body = requestBody(head, endStream);
    const request = new Http1Request(this, listener, head, body, endStream, this.emissions);
    this.#request = this.#reader = request;
    const bytes = this.#encode(upgrade ? withKey(head) : head, request);
    if (bytes === undefined) return request;
    this.write(bytes);
    this.#parser.expect(head.method, upgrade);
    return request;
  }

  /** undefined: HTTP/1 cannot say this head, e.g. a path with a space; the request is reset and nothing of it is sent. */
  #encode(head: RequestHead, request: Http1Request): Uint8Array | undefined {
    try {
      return encodeRequestHead(head, request.body, false);
    } catch (error) {
      if (!(error instanceof EncodeError)) {
        this.#request = this.#reader = undefined; // nothing was written: the connection is as it was
        throw error;
      }
      request.body = "none";
      request.sent = true; // its content goes nowhere
      this.#keepAlive = false;
      const reset: Reset = { reason: "local-reset", detail: error.message, unsent: false };
      setImmediate(() => {
        if (this.#request === request) this.#fail(reset);
      });
      return undefined;
    }
  }

  sendBody(request: Http1Request, chunk: Uint8Array, endStream: boolean): boolean {
    if (request !== this.#request || request.asksTunnel || (request.sent && request.body !== "raw")) return true;
    if (request.requestLeft >= 0) {
      request.requestLeft -= chunk.length;
      if (request.requestLeft < 0) {
        this.#fail({ reason: "local-reset", detail: "content beyond content-length", unsent: false });
        return true;
      }
    }
    const room = this.writeBody(chunk, request.body);
    if (endStream && this.state === "open") this.endRequest(request, undefined);
    return room;
  }

  endRequest(request: Http1Request, trailers: HeaderList | undefined): void {
    if (request !== this.#request || request.asksTunnel || (request.sent && request.body !== "raw")) return;
    if (request.requestLeft > 0) {
      this.#fail({ reason: "local-reset", detail: "content short of content-length", unsent: false });
      return;
    }
    if (request.body === "chunked") this.writeLastChunk(trailers === undefined ? undefined : trailerList(trailers));
    request.sent = true;
    if (request.body !== "raw") return;
    request.body = "none"; // nothing more is sent
    if (request.responded) this.#over();
    else this.endSending("half");
  }

  takeBack(request: Http1Request): void {
    if (request === this.#request) this.end(true);
    else this.consume(request, this.owed);
  }

  consume(request: Http1Request, bytes: number): void {
    if (request !== this.#reader) return;
    this.giveBack(bytes);
    if (this.#request === undefined && this.available) this.#owner.onAvailable();
  }

  drain(): void {
    this.#keepAlive = false;
    this.#tell();
    if (this.#request === undefined) this.end(false);
  }

  // --- from the server ---

  protected override received(chunk: Uint8Array): void {
    const running = this.#request;
    this.#receiving = true;
    let used: number;
    try {
      used = this.#parser.receive(chunk);
    } finally {
      this.#receiving = false;
    }
    this.credit(used);
    if (running !== undefined && this.available) this.#owner.onAvailable();
  }

  onInformational(head: ResponseHead): void {
    this.#request?.listener?.onInformational(head);
  }

  onResponse(head: ResponseHead, framing: Framing): void {
    const request = this.#request;
    if (request === undefined) return;
    if (!framing.keepAlive) this.#keepAlive = false;
    request.answered = true;
    if (framing.body === "raw") {
      request.asksTunnel = false;
      request.sent = false;
      request.body = "raw";
      this.#keepAlive = false;
      request.listener?.onHeaders(head, false);
      return;
    }
    request.asksTunnel = false;
    if (framing.body === "length") request.responseLeft = framing.contentLength;
    const ends = framing.body === "none";
    request.responded = ends;
    const { listener } = request;
    if (ends) request.listener = undefined;
    listener?.onHeaders(head, ends);
  }

  onData(chunk: Uint8Array): void {
    const request = this.#request;
    const listener = request?.listener;
    const size = chunk.length;
    if (request === undefined || listener === undefined) {
      this.credit(size);
      return;
    }
    this.owe(size);
    let ends = false;
    if (request.responseLeft >= 0) {
      request.responseLeft -= size;
      ends = request.responseLeft === 0;
      if (ends) {
        request.responded = true;
        request.listener = undefined;
      }
    }
    listener.onData(chunk, ends);
  }

  onTrailers(fields: HeaderList): void {
    const request = this.#request;
    if (request === undefined || request.responded) return;
    request.responded = true;
    const { listener } = request;
    request.listener = undefined;
    listener?.onTrailers(fields);
  }

  onMessageEnd(): void {
    const request = this.#request;
    if (request === undefined) return;
    const { listener } = request;
    if (request.body === "raw") {
      // The server's side of a tunnel has ended, ours may go on.
      request.responded = true;
      listener?.onData(EMPTY, true);
      return;
    }
    if (!request.responded) {
      request.responded = true;
      request.listener = undefined;
      listener?.onData(EMPTY, true);
    }
    if (request === this.#request) this.#over();
  }

  onError(error: Http1Error): void {
    this.#fail({ reason: "protocol-error", detail: error.problem, unsent: false });
  }

  protected override onReadEnded(): void {
    this.#keepAlive = false;
    const cut = this.#parser.eof() === "truncated";
    const request = this.#request;
    if (cut && request?.answered === true && !request.responded) {
      this.#fail({ reason: "protocol-error", detail: "the connection ended inside a response", unsent: false });
      return;
    }
    // A tunnel may be open in the other direction.
    if (request !== undefined && request.body === "raw" && request.responded) return;
    this.end(false);
  }

  protected override onWritable(): void {
    this.#request?.listener?.onWritable();
  }

  /** Response over, and with it the exchange: a request that is not complete is of no use any more. */
  #over(): void {
    const request = this.#request as Http1Request;
    this.#request = undefined;
    if (!request.sent || !this.#keepAlive || this.readEnded) {
      this.flush();
      if (this.readEnded) this.finishSending();
      else this.end(false);
    }
    // Otherwise it is available as soon as all that has come is read.
  }

  /** Ends the connection because of its request. */
  #fail(reset: Reset): void {
    const listener = this.#request?.listener;
    this.#request = undefined;
    listener?.onReset(reset);
    this.end(true);
  }

  protected override onEnd(): void {
    const request = this.#request;
    this.#request = this.#reader = undefined;
    this.#parser.close();
    this.settle();
    request?.listener?.onReset({
      reason: "connection-termination",
      detail: this.relay?.error?.text ?? "connection closed",
      unsent: this.emissions === request.mark,
    });
    this.#tell();
    this.#owner.onClosed();
  }

  protected override onTick(): void {}

  #tell(): void {
    if (this.#told) return;
    this.#told = true;
    this.#owner.onDraining();
  }
}

/** HTTP/2 asks for a WebSocket without a key, HTTP/1 needs one (RFC 6455 §4.1). */
function withKey(head: RequestHead): RequestHead {
  if (
    head.protocol !== "HTTP/2" || head.upgrade !== "websocket" ||
    fieldOf(head.fields, "sec-websocket-key") !== undefined
  ) return head;
  return { ...head, fields: [...head.fields, ["sec-websocket-key", websocketKey()]] };
}

/** HTTP/1 as a client on a byte stream: join the result with the upstream's endpoint by a Relay. */
export function http1Client(options: Http1ClientOptions, owner: ClientConnectionOwner): HttpClientEndpoint {
  return new Http1ClientConnection(options, owner);
}
