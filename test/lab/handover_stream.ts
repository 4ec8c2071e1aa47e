/** A long-lived connection that is busy: known bytes, echoed, by a reader that is slow at times. */
import type { Socket, SocketHandler, TCPSocketListener } from "bun";
import { connectTcp, listenTcp, SystemError } from "../../src/linux/mod.ts";
import type { LabPod } from "./topology/mod.ts";
import { adoptConnection, adoptListener } from "./traffic/mod.ts";

const PIECE = 64 * 1024; // bytes
/** Bytes that may be on their way, there and back. */
const MOST_UNDER_WAY = 8 << 20;
/** How long the reader reads, and how long it does not, ms. */
const BUSY_MS = 60;
const LAZY_MS = 90;

/** Repeats after a prime number of bytes, so that no piece looks like its neighbours. */
const PATTERN_PERIOD = 65_521;
const PATTERN = Uint8Array.from({ length: PATTERN_PERIOD + PIECE }, (_, index) => {
  const at = index % PATTERN_PERIOD;
  return (at * 31 + (at >> 8) * 7) & 0xff;
});

function pattern(at: number, length: number): Uint8Array {
  const from = at % PATTERN_PERIOD;
  return PATTERN.subarray(from, from + Math.min(length, PIECE));
}

/** Sends back all it hears, however much the other side does not read. */
class Echo {
  static readonly handlers: SocketHandler<Echo> = {
    open(socket) {
      socket.data = new Echo();
    },
    data(socket, chunk) {
      socket.data.#queue.push(chunk);
      socket.data.#send(socket);
    },
    drain: (socket) => socket.data.#send(socket),
    end(socket) {
      socket.data.#ended = true;
      socket.data.#send(socket);
    },
    error: (socket) => socket.terminate(),
  };
  readonly #queue: Uint8Array[] = [];
  #ended = false;

  #send(socket: Socket<Echo>): void {
    for (let first = this.#queue[0]; first !== undefined; first = this.#queue[0]) {
      const sent = Math.max(0, socket.write(first));
      if (sent < first.length) {
        this.#queue[0] = first.subarray(sent);
        socket.pause();
        return;
      }
      this.#queue.shift();
    }
    socket.resume();
    if (this.#ended) socket.shutdown();
  }
}

/** Echoes on a port of a pod; half-closes where its client does. */
export function echoFaithfully(pod: LabPod, port: number): TCPSocketListener<Echo> {
  const { fd } = listenTcp({
    namespace: pod.namespace.fd,
    address: { ip: "::", port },
    backlog: 128,
    reusePort: false,
    reuseAddress: true,
    noDelay: true,
  });
  return adoptListener<Echo>({ fd, socket: Echo.handlers });
}

export class HandoverStream {
  static readonly #handlers: SocketHandler<HandoverStream> = {
    open(socket) {
      socket.data.#socket = socket;
      socket.data.#begin();
    },
    data: (socket, chunk) => socket.data.#heard(chunk),
    drain: (socket) => socket.data.#send(),
    end: (socket) => socket.data.#over(undefined),
    close: (socket, error) => socket.data.#over(error),
    error: (socket, error) => socket.data.#over(error),
  };
  #socket: Socket<HandoverStream> | undefined;
  #timer: Timer | undefined;
  #finishing = false;
  readonly #ended = Promise.withResolvers<void>();
  sent = 0;
  received = 0;
  /** What went wrong, if anything has. */
  error: string | undefined;

  constructor(client: LabPod, server: LabPod, port: number) {
    const fd = connectTcp({ namespace: client.namespace.fd, destination: { ip: server.ip, port } });
    if (fd instanceof SystemError) throw fd;
    adoptConnection<HandoverStream>({ fd, data: this, socket: HandoverStream.#handlers }).catch((error: Error) =>
      this.#over(error)
    );
  }

  /** Ends what it sends; resolves when all has come back, and then the end. */
  finish(): Promise<void> {
    this.#finishing = true;
    this.#socket?.shutdown();
    return this.#ended.promise;
  }

  #begin(): void {
    this.#send();
    let reading = true;
    const turn = () => {
      reading = this.#finishing || !reading;
      if (reading) this.#socket?.resume();
      else this.#socket?.pause();
      this.#timer = setTimeout(turn, reading ? BUSY_MS : LAZY_MS);
    };
    this.#timer = setTimeout(turn, BUSY_MS);
  }

  #send(): void {
    while (!this.#finishing && this.sent - this.received < MOST_UNDER_WAY) {
      const piece = pattern(this.sent, PIECE);
      const sent = Math.max(0, this.#socket?.write(piece) ?? 0);
      this.sent += sent;
      if (sent < piece.length) return;
    }
  }

  #heard(chunk: Uint8Array): void {
    for (let from = 0; from < chunk.length; from += PIECE) {
      const part = chunk.subarray(from, from + PIECE);
      if (Buffer.compare(part, pattern(this.received, part.length)) !== 0) {
        this.error ??= `other bytes than were sent, from byte ${this.received} on`;
      }
      this.received += part.length;
    }
    this.#send();
  }

  #over(error: Error | undefined): void {
    clearTimeout(this.#timer);
    if (error !== undefined) this.error ??= error.message;
    else if (!this.#finishing) this.error ??= `ended after ${this.received} bytes`;
    else if (this.received !== this.sent) this.error ??= `${this.received} bytes came back of ${this.sent}`;
    this.#socket?.end();
    this.#ended.resolve();
  }
}
