/** Questions of one pod on their way to name servers: from sockets in its namespace, so that they see the pod ask. */
import { frame, FrameReader, MAX_MESSAGE, type Sending, type UpstreamTransport } from "../../dns/mod.ts";
import { closeFd, connectTcp, connectUdp, errnoName, socketError, SystemError } from "../../linux/mod.ts";
import type { SocketAddress } from "../../net/address.ts";
import { errorCode, osErrorText } from "../../net/os_error.ts";
import { surfaceBug } from "../../net/surface.ts";
import type { DialOptions } from "../../net/tcp.ts";

/** How long connecting to a name server may take, ms (spec/ztunnel.md §14.4). */
const CONNECT_TIMEOUT_MS = 5_000;

type Received = (bytes: Uint8Array) => void;
type Failed = (reason: string) => void;

/** Where a pod's sockets are made. */
export interface PodSockets {
  readonly namespace: number | undefined;
  readonly mark: number | undefined;
  /** Of its TCP sockets. */
  readonly dialOptions: DialOptions;
}

/**
 * A new UDP socket for every question: with the port that the kernel chooses at random, whoever wants to answer in the
 * name server's place has to guess as much as there is to guess (RFC 5452 §9.2), and it costs 21 µs.
 */
export class PodTransport implements UpstreamTransport {
  readonly #sockets: PodSockets;

  constructor(sockets: PodSockets) {
    this.#sockets = sockets;
  }

  udp(server: SocketAddress, message: Uint8Array<ArrayBuffer>, received: Received, failed: Failed): Sending {
    const { namespace, mark } = this.#sockets;
    const connection = connectUdp({
      server,
      received,
      failed: (code) => failed(osErrorText(code)),
      ...(namespace === undefined ? {} : { namespace }),
      ...(mark === undefined ? {} : { mark }),
    });
    const refused = connection instanceof SystemError ? connection.code : connection.send(message);
    let closed = false;
    if (refused !== undefined) queueMicrotask(() => void (closed || failed(osErrorText(refused))));
    return {
      close() {
        if (closed) return;
        closed = true;
        if (!(connection instanceof SystemError)) connection.close();
      },
    };
  }

  tcp(server: SocketAddress, message: Uint8Array<ArrayBuffer>, received: Received, failed: Failed): Sending {
    const conversation = new Conversation(frame(message), received, failed);
    const fd = connectTcp({ destination: server, ...this.#sockets.dialOptions });
    if (fd instanceof SystemError) queueMicrotask(() => conversation.failed(osErrorText(fd.code)));
    else conversation.adopt(fd);
    return conversation;
  }
}

type ConversationSocket = Bun.Socket<Conversation>;

/** One question and one answer over TCP. */
class Conversation implements Sending {
  readonly #received: Received;
  readonly #failed: Failed;
  readonly #reader = new FrameReader(MAX_MESSAGE);
  #state: "connecting" | "asking" | "done" = "connecting";
  /** What is still to be sent. */
  #rest: Uint8Array;
  #socket: ConversationSocket | undefined = undefined;
  readonly #timer: Timer;

  constructor(framed: Uint8Array, received: Received, failed: Failed) {
    this.#rest = framed;
    this.#received = received;
    this.#failed = failed;
    this.#timer = setTimeout(() => this.failed("deadline has elapsed"), CONNECT_TIMEOUT_MS);
  }

  adopt(fd: number): void {
    const adopted = { fd, data: this, allowHalfOpen: true, socket: conversationHandlers };
    try {
      // The promise repeats what the handlers hear; only a socket that could not be adopted is news.
      Bun.connect<Conversation>(adopted as unknown as Bun.TCPSocketConnectOptions<Conversation>)
        .catch((error: Error) => this.failed(error.message));
    } catch (error) {
      closeFd(fd);
      queueMicrotask(() => this.failed((error as Error).message));
    }
  }

  opened(socket: ConversationSocket): void {
    if (this.#state === "done") {
      socket.terminate();
      return;
    }
    this.#socket = socket;
    // The runtime opens an adopted socket at once, connected or not.
    const error = socketError((socket as unknown as { fd: number }).fd);
    if (error !== 0) this.failed(osErrorText(errnoName(error)));
    else this.writable();
  }

  writable(): void {
    if (this.#state === "done" || this.#rest.length === 0) return;
    const written = this.#socket?.write(this.#rest) ?? 0;
    if (written > 0) {
      this.#rest = this.#rest.subarray(written);
      this.#connected();
    }
  }

  data(chunk: Uint8Array): void {
    if (this.#state === "done") return;
    this.#connected();
    this.#reader.push(chunk);
    const message = this.#reader.next();
    if (message instanceof Uint8Array) this.#received(message);
  }

  failed(reason: string): void {
    if (this.#state === "done") return;
    this.close();
    this.#failed(reason);
  }

  close(): void {
    if (this.#state === "done") return;
    this.#state = "done";
    clearTimeout(this.#timer);
    this.#socket?.terminate();
    this.#socket = undefined;
  }

  #connected(): void {
    if (this.#state !== "connecting") return;
    this.#state = "asking";
    clearTimeout(this.#timer);
  }
}

const conversationHandlers: Bun.SocketHandler<Conversation> = {
  open: (socket) => socket.data.opened(socket),
  data: (socket, chunk) => socket.data.data(chunk),
  drain: (socket) => socket.data.writable(),
  end: (socket) => socket.data.failed("the name server closed the connection"),
  close: (socket, error) => socket.data.failed(osErrorText(errorCode(error) || "ECONNRESET")),
  error(socket, error) {
    surfaceBug(error);
    socket.data.failed(error.message);
  },
};
