import { ErrorCode, errorName, type HeaderList, Http2Connection, type Http2Handler } from "../http2/mod.ts";
import { errorCode, osErrorText } from "../net/os_error.ts";
import type { Call, Carrier } from "./call.ts";
import { printable } from "./response.ts";
import type { GrpcSocket, SocketUser } from "./socket.ts";
import { GrpcError, GrpcStatus } from "./status.ts";
import type { GrpcClock } from "./types.ts";

/** What the original announces (spec/ztunnel.md §3.1), bytes. */
const STREAM_WINDOW = 2 << 20;
const CONNECTION_WINDOW = 5 << 20;
const FRAME_SIZE = 16_384;
const HEADER_LIST_SIZE = 16_384;
/** Calls do not wait for room: what a control client sends is small. */
const SEND_BUFFER = 1 << 20; // bytes

/** Silence while streams are open before a PING, and how long its answer may take; ms (§3.1). */
export const KEEPALIVE_MS = 30_000;
const KEEPALIVE_TIMEOUT_MS = 10_000;
/** A timer that is late by this much says that this process slept, and nothing of the server; ms. */
const OVERSLEPT_MS = 1_000;
/** Debug data of a GOAWAY(ENHANCE_YOUR_CALM) by which a server says that we ask too often (gRPC A8). */
const TOO_MANY_PINGS = "too_many_pings";
/** From the end of the TLS handshake to the server's SETTINGS, ms. */
const SETTINGS_TIMEOUT_MS = 5_000;
/** How long a socket that was ended waits for the server to end too, ms. */
const LINGER_MS = 2_000;

export interface ConnectionOwner {
  /** Silence before a PING, ms; asked once for each connection. */
  readonly keepaliveMs: number;
  /** The server closes this connection because of its PINGs. */
  onTooManyPings(connection: GrpcConnection): void;
  /** No calls are opened on this connection any more. */
  onRetired(connection: GrpcConnection): void;
  onClosed(connection: GrpcConnection): void;
}

/**
 * An HTTP/2 connection to a server that has been verified. `starting` until the server's SETTINGS are here; `retired`: its
 * calls go on and it closes with the last one.
 */
export class GrpcConnection implements SocketUser, Carrier {
  readonly peer: string;
  readonly h2: Http2Connection<Call>;
  state: "starting" | "open" | "retired" | "closed" = "starting";
  /** Resolves when calls can be made; rejects with GrpcError. */
  readonly ready: Promise<void>;
  readonly #socket: GrpcSocket;
  readonly #owner: ConnectionOwner;
  readonly #clock: GrpcClock;
  readonly #keepaliveMs: number;
  /** Calls for which the server has no stream left. */
  #queue: { readonly call: Call; readonly headers: HeaderList }[] = [];
  /** What the socket did not take yet; nothing more is drawn from the codec meanwhile. */
  #rest: Uint8Array | undefined = undefined;
  #flushPlanned = false;
  /** The socket ends as soon as it has taken all that is written. */
  #ending = false;
  /** What the server said as it went away. */
  #farewell = "";
  #linger: Timer | undefined = undefined;
  #settingsTimer: unknown;
  #keepalive: unknown = undefined;
  /** When a PING without an answer was sent, ms of the clock; -1: there is none. */
  #pingAt = -1;
  #settle: { resolve: () => void; reject: (error: GrpcError) => void } | undefined;

