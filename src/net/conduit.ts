import { closeFd, socketPair, SystemError } from "../linux/mod.ts";
import { CLOSE_GRACE_MS, Endpoint } from "./endpoint.ts";
import { Relay, type RelayError } from "./relay.ts";
import { surfaceBug } from "./surface.ts";

type ConduitSocket = Bun.Socket<Conduit>;

/**
 * Gives a byte stream a file descriptor: one end of a socket pair is relayed with the stream, the other one is for the
 * runtime, which speaks TLS on descriptors only. Flow control goes through: what the stream sends waits in the pair's
 * buffer for its reader, and what is written to the descriptor waits there until the stream takes it.
 */
export class Conduit extends Endpoint {
  #socket: ConduitSocket | undefined = undefined;
  /** Bytes from the stream that the socket did not take yet. */
  #queue: Uint8Array[] = [];
  /** Bytes read from the socket that the stream has not sent on. */
  #inFlight = 0;
  #paused = false;
  /** The other end of the pair writes no more. */
  #readEnded = false;
  /** The stream sends no more. */
  #streamEnded = false;
  /** Both directions of the stream are over. */
  #streamClosed = false;
  /** The other end of the pair has been told that no more comes. */
  #finished = false;
  /** discarding: nobody reads at the other end of the pair. */
  #state: "open" | "discarding" | "closed" = "open";
  #grace: Timer | undefined = undefined;

  /**
   * Joins a stream with one end of a new pair. Returns the descriptor of the other end, for whoever speaks on it and owns
   * it from here on; or why there is none, and then the stream is left alone.
   *
   * @param ended called once when the stream and this end of the pair are closed, with the error that the stream ended
   * with. It is called later, and on its own account only: not from within `open`.
   */
  static open(
    stream: Endpoint,
    ended: (error: RelayError | undefined) => void,
  ): { readonly conduit: Conduit; readonly fd: number } | SystemError {
    const pair = socketPair();
    if (pair instanceof SystemError) return pair;
    const [near, fd] = pair;
    const conduit = new Conduit();
    try {
      Bun.connect<Conduit>({
        fd: near,
        data: conduit,
        allowHalfOpen: true,
        socket: handlers,
      } as unknown as Bun.TCPSocketConnectOptions<Conduit>).catch(() => conduit.cut());
    } catch {
      closeFd(near);
      queueMicrotask(() => conduit.cut());
    }
    new Relay(stream, conduit, { relayFinished: ({ error }) => ended(error) }, { value: 0 }, { value: 0 });
    return { conduit, fd };
  }

  /** Nobody reads at the other end any more: what the stream still sends is dropped, and it ends within CLOSE_GRACE_MS. */
  retire(): void {
    if (this.#state !== "open") return;
    this.#state = "discarding";
    this.#drop();
    this.#grace ??= setTimeout(() => this.cut(), CLOSE_GRACE_MS).unref();
    this.#settle();
  }

  /** Ends the stream and this end of the pair now. */
  cut(): void {
    this.peer?.abort();
    this.abort();
  }

  // --- the stream's side ---

  override joined(): void {
    // Nothing was read before: a socket that is being adopted speaks later.
  }

  override deliver(chunk: Uint8Array): void {
    if (this.#state !== "open" || this.#streamEnded) {
      this.peer?.consumed(chunk.length);
    } else if (this.#socket === undefined || this.#queue.length > 0) {
      this.#queue.push(chunk);
    } else {
      const written = Math.max(0, this.#socket.write(chunk));
      if (written < chunk.length) this.#queue.push(written === 0 ? chunk : chunk.subarray(written));
      if (written > 0) this.peer?.consumed(written);
    }
  }

  override finish(): void {
    if (this.#streamEnded) return;
    this.#streamEnded = true;
    this.#settle();
  }

  override close(abrupt: boolean): void {
    if (this.#state === "closed") return;
    this.#streamEnded = this.#streamClosed = true;
    if (abrupt) this.#grace ??= setTimeout(() => this.abort(), CLOSE_GRACE_MS).unref();
    this.#settle();
  }

  override consumed(bytes: number): void {
    this.#inFlight -= bytes;
    if (this.#inFlight > 0 || !this.#paused) return;
    this.#paused = false;
    this.#socket?.resume();
  }

  override abort(): void {
    const socket = this.#socket;
    this.gone();
    socket?.end();
  }

  // --- the socket's side (called by the shared handlers) ---

  opened(socket: ConduitSocket): void {
    if (this.#state === "closed") {
      socket.terminate();
      return;
    }
    this.#socket = socket;
    this.writable();
  }

  received(chunk: Uint8Array): void {
    if (this.#state === "closed") return;
    this.#inFlight += chunk.length;
    this.bytesRead += chunk.length;
    this.peer?.deliver(chunk);
    if (this.#inFlight <= 0 || this.#paused) return;
    this.#paused = true;
    this.#socket?.pause();
  }

  writable(): void {
    const queue = this.#queue;
    let sent = 0;
    while (queue.length > 0) {
      const chunk = queue[0] as Uint8Array;
      const written = Math.max(0, this.#socket?.write(chunk) ?? 0);
      sent += written;
      if (written < chunk.length) {
        queue[0] = chunk.subarray(written);
        break;
      }
      queue.shift();
    }
    if (sent > 0) this.peer?.consumed(sent);
    this.#settle();
  }

  ended(): void {
    if (this.#readEnded) return;
    this.#readEnded = true;
    this.peer?.finish();
    this.#settle();
  }

  /** The socket is closed, or is about to be. */
  gone(): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#socket = undefined;
    clearTimeout(this.#grace);
    this.#drop();
    const orderly = this.#readEnded && this.#streamEnded;
    if (!this.#readEnded) {
      this.#readEnded = true;
      this.peer?.finish();
    }
    this.relay?.endpointClosed(this, undefined, !orderly);
  }

  /** After what the stream has sent is gone, one way or the other: passes on its end. */
  #settle(): void {
    if (this.#state === "closed" || this.#queue.length > 0) return;
    if (this.#streamClosed || (this.#state === "discarding" && this.#streamEnded && this.#readEnded)) this.abort();
    else if (this.#streamEnded || this.#state === "discarding") this.#finishWriting();
  }

  #finishWriting(): void {
    if (this.#finished || this.#socket === undefined) return;
    this.#finished = true;
    this.#socket.shutdown();
  }

  #drop(): void {
    let lost = 0;
    for (const { length } of this.#queue) lost += length;
    this.#queue = [];
    if (lost > 0) this.peer?.consumed(lost);
  }
}

/** Handlers of all conduits' sockets. */
const handlers: Bun.SocketHandler<Conduit> = {
  open: (socket) => socket.data.opened(socket),
  data: ({ data }, chunk) => data.received(chunk),
  drain: ({ data }) => data.writable(),
  end: ({ data }) => data.ended(),
  close: ({ data }) => data.gone(),
  error({ data }, error) {
    surfaceBug(error);
    data.cut();
  },
};
