import { CLOSE_GRACE_MS, Endpoint } from "./endpoint.ts";
import { errorCode, osErrorText } from "./os_error.ts";
import type { RelayError } from "./relay.ts";
import { surfaceBug } from "./surface.ts";

/** Bytes that an endpoint holds before it is joined; beyond this it stops reading its socket. */
export const EARLY_BYTES_LIMIT = 64 * 1024;

/**
 * A queued piece that is smaller than the first and pins a buffer more than the second times its own size is copied, so
 * that a slow reader costs what it was sent and not the read buffers around it. Copying larger ones costs more than that.
 */
const COPIED_PIECE = 64 * 1024; // bytes
const PINNED_BUFFER_RATIO = 2;

/** Errors of the peer's kernel that mean no more than "the peer is gone" (spec/ztunnel.md §5.2): not reported. */
const QUIET_CODES: ReadonlySet<string> = new Set(["ECONNRESET", "EPIPE", "ENOTCONN"]);

export type TcpSocket = Bun.Socket<TcpEndpoint>;

/**
 * A TCP socket as one end of a relay. The socket's handlers (`tcpHandlers`) are shared by all sockets of the process
 * and find the endpoint in `socket.data`.
 *
 * Writing: a short write keeps the rest in a queue until the socket drains; reading from the peer stops meanwhile
 * because its bytes are not reported as consumed. Reading: the socket is paused while bytes of it are in flight.
 */
export class TcpEndpoint extends Endpoint {
  #socket: TcpSocket | undefined;
  /** Bytes read and not yet consumed by the peer. */
  #inFlight = 0;
  #paused = false;
  #reading: "open" | "ended" = "open";
  /** open → finishing (half-close after the queue) or closing (full close after the queue) → finished → closed */
  #writing: "open" | "finishing" | "closing" | "finished" | "closed" = "open";
  /** Bytes for the network that the socket has not taken. */
  #queue: Uint8Array[] | undefined = undefined;
  /** Bytes from the network that came before joining. */
  #early: Uint8Array[] | undefined = undefined;
  /** Another process may have the socket: it is neither read nor written, and its end is kept here. */
  #suspended: { end: { readonly error: Error | undefined } | undefined } | undefined = undefined;
  /** Another process may hold the descriptor without using it: closing ours is then not the end of the connection. */
  #shared = false;

  constructor(socket: TcpSocket) {
    super();
    this.#socket = socket;
    socket.data = this;
  }

