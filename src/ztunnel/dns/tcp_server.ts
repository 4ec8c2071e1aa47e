/** Questions on TCP connections: many one after another, without waiting for answers (RFC 7766). */
import { frame, FrameReader } from "../../dns/mod.ts";
import { adoptListener, finishListening } from "../../net/tcp.ts";
import { startTicking, stopTicking, type Ticking } from "../../net/ticker.ts";
import { surfaceBug } from "../../net/surface.ts";
import { type Turns, turns as processTurns, type Waiting } from "./turns.ts";
import type { Serve } from "./udp_server.ts";

/** A connection on which nothing happens ends after this, ms (spec/ztunnel.md §14.4). */
const IDLE_MS = 5_000;
/** Longest question; its length alone says that what comes is none. */
const MAX_QUESTION = 4096; // bytes
/** Questions of one connection that are being answered at a time. */
const MAX_RUNNING = 32;
/** Answers that the client does not read; then it gets no more. */
const MAX_UNSENT = 256 * 1024; // bytes
/** Connections of one pod. */
const MAX_CONNECTIONS = 256;

type ServerSocket = Bun.Socket<TcpQuestions>;

export class TcpServer implements Ticking {
  readonly #listener: Bun.TCPSocketListener<TcpQuestions>;
  readonly #connections = new Set<TcpQuestions>();
  #state: "open" | "draining" | "closed" = "open";
  #emptied: (() => void) | undefined = undefined;