  constructor(socket: GrpcSocket, peer: string, clock: GrpcClock, owner: ConnectionOwner) {
    this.#socket = socket;
    this.peer = peer;
    this.#clock = clock;
    this.#owner = owner;
    this.#keepaliveMs = owner.keepaliveMs;
    this.ready = new Promise((resolve, reject) => this.#settle = { resolve, reject });
    this.ready.catch(() => {}); // told to whoever awaits it, if there still is anybody
    this.h2 = new Http2Connection<Call>("client", {
      initialWindowSize: STREAM_WINDOW,
      connectionWindowSize: CONNECTION_WINDOW,
      maxFrameSize: FRAME_SIZE,
      maxHeaderListSize: HEADER_LIST_SIZE,
      maxSendBuffer: SEND_BUFFER,
      enablePush: false,
      now: () => clock.now(),
    }, codecHandler);
    this.h2.data = this;
    this.#settingsTimer = clock.setTimer(SETTINGS_TIMEOUT_MS, () => this.#kill(SILENT));
    this.flush();
  }

  get endReason(): string {
    return this.h2.endReason;
  }

  get now(): number {
    return this.#clock.now();
  }

  silentSince(time: number): boolean {
    return this.h2.lastActivity <= time;
  }

  /** Opens a stream for the call, or keeps it until the server has one. False: this connection takes no more calls. */
  open(call: Call, headers: HeaderList): boolean {
    if (this.state !== "open") return false;
    // A server that grants no stream must not gather calls whose time is over.
    if (this.#queue.length > 0) this.#queue = this.#queue.filter((waiting) => !waiting.call.over);
    if (this.#queue.length > 0) this.#queue.push({ call, headers });
    else if (!this.#begin(call, headers)) {
      if (this.h2.openStreams < this.h2.peerSettings.maxConcurrentStreams) {
        this.retire(); // no stream ids are left
        return false;
      }
      this.#queue.push({ call, headers });
    }
    return true;
  }

  /** Takes no more calls; closes when the last one has ended. */
  retire(): void {
    if (this.state === "retired" || this.state === "closed") return;
    this.#leave("retired");
    this.#closeIfIdle();
  }

  /** Ends the connection with every call on it. */
  close(reason: string): void {
    if (this.state === "closed") return;
    this.h2.finalGoaway();
    this.flush();
    this.#shut(reason);
  }

  // The socket's side.

  received(bytes: Uint8Array): void {
    if (this.state !== "closed") this.h2.receive(bytes);
  }

  writable(): void {
    const rest = this.#rest;
    if (rest === undefined) return;
    this.#rest = undefined;
    this.#writeFrom(rest);
    this.#shutIfWritten();
  }

  ended(): void {
    if (this.state !== "closed") this.#gone(this.#farewell === "" ? "closed by the server" : this.#farewell);
    this.#socket.terminate();
  }

  closed(error: Error | undefined): void {
    clearTimeout(this.#linger);
    const code = errorCode(error);
    const cause = code === "" ? "closed by the server" : osErrorText(code);
    this.#gone(this.#farewell === "" ? cause : this.#farewell);
  }

  broken(error: Error): void {
    this.#gone(printable(error.message));
    this.#socket.terminate();
  }

  // The codec's side.

  planFlush(): void {
    if (this.#flushPlanned || this.#rest !== undefined) return;
    this.#flushPlanned = true;
    setImmediate(() => this.flush());
  }

  flush(): void {
    this.#flushPlanned = false;
    if (this.#rest !== undefined || this.state === "closed") return;
    this.#writeFrom(this.h2.nextOutput());
    this.#shutIfWritten();
  }

  settings(): void {
    if (this.state === "starting") {
      this.#clock.clearTimer(this.#settingsTimer);
      this.state = "open";
      this.#settle?.resolve();
      this.#settle = undefined;
    }
    this.capacity();
  }

  /** A stream has ended, or the server takes more. */
  capacity(): void {
    while (this.#queue.length > 0) {
      const { call, headers } = this.#queue[0]!;
      if (call.state === "waiting" && !this.#begin(call, headers)) break;
      this.#queue.shift();
    }
    this.#closeIfIdle();
  }

  goaway(code: number, debug: string): void {
    const words = debug === "" ? "" : `, ${JSON.stringify(printable(debug))}`;
    // One that says why may be followed by one that says no more than that this is the last word.
    const informs = code !== ErrorCode.NO_ERROR || words !== "" || this.#farewell === "";
    if (code === ErrorCode.ENHANCE_YOUR_CALM && debug === TOO_MANY_PINGS) this.#owner.onTooManyPings(this);
    if (informs) this.#farewell = `the server is going away (GOAWAY ${errorName(code)}${words})`;
    if (this.state === "starting") this.#kill(this.#farewell);
    else this.retire();
  }

  failed(code: number, message: string): void {
    if (this.state === "closed") return;
    this.#ending = true;
    this.#farewell = `HTTP/2 error ${errorName(code)}: ${message}`;
    this.retire();
    this.planFlush();
    // Our last words may never go out: the server need not read.
    this.#linger ??= setTimeout(() => this.#kill(this.#farewell), LINGER_MS).unref();
  }

  #begin(call: Call, headers: HeaderList): boolean {
    const stream = this.h2.request(headers, false, call);
    if (stream === undefined) return false;
    call.begin(stream, this);
    this.#watch();
    return true;
  }

  // Keepalive.

  /** Watches the server while there are streams; any byte of it shows that it lives. */
  #watch(): void {
    if (this.#keepalive !== undefined || this.state === "closed") return;
    this.#wait(Math.max(0, this.h2.lastActivity + this.#keepaliveMs - this.#clock.now()));
  }

  pong(): void {
    this.#pingAt = -1;
  }

  #wait(delay: number): void {
    const due = this.#clock.now() + delay;
    this.#keepalive = this.#clock.setTimer(delay, () => {
      this.#keepalive = undefined;
      this.#check(this.#clock.now() - due);
    });
  }

  #check(late: number): void {
    if (this.state === "closed") return;
    if (this.h2.lastActivity > this.#pingAt) this.#pingAt = -1;
    if (this.#pingAt >= 0) {
      if (late > OVERSLEPT_MS) this.#wait(OVERSLEPT_MS);
      else this.#kill("keepalive timed out");
    } else if (this.h2.openStreams > 0) {
      const quiet = this.#clock.now() - this.h2.lastActivity;
      if (quiet < this.#keepaliveMs) this.#wait(this.#keepaliveMs - quiet);
      else {
        this.#pingAt = this.#clock.now();
        this.h2.ping();
        this.#wait(KEEPALIVE_TIMEOUT_MS);
      }
    }
  }

  // The end.

  #leave(state: "retired" | "closed"): void {
    this.state = state;
    this.#owner.onRetired(this);
    const queue = this.#queue;
    this.#queue = [];
    for (const { call } of queue) call.refused(`${this.peer} went away before it had room for the call`);
  }

  #closeIfIdle(): void {
    if (this.state === "retired" && this.h2.openStreams === 0 && !this.#ending) this.close("no longer in use");
  }

  #shutIfWritten(): void {
    if (this.#ending && this.#rest === undefined && this.state !== "closed") this.#shut(this.#farewell);
  }

  /** Nobody is there to wait for. */
  #kill(reason: string): void {
    this.#gone(reason);
    this.#socket.terminate();
  }

  /**
   * Ends the socket: what was written goes out, and what the server still sends is dropped until it ends too, since bytes
   * that nobody reads would make the kernel reset the connection, and lose our last words.
   */
  #shut(reason: string): void {
    this.#gone(reason);
    clearTimeout(this.#linger);
    this.#linger = setTimeout(() => this.#socket.terminate(), LINGER_MS).unref();
    this.#socket.shutdown();
  }

  #gone(reason: string): void {
    if (this.state === "closed") return;
    this.#leave("closed");
    this.#rest = undefined;
    this.#clock.clearTimer(this.#settingsTimer);
    this.#clock.clearTimer(this.#keepalive);
    this.#settle?.reject(
      new GrpcError("connect", GrpcStatus.unavailable, `HTTP/2 with ${this.peer} did not start: ${reason}`),
    );
    this.#settle = undefined;
    this.h2.transportClosed(reason);
    this.#owner.onClosed(this);
  }