  /** The socket's file descriptor, or -1 when it is closed. */
  get fd(): number {
    return (this.#socket as { fd?: number } | undefined)?.fd ?? -1;
  }

  get closed(): boolean {
    return this.#writing === "closed";
  }

  /** The other side has said all; it may have left, or wait for an answer. */
  get halfClosed(): boolean {
    return this.#reading === "ended";
  }

  /** Takes the socket away from an endpoint that was not joined and has read nothing: TLS is to begin on it. */
  detach(): TcpSocket | undefined {
    const socket = this.#socket;
    if (this.peer !== undefined || this.#early !== undefined) throw new Error("tcp: detach() of an endpoint in use");
    this.#socket = undefined;
    this.#writing = "closed";
    if (socket !== undefined) (socket as unknown as { data: undefined }).data = undefined;
    return socket;
  }

  override joined(): void {
    const early = this.#early;
    this.#early = undefined;
    this.#inFlight = 0;
    if (early !== undefined) {
      for (const chunk of early) this.#forward(chunk);
    }
    if (this.#paused && this.#inFlight === 0) this.#resume();
    if (this.#reading === "ended") this.peer?.finish();
    if (this.#writing === "closed") this.relay?.endpointClosed(this, undefined, true);
  }

  /**
   * Leaves the socket alone, so that another process can go on with it: what is still to be sent is returned. Then comes
   * resume() or release(). undefined: it is closed, or about to be.
   */
  suspend(): readonly Uint8Array[] | undefined {
    if (this.#socket === undefined || this.#writing === "closing") return undefined;
    this.#suspended = { end: undefined };
    this.#pause();
    return this.#queue ?? [];
  }

  /** The other process does not want it. */
  resume(): void {
    const end = this.#suspended?.end;
    this.#suspended = undefined;
    this.#shared = true;
    if (end !== undefined) this.#closed(end.error);
    if (this.#socket === undefined) return;
    if (this.#inFlight === 0) this.#resume();
    this.writable();
  }

  /** The other process has it: lets go of ours, of which the peer sees nothing. */
  release(): void {
    const socket = this.#socket;
    this.#socket = undefined;
    this.#writing = "closed";
    this.#queue = undefined;
    // The runtime has nothing to send, so that it takes the descriptor out of its epoll set and closes it, no more.
    socket?.end();
  }

  // --- towards the network ---

  override deliver(chunk: Uint8Array): void {
    if (this.#writing !== "open") {
      // Nobody will read these bytes any more; their sender's window must not stay taken by them.
      this.peer?.consumed(chunk.length);
      return;
    }
    if (this.#queue !== undefined) {
      this.#queue.push(compact(chunk));
      return;
    }
    const written = this.#write(chunk);
    if (written === chunk.length) {
      this.peer?.consumed(written);
      return;
    }
    this.#queue = [compact(written === 0 ? chunk : chunk.subarray(written))];
    if (written > 0) this.peer?.consumed(written);
  }

  override finish(): void {
    if (this.#writing !== "open") return;
    this.#writing = "finishing";
    if (this.#queue === undefined) this.#finishNow();
  }

  override close(abrupt: boolean): void {
    if (this.#writing === "closed") return;
    if (this.#queue === undefined) {
      this.abort();
      return;
    }
    this.#writing = "closing";
    if (abrupt) setTimeout(() => this.abort(), CLOSE_GRACE_MS).unref();
  }

  override abort(): void {
    if (this.#writing === "closed") return;
    const socket = this.#socket;
    const unread = this.peer === undefined && this.#early !== undefined;
    this.#closed(undefined);
    if (this.#shared) socket?.shutdown();
    // As the kernel closes a socket: with a FIN, or with a RST if the peer sent bytes that nobody will read.
    if (unread) socket?.terminate();
    else socket?.end();
  }

  // --- from the network (called by the shared handlers) ---

  received(chunk: Uint8Array): void {
    if (this.#suspended !== undefined) throw new Error("tcp: bytes of a socket that is not read");
    if (this.#writing === "closed" || this.#writing === "closing") return;
    if (this.peer !== undefined) {
      this.#forward(chunk);
      if (this.#inFlight > 0) this.#pause();
      return;
    }
    (this.#early ??= []).push(chunk);
    this.#inFlight += chunk.length;
    if (this.#inFlight >= EARLY_BYTES_LIMIT) this.#pause();
  }

  writable(): void {
    const queue = this.#queue;
    if (queue === undefined || this.peer === undefined || this.#suspended !== undefined) return;
    let sent = 0;
    while (queue.length > 0) {
      const chunk = queue[0] as Uint8Array;
      const written = this.#write(chunk);
      sent += written;
      if (written < chunk.length) {
        queue[0] = chunk.subarray(written);
        break;
      }
      queue.shift();
    }
    if (queue.length === 0) this.#queue = undefined;
    if (sent > 0) this.peer.consumed(sent);
    if (this.#queue !== undefined) return;
    if (this.#writing === "finishing") this.#finishNow();
    else if (this.#writing === "closing") this.abort();
  }

  ended(): void {
    if (this.#reading === "ended") return;
    this.#reading = "ended";
    this.peer?.finish();
  }

  /** The runtime has closed the socket: its file descriptor is gone. */
  gone(error: Error | undefined): void {
    if (this.#suspended === undefined) this.#closed(error);
    else this.#suspended.end = { error };
  }

  /** An error that is not the end of the socket, such as an exception in one of our own handlers. */
  broken(error: Error): void {
    surfaceBug(error);
    if (this.relay !== undefined) this.relay.cut({ text: `internal error: ${error.message}` });
    else this.abort();
  }

  override consumed(bytes: number): void {
    this.#inFlight -= bytes;
    if (this.#inFlight === 0 && this.#paused) this.#resume();
  }

  #forward(chunk: Uint8Array): void {
    const peer = this.peer as Endpoint;
    this.bytesRead += chunk.length;
    if (this.readCounter !== undefined) this.readCounter.value += chunk.length;
    this.#inFlight += chunk.length;
    peer.deliver(chunk);
  }

  #write(chunk: Uint8Array): number {
    const written = this.#socket?.write(chunk) ?? 0;
    return written > 0 ? written : 0;
  }

  #finishNow(): void {
    this.#writing = "finished";
    this.#socket?.shutdown();
  }

  #pause(): void {
    if (this.#paused) return;
    this.#paused = true;
    this.#socket?.pause();
  }

  #resume(): void {
    this.#paused = false;
    this.#socket?.resume();
  }

  #closed(error: Error | undefined): void {
    if (this.#writing === "closed") return;
    const clean = error === undefined && this.#writing === "finished";
    this.#writing = "closed";
    this.#socket = undefined;
    const peer = this.peer;
    if (this.#queue !== undefined && peer !== undefined) {
      // Unsent bytes are lost with the socket; the window that they take in the peer's transport is not.
      const lost = this.#queue.reduce((sum, chunk) => sum + chunk.length, 0);
      this.#queue = undefined;
      peer.consumed(lost);
    }
    if (this.#reading === "open") {
      this.#reading = "ended";
      peer?.finish();
    }
    this.relay?.endpointClosed(this, clean ? undefined : relayError(error), !clean);
  }
}

function relayError(error: Error | undefined): RelayError | undefined {
  const code = errorCode(error);
  return code === "" || QUIET_CODES.has(code) ? undefined : { text: `io error: ${osErrorText(code)}` };
}

function compact(chunk: Uint8Array): Uint8Array {
  const pinned = chunk.length < COPIED_PIECE && chunk.buffer.byteLength > chunk.length * PINNED_BUFFER_RATIO;
  return pinned ? chunk.slice() : chunk;
}