  /** Adopts a listening fd. */
  constructor(fd: number, serve: Serve, turns: Turns = processTurns) {
    this.#listener = adoptListener<TcpQuestions>(fd, {
      open: (socket) => {
        const connection = new TcpQuestions(socket, serve, turns, () => this.#connectionFinished());
        socket.data = connection;
        if (this.#state === "closed" || this.#connections.size >= MAX_CONNECTIONS) {
          connection.abort();
          return;
        }
        this.#connections.add(connection);
        if (this.#state === "draining") connection.retire();
        startTicking(this);
      },
      data: (socket, chunk) => socket.data.received(chunk),
      drain: (socket) => socket.data.writable(),
      end: (socket) => socket.data.ended(),
      close: (socket) => {
        socket.data.abort();
        this.#connections.delete(socket.data);
        if (this.#connections.size === 0) stopTicking(this);
      },
      error(socket, error) {
        surfaceBug(error);
        socket.data.abort();
      },
    });
  }

  /**
   * Accepts no more than those who wait for it. Connections end when their questions are answered, those without any with
   * their first, or when they are idle for too long; resolves when the last one has ended.
   */
  async drain(): Promise<void> {
    if (this.#state !== "open") return;
    this.#state = "draining";
    for (const connection of [...this.#connections]) connection.retire();
    await finishListening(this.#listener);
    if (this.open > 0) await new Promise<void>((resolve) => this.#emptied = resolve);
  }

  /** Who is still to be answered; those who have been may take their time to hang up. */
  get open(): number {
    let open = 0;
    for (const { finished } of this.#connections) if (!finished) open++;
    return open;
  }

  close(): void {
    if (this.#state !== "closed") this.#listener.stop(false);
    this.#state = "closed";
    for (const connection of [...this.#connections]) connection.abort();
    stopTicking(this);
    this.#emptied?.();
  }

  #connectionFinished(): void {
    if (this.#state === "draining" && this.#emptied !== undefined && this.open === 0) this.#emptied();
  }

  tick(now: number): void {
    for (const connection of [...this.#connections]) connection.endIfIdle(now);
  }
}

/** One connection. */
class TcpQuestions implements Waiting {
  readonly #socket: ServerSocket;
  readonly #serve: Serve;
  readonly #turns: Turns;
  readonly #onFinished: () => void;
  readonly #reader = new FrameReader(MAX_QUESTION);
  /** open → ended (the client asks no more, or we take no more) → closed */
  #state: "open" | "ended" | "closed" = "open";
  #running = 0;
  /** It ends with the answers to what it asks, or has asked. */
  #retired = false;
  #asked = false;
  /** Whether it stands in the line for its turn. */
  #inLine = false;
  /** Questions are being taken right now: an answer given at once must not begin with that again. */
  #proceeding = false;
  #paused = false;
  #unsent: Uint8Array[] = [];
  #unsentBytes = 0;
  #lastUse = performance.now();

  constructor(socket: ServerSocket, serve: Serve, turns: Turns, onFinished: () => void) {
    this.#socket = socket;
    this.#serve = serve;
    this.#turns = turns;
    this.#onFinished = onFinished;
  }

  /** It hears and says nothing any more. */
  get finished(): boolean {
    return this.#state === "closed";
  }

  received(chunk: Uint8Array): void {
    if (this.#state !== "open") return;
    this.#reader.push(chunk);
    this.#proceed();
  }

  serve(most: number): boolean {
    this.#proceeding = true;
    for (let taken = 0; taken < most && this.#mayTake(); taken++) {
      if (taken > 0 && this.#turns.over) break;
      this.#take();
    }
    this.#proceeding = false;
    this.#inLine = this.#mayTake();
    if (!this.#inLine) this.#settle();
    return this.#inLine;
  }

  writable(): void {
    while (this.#unsent.length > 0) {
      const piece = this.#unsent[0] as Uint8Array;
      const written = Math.max(0, this.#socket.write(piece));
      this.#unsentBytes -= written;
      if (written > 0) this.#lastUse = performance.now();
      if (written < piece.length) {
        this.#unsent[0] = piece.subarray(written);
        return;
      }
      this.#unsent.shift();
    }
    this.#proceed();
  }

  /** No more questions will come: the connection ends with its last answer. */
  ended(): void {
    if (this.#state === "open") this.#state = "ended";
    this.#settle();
  }

  /** It may ask once more if it has not asked at all: it was made before it could know better. */
  retire(): void {
    this.#retired = true;
    if (this.#asked) this.ended();
  }

  endIfIdle(now: number): void {
    if (this.#state === "closed" || this.#running > 0 || this.#inLine || now - this.#lastUse < IDLE_MS) return;
    if (this.#unsent.length > 0) this.abort();
    else this.#finish();
  }

  abort(): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#turns.leave(this);
    this.#unsent = [];
    this.#socket.terminate();
    this.#onFinished();
  }

  /** Answers what is there, as far as this turn goes. */
  #proceed(): void {
    if (this.#proceeding || this.#inLine) return;
    this.#proceeding = true;
    while (this.#mayTake()) {
      if (!this.#turns.take()) {
        this.#inLine = true;
        this.#turns.wait(this);
        break;
      }
      this.#take();
    }
    this.#proceeding = false;
    this.#settle();
  }

  /** Whether there is room for another question, and for its answer. */
  #hasRoom(): boolean {
    return this.#state !== "closed" && this.#running < MAX_RUNNING && this.#unsent.length === 0;
  }

  #mayTake(): boolean {
    return this.#hasRoom() && this.#reader.ready;
  }

  #take(): void {
    const message = this.#reader.next();
    if (message === "too long" || message === undefined) {
      this.abort();
      return;
    }
    this.#lastUse = performance.now();
    this.#asked = true;
    if (this.#retired && this.#state === "open" && !this.#reader.ready) this.#state = "ended";
    this.#running++;
    if (!this.#serve(message, (answer) => this.#answered(answer))) this.#answered(undefined);
  }

  #answered(answer: Uint8Array | undefined): void {
    this.#running--;
    if (this.#state === "closed") return;
    this.#lastUse = performance.now();
    // What gets no answer is no DNS, and nothing that comes after it will be.
    if (answer === undefined) this.abort();
    else this.#send(frame(answer));
    this.#proceed();
  }

  #send(bytes: Uint8Array<ArrayBuffer>): void {
    const written = this.#unsent.length > 0 ? 0 : Math.max(0, this.#socket.write(bytes));
    if (written === bytes.length) return;
    this.#unsent.push(bytes.subarray(written));
    this.#unsentBytes += bytes.length - written;
    if (this.#unsentBytes > MAX_UNSENT) this.abort();
  }

  /** Reads on, or not, or ends: as what is under way says. */
  #settle(): void {
    if (this.#state === "closed") return;
    const busy = this.#inLine || !this.#hasRoom();
    if (this.#state === "ended") {
      if (!busy && this.#running === 0) this.#finish();
      return;
    }
    if (busy === this.#paused) return;
    this.#paused = busy;
    if (busy) this.#socket.pause();
    else this.#socket.resume();
  }

  #finish(): void {
    this.#state = "closed";
    this.#socket.end();
    this.#onFinished();
  }
}
