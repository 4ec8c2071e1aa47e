import type { Framing, SentBody } from "../http1/mod.ts";
import type { HeaderList } from "../http2/mod.ts";
import type { RequestListener, ServerStream } from "./exchange.ts";
import type { RequestHead, ResponseHead } from "./message.ts";

/** The connection on which a request came, as the request needs it. */
export interface Http1ExchangeOwner {
  respond(exchange: Http1Exchange, head: ResponseHead, endStream: boolean): void;
  sendBody(exchange: Http1Exchange, chunk: Uint8Array, endStream: boolean): boolean;
  endResponse(exchange: Http1Exchange, trailers: HeaderList | undefined): void;
  /** The response cannot go on. */
  breakOff(exchange: Http1Exchange): void;
  consume(bytes: number): void;
  isCurrent(exchange: Http1Exchange): boolean;
}

/** One request of a connection and the way to answer it. */
export class Http1Exchange implements ServerStream {
  readonly connection: Http1ExchangeOwner;
  readonly head: RequestHead;
  /** The client keeps its connection after this. */
  readonly keepAlive: boolean;
  listener: RequestListener | undefined = undefined;
  requestEnded: boolean;
  /** Octets of the request's content that are still to come, when that is known; else -1. */
  requestLeft: number;
  /** The end of the message is not the end of what the client sends. */
  asksTunnel: boolean;
  continued = false;
  /** How the response's content is marked; undefined before its head. */
  body: SentBody | undefined = undefined;
  /** Octets of content that the response's head has promised and that were not sent; -1: no promise. */
  responseLeft = -1;
  answered = false;
  closes = false;

  constructor(connection: Http1ExchangeOwner, head: RequestHead, framing: Framing, endStream: boolean) {
    this.connection = connection;
    this.head = head;
    this.keepAlive = framing.keepAlive;
    this.requestEnded = endStream;
    this.asksTunnel = head.upgrade !== undefined || head.method === "CONNECT";
    this.requestLeft = framing.body === "length" ? framing.contentLength : -1;
  }

  respond(head: ResponseHead, endStream: boolean): void {
    if (!this.answered) this.connection.respond(this, head, endStream);
  }

  sendData(chunk: Uint8Array, endStream: boolean): boolean {
    return this.answered || this.connection.sendBody(this, chunk, endStream);
  }

  sendTrailers(fields: HeaderList): void {
    if (!this.answered) this.connection.endResponse(this, fields);
  }

  reset(_code: number): void {
    if (this.connection.isCurrent(this)) this.connection.breakOff(this);
  }

  consume(bytes: number): void {
    if (this.connection.isCurrent(this)) this.connection.consume(bytes);
  }

  closeAfter(): void {
    this.closes = true;
  }
}
