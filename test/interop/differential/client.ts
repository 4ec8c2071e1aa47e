/** Clients that send what a case says, octet by octet or header list by header list, and note what comes back. */
import { Buffer } from "node:buffer";
import { type HeaderList, Http2Connection, type Http2Handler, type Http2Stream } from "../../../src/http2/mod.ts";
import { messageEnd } from "./backend.ts";

export interface Conversation {
  /** Octets as text (HTTP/1), or the events of the stream in words (HTTP/2). */
  readonly text: string;
  readonly closed: boolean;
}

/** After a whole answer: how long the end of the connection is waited for. */
const CLOSE_MS = 60;

function answersIn(text: string, method: string): number {
  let rest = text;
  let finals = 0;
  for (;;) {
    const status = Number(/^HTTP\/1\.[01] (\d{3})/.exec(rest)?.[1] ?? 0);
    if (status === 0) return finals;
    if (status === 101) return finals + 1;
    const head = rest.indexOf("\r\n\r\n");
    if (head < 0) return finals;
    const bodyless = status < 200 || status === 204 || status === 304 || method === "HEAD";
    const fields = rest.slice(0, head).toLowerCase();
    if (!bodyless && !/\r\n(content-length|transfer-encoding):/.test(fields)) return finals; // until the end
    const end = messageEnd(rest, bodyless);
    if (end === 0) return finals;
    rest = rest.slice(end);
    if (status >= 200) finals++;
  }
}

export interface RawRequest {
  readonly octets: string;
  /** Sent after a pause. */
  readonly then?: string | undefined;
  readonly halfClose?: boolean | undefined;
}

export async function http1Conversation(port: number, request: RawRequest, patienceMs: number): Promise<Conversation> {
  const { promise, resolve } = Promise.withResolvers<Conversation>();
  let text = "";
  let closed = false;
  let grace: Timer | undefined;
  const method = /^[A-Za-z]*/.exec(request.octets)?.[0] ?? "";
  const done = () => resolve({ text, closed });
  const timer = setTimeout(done, patienceMs);
  const socket = await Bun.connect({
    hostname: "127.0.0.1",
    port,
    allowHalfOpen: true,
    socket: {
      data(_socket, chunk) {
        text += chunk.toString("latin1");
        if (answersIn(text, method) >= 1) grace ??= setTimeout(done, CLOSE_MS);
      },
      end() {
        closed = true;
        done();
      },
      close() {
        closed = true;
        done();
      },
      error() {},
    },
  });
  socket.write(Buffer.from(request.octets, "latin1"));
  if (request.then !== undefined) setTimeout(() => socket.write(Buffer.from(request.then!, "latin1")), 30);
  if (request.halfClose === true) socket.shutdown();
  const result = await promise;
  clearTimeout(timer);
  clearTimeout(grace);
  socket.terminate();
  return result;
}

export const HTTP2_OPTIONS = {
  initialWindowSize: 1 << 20,
  connectionWindowSize: 1 << 20,
  maxFrameSize: 1 << 14,
  maxHeaderListSize: 1 << 20,
  maxSendBuffer: 1 << 20,
  ownedOutput: true,
};

export interface StreamRequest {
  readonly headers: HeaderList;
  readonly body?: string | undefined;
  readonly trailers?: HeaderList | undefined;
}

export async function http2Conversation(
  port: number,
  request: StreamRequest,
  patienceMs: number,
): Promise<Conversation> {
  const { promise, resolve } = Promise.withResolvers<Conversation>();
  let text = "";
  let body = "";
  let closed = false;
  const done = () => {
    if (body !== "") text += `body ${body}\n`;
    body = "";
    resolve({ text, closed });
  };
  const fields = (list: HeaderList) => list.map(([name, value]) => `${name}: ${value}\n`).join("");
  let socket: Bun.Socket<undefined> | undefined = undefined;
  const flush = () => {
    for (let out = connection.nextOutput(); out !== undefined; out = connection.nextOutput()) {
      socket?.write(out);
    }
  };
  const handler: Http2Handler<undefined> = {
    onOutput: () => queueMicrotask(flush),
    onHeaders(_stream: Http2Stream<undefined>, headers: HeaderList, end: boolean) {
      text += `${fields(headers)}${end ? "end\n" : ""}`;
    },
    onTrailers(_stream, trailers) {
      if (body !== "") text += `body ${body}\n`;
      body = "";
      text += `trailers\n${fields(trailers)}end\n`;
    },
    onData(stream, chunk, end) {
      body += Buffer.from(chunk).toString("latin1");
      stream.consume(chunk.length);
      if (end) {
        text += `body ${body}\nend\n`;
        body = "";
      }
    },
    onWritable() {},
    onReset(_stream, code, remote) {
      text += `reset ${code}${remote ? "" : " (connection)"}\n`;
      done();
    },
    onStreamClosed: () => void setTimeout(done, 20),
    onConnectionError() {},
  };
  const connection = new Http2Connection<undefined>("client", HTTP2_OPTIONS, handler);
  const timer = setTimeout(done, patienceMs);
  socket = await Bun.connect<undefined>({
    hostname: "127.0.0.1",
    port,
    socket: {
      open() {},
      data(_socket, chunk) {
        connection.receive(chunk);
        queueMicrotask(flush);
      },
      close() {
        closed = true;
        connection.transportClosed("closed");
        done();
      },
      error() {},
    },
  });
  const bodyless = request.body === undefined && request.trailers === undefined;
  const stream = connection.request(request.headers, bodyless, undefined);
  if (stream === undefined) throw new Error("no stream");
  if (request.body !== undefined) stream.sendData(Buffer.from(request.body, "latin1"), request.trailers === undefined);
  if (request.trailers !== undefined) stream.sendTrailers(request.trailers);
  flush();
  const result = await promise;
  clearTimeout(timer);
  socket.terminate();
  return result;
}
