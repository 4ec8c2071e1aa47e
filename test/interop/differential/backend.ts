/**
 * An HTTP/1 application that notes what it is sent, octet by octet, and answers with the octets that a case asks for. It
 * knows the case by the field `x-case`.
 */
import { Buffer } from "node:buffer";

export interface Answer {
  /** Octets; undefined: none. */
  readonly raw: string | undefined;
  /** Then the connection is closed. */
  readonly close?: boolean;
  /** Nothing is sent before these many ms. */
  readonly delayMs?: number;
  /** After the first octets, and a pause. */
  readonly then?: string;
}

export const DEFAULT_ANSWER: Answer = { raw: "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok" };

interface Connection {
  text: string;
}

/** A whole request at the start of a text; 0: there is none yet. */
export function messageEnd(text: string, bodyless: boolean): number {
  const head = text.indexOf("\r\n\r\n");
  if (head < 0) return 0;
  const start = head + 4;
  const fields = text.slice(0, start).toLowerCase();
  if (bodyless) return start;
  const length = /\r\ncontent-length: *(\d+)/.exec(fields);
  if (/\r\ntransfer-encoding: *chunked/.test(fields)) {
    for (let at = start;;) {
      const line = text.indexOf("\r\n", at);
      if (line < 0) return 0;
      const size = parseInt(text.slice(at, line), 16);
      if (Number.isNaN(size)) return text.length;
      if (size === 0) {
        if (text.startsWith("\r\n", line + 2)) return line + 4;
        const end = text.indexOf("\r\n\r\n", line);
        return end < 0 ? 0 : end + 4;
      }
      at = line + 2 + size + 2;
      if (at > text.length) return 0;
    }
  }
  const end = start + Number(length?.[1] ?? 0);
  return end <= text.length ? end : 0;
}

export class Backend {
  readonly port: number;
  /** Requests by case, in the order in which they came. */
  readonly seen = new Map<string, string[]>();
  readonly #listener: Bun.TCPSocketListener<Connection>;
  readonly #answers: (id: string, nth: number) => Answer;

  constructor(answers: (id: string, nth: number) => Answer, hostname = "127.0.0.1") {
    this.#answers = answers;
    this.#listener = Bun.listen<Connection>({
      hostname,
      port: 0,
      allowHalfOpen: true,
      socket: {
        open: (socket) => {
          socket.data = { text: "" };
        },
        data: (socket, chunk) => {
          socket.data.text += chunk.toString("latin1");
          this.#read(socket);
        },
        end: (socket) => void socket.end(),
        error() {},
      },
    });
    this.port = this.#listener.port;
  }

  #read(socket: Bun.Socket<Connection>): void {
    for (;;) {
      const { text } = socket.data;
      const end = messageEnd(text, false);
      if (end === 0) return;
      const request = text.slice(0, end);
      socket.data.text = text.slice(end);
      const id = /\r\nx-case: *([^\r]*)/i.exec(request)?.[1] ?? "";
      let list = this.seen.get(id);
      if (list === undefined) this.seen.set(id, list = []);
      list.push(request);
      const answer = this.#answers(id, list.length - 1);
      const send = () => {
        if (answer.raw !== undefined) socket.write(Buffer.from(answer.raw, "latin1"));
        const { then } = answer;
        const finish = () => {
          if (then !== undefined) socket.write(Buffer.from(then, "latin1"));
          if (answer.close === true) socket.end();
        };
        if (then === undefined) finish();
        else setTimeout(finish, 20);
      };
      if (answer.delayMs === undefined) send();
      else setTimeout(send, answer.delayMs);
    }
  }

  stop(): void {
    this.#listener.stop(true);
  }
}
