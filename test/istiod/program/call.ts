/** One gRPC call on the server's side of an HTTP/2 stream of Node's. */
import { constants, type IncomingHttpHeaders, type ServerHttp2Stream } from "node:http2";
import { saw } from "./output.ts";
import { messageHead, MessageReader } from "./wire.ts";

export const Status = {
  ok: 0,
  unknown: 2,
  invalidArgument: 3,
  resourceExhausted: 8,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
  unauthenticated: 16,
} as const;

export class Call {
  readonly id: number;
  readonly connection: number;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly #stream: ServerHttp2Stream;
  #status: number | undefined;
  #onClose: (() => void)[] = [];

  constructor(id: number, connection: number, stream: ServerHttp2Stream, headers: IncomingHttpHeaders) {
    this.id = id;
    this.connection = connection;
    this.path = String(headers[":path"] ?? "");
    this.headers = headers;
    this.#stream = stream;
    saw({ kind: "stream", connection, stream: id, path: this.path, headers: plain(headers) });
    // Its error is told by the close that follows.
    stream.on("error", () => undefined);
    stream.on("close", () => {
      saw({ kind: "ended", stream: id, status: this.#status, reset: stream.rstCode ?? 0 });
      for (const listener of this.#onClose) listener();
    });
  }

  get isOpen(): boolean {
    return this.#status === undefined && !this.#stream.destroyed && !this.#stream.closed;
  }

  onClose(listener: () => void): void {
    this.#onClose.push(listener);
  }

  /** Messages from now on; `end` once the client has said that there are no more. */
  receive(limit: () => number, onMessage: (message: Buffer) => void, onEnd: () => void): void {
    const reader = new MessageReader();
    this.#stream.on("data", (chunk: Buffer) => {
      if (!this.isOpen) return;
      try {
        for (const message of reader.read(chunk, limit())) {
          if (this.isOpen) onMessage(message);
        }
      } catch (error) {
        const code = error instanceof RangeError ? Status.resourceExhausted : Status.internal;
        this.end(code, error instanceof Error ? error.message : String(error));
      }
    });
    this.#stream.on("end", onEnd);
  }

  /** Sends the response's head, if it has not been sent. Trailers come when the stream is ended. */
  open(): void {
    if (this.#stream.headersSent || !this.isOpen) return;
    this.#stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
    this.#stream.on("wantTrailers", () => this.#sendTrailers());
  }

  #trailers: Record<string, string> = {};
  #sendTrailers(): void {
    this.#stream.sendTrailers(this.#trailers);
    this.#finish();
  }

  /** An unfinished request would hold the stream open: gRPC servers reset it, without an error, after the status. */
  #finish(): void {
    setImmediate(() => {
      if (!this.#stream.readableEnded) this.#stream.close(constants.NGHTTP2_NO_ERROR);
    });
  }

  send(message: Uint8Array, pieceBytes?: number): void {
    if (!this.isOpen) return;
    this.open();
    const whole = Buffer.concat([messageHead(message.length), message]);
    if (pieceBytes === undefined) this.#stream.write(whole);
    else this.#chop(whole, pieceBytes);
  }

  /** A message in pieces, one each millisecond; what is sent meanwhile comes after it. */
  #chop(whole: Buffer, size: number): void {
    const busy = this.#chopping;
    for (let at = 0; at < whole.length; at += size) this.#pieces.push(whole.subarray(at, at + size));
    if (!busy) this.#nextPiece();
  }

  readonly #pieces: Buffer[] = [];
  get #chopping(): boolean {
    return this.#pieces.length > 0;
  }

  #nextPiece(): void {
    const piece = this.#pieces.shift();
    if (piece === undefined || !this.isOpen) return;
    this.#stream.write(piece);
    setTimeout(() => this.#nextPiece(), 1);
  }

  /** A message made while it goes out: `bytes` long, in pieces of a megabyte, no faster than the client takes them. */
  sendLarge(bytes: number, piece: (at: number, length: number) => Buffer): void {
    if (!this.isOpen) return;
    this.open();
    this.#stream.write(messageHead(bytes));
    let at = 0;
    const more = () => {
      while (at < bytes && this.isOpen) {
        const length = Math.min(1 << 20, bytes - at);
        const goesOn = this.#stream.write(piece(at, length));
        at += length;
        if (!goesOn) {
          this.#stream.once("drain", more);
          return;
        }
      }
    };
    more();
  }

  /** The head of a message and the first half of it. */
  sendHalf(message: Uint8Array): void {
    this.open();
    this.#stream.write(Buffer.concat([messageHead(message.length), message.subarray(0, message.length >> 1)]));
  }

  /** Ends with a status: in trailers, or in the only head there is. */
  end(code: number, message: string): void {
    if (!this.isOpen) return;
    this.#status = code;
    const trailers = {
      "grpc-status": String(code),
      ...(message === "" ? {} : { "grpc-message": escapeMessage(message) }),
    };
    if (this.#stream.headersSent) {
      this.#trailers = trailers;
      this.#stream.end();
    } else {
      const head = { ":status": 200, "content-type": "application/grpc", ...trailers };
      this.#stream.respond(head, { endStream: true });
      this.#finish();
    }
    this.#stream.resume();
  }

  /** An answer that is none of gRPC's. */
  endHttp(status: number): void {
    this.#stream.respond({ ":status": status, "content-type": "text/html" });
    this.#stream.end("<html><body>upstream connect error or disconnect/reset before headers</body></html>");
  }

  reset(code: number): void {
    this.#stream.close(code);
  }
}

/** grpc-message: percent-encoded but for printable ASCII. */
function escapeMessage(text: string): string {
  return text.replaceAll(
    /[^\x20-\x24\x26-\x7e]+/g,
    (part) => Array.from(Buffer.from(part), (byte) => `%${byte.toString(16).toUpperCase().padStart(2, "0")}`).join(""),
  );
}

function plain(headers: IncomingHttpHeaders): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name, Array.isArray(value) ? value.join(", ") : value ?? ""]),
  );
}