  #writeFrom(first: Uint8Array | undefined): void {
    let piece = first;
    while (piece !== undefined) {
      const written = this.#socket.write(piece);
      if (written < piece.length) {
        this.#rest = written > 0 ? piece.subarray(written) : piece;
        return;
      }
      piece = this.h2.nextOutput();
    }
  }
}

const SILENT = `no SETTINGS within ${SETTINGS_TIMEOUT_MS / 1000} s`;

function ownerOf(connection: Http2Connection<Call>): GrpcConnection {
  return connection.data as GrpcConnection;
}

/** One handler for all connections of the process. */
const codecHandler: Http2Handler<Call> = {
  onOutput: (connection) => ownerOf(connection)?.planFlush(),
  onHeaders: ({ data }, headers, endStream) => data.onHeaders(headers, endStream),
  onTrailers: ({ data }, trailers) => data.onTrailers(trailers),
  onData: ({ data }, chunk, endStream) => data.onData(chunk, endStream),
  onWritable() {},
  onReset: ({ data }, code, remote) => data.onReset(code, remote),
  onStreamClosed: ({ connection }) => ownerOf(connection).capacity(),
  onSettings: (connection) => ownerOf(connection).settings(),
  onPong: (connection) => ownerOf(connection).pong(),
  onGoaway: (connection, _last, code, debug) => ownerOf(connection).goaway(code, debug),
  onConnectionError: (connection, code, message) => ownerOf(connection).failed(code, message),
};
