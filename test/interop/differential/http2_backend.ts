/** The application in HTTP/2: notes header lists, bodies and trailers, and answers with those of the case. */
import { Buffer } from "node:buffer";
import { type HeaderList, Http2Connection, type Http2Handler, type Http2Stream } from "../../../src/http2/mod.ts";
import { HTTP2_OPTIONS } from "./client.ts";

export interface StreamAnswer {
  readonly headers?: HeaderList;
  readonly body?: string;
  readonly trailers?: HeaderList;
  /** RST_STREAM instead. */
  readonly reset?: number;
  /** Nothing at all. */
  readonly silent?: boolean;
}

interface Exchange {
  id: string;
  text: string;
  body: string;
}

const words = (list: HeaderList) => list.map(([name, value]) => `${name}: ${value}\n`).join("");

export class Http2Backend {
  readonly port: number;
  readonly seen = new Map<string, string[]>();
  readonly #listener: Bun.TCPSocketListener<{ connection: Http2Connection<Exchange> }>;

  constructor(answers: (id: string, nth: number) => StreamAnswer) {
    const finish = (stream: Http2Stream<Exchange>) => {
      const { id, text, body } = stream.data;
      let list = this.seen.get(id);
      if (list === undefined) this.seen.set(id, list = []);
      list.push(text + (body === "" ? "" : `body ${body}\n`));
      const answer = answers(id, list.length - 1);
      if (answer.silent === true) return;
      if (answer.reset !== undefined) return stream.reset(answer.reset);
      const { body: content, trailers } = answer;
      stream.respond(answer.headers ?? [[":status", "200"]], content === undefined && trailers === undefined);
      if (content !== undefined) stream.sendData(Buffer.from(content, "latin1"), trailers === undefined);
      if (trailers !== undefined) stream.sendTrailers(trailers);
    };
    const handler: Http2Handler<Exchange> = {
      onOutput: (connection) => queueMicrotask(() => flush(connection)),
      onHeaders(stream, headers, end) {
        stream.data = {
          id: headers.find(([name]) => name === "x-case")?.[1] ?? "",
          text: words(headers) + (end ? "end\n" : ""),
          body: "",
        };
        if (end) finish(stream);
      },
      onTrailers(stream, trailers) {
        stream.data.text += `trailers\n${words(trailers)}`;
        finish(stream);
      },
      onData(stream, chunk, end) {
        stream.data.body += Buffer.from(chunk).toString("latin1");
        stream.consume(chunk.length);
        if (end) finish(stream);
      },
      onWritable() {},
      onReset: (stream, code) => {
        const list = this.seen.get(stream.data?.id ?? "");
        list?.push(`reset ${code}\n`);
      },
      onStreamClosed() {},
      onConnectionError() {},
    };
    const flush = (connection: Http2Connection<Exchange>) => {
      const socket = connection.data as Bun.Socket;
      for (let out = connection.nextOutput(); out !== undefined; out = connection.nextOutput()) socket.write(out);
    };
    this.#listener = Bun.listen<{ connection: Http2Connection<Exchange> }>({
      hostname: "127.0.0.1",
      port: 0,
      socket: {
        open(socket) {
          const connection = new Http2Connection<Exchange>("server", HTTP2_OPTIONS, handler);
          connection.data = socket;
          socket.data = { connection };
          flush(connection);
        },
        data(socket, chunk) {
          socket.data.connection.receive(chunk);
          flush(socket.data.connection);
        },
        close: (socket) => socket.data.connection.transportClosed("closed"),
        error() {},
      },
    });
    this.port = this.#listener.port;
  }

  stop(): void {
    this.#listener.stop(true);
  }
}
