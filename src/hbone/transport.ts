import { type HeaderList, Http2Connection, type Http2Stream } from "../http2/mod.ts";
import { surfaceBug } from "../net/surface.ts";
import { startTicking, stopTicking, type Ticking } from "../net/ticker.ts";
import type { CutReason, TrackedPeer, TrustedTunnel } from "../tls/mod.ts";
import { codecHandler } from "./codec_events.ts";
import type { StreamUser, TransportOwner } from "./stream_user.ts";

/** HTTP/2 settings of HBONE, both roles (spec/ztunnel.md §6.2). Sizes in bytes. */
export interface HboneSettings {
  /** HTTP2_STREAM_WINDOW_SIZE */
  readonly streamWindow: number;
  /** HTTP2_CONNECTION_WINDOW_SIZE */
  readonly connectionWindow: number;
  /** HTTP2_FRAME_SIZE */
  readonly frameSize: number;
  /** SETTINGS_MAX_CONCURRENT_STREAMS that a server announces; 200 as ztunnel does when left out. */
  readonly maxStreams?: number;
}

/** SETTINGS_MAX_HEADER_LIST_SIZE and SETTINGS_MAX_CONCURRENT_STREAMS that a server announces (§6.2). */
const SERVER_HEADER_LIST_SIZE = 64 * 1024;
const SERVER_MAX_STREAMS = 200;
/**
 * Octets of a request's header block that are read to refuse its stream alone: HPACK needs all of them, so that the other
 * streams go on. What is larger ends the connection. Reading so much holds the event loop some 10 ms.
 */
const SERVER_HEADER_BLOCK = (1 << 20) + (256 << 10);
/** SETTINGS_MAX_HEADER_LIST_SIZE of a client (§6.2). */
const CLIENT_HEADER_LIST_SIZE = 16 * 1024;
/** Bytes one stream may have queued before its source stops being read. */
const STREAM_SEND_BUFFER = 400 * 1024;

/** First PING this long after the start, then after each PONG; ms (§6.2). */
const PING_INTERVAL_MS = 10_000;
/** A PONG that takes longer means the peer is gone; ms (§6.2). */
const PONG_TIMEOUT_MS = 20_000;
/** As the original sends it (§6.2): lets a capture be read by the same eyes. */
const PING_PAYLOAD = new Uint8Array([0x3b, 0x7c, 0xdb, 0x7a, 0x0b, 0x87, 0x16, 0xb4]);
/** Time between the two GOAWAYs of a graceful drain, enough for requests in flight to arrive; ms (RFC 9113 §6.8). */
const GOAWAY_GRACE_MS = 1_000;
/** Unread bytes are too many when they are this share of the connection's window… */
const CLOGGED_SHARE = 7 / 8;
/** …for this long, ms. */
const CLOGGED_MS = 10_000;
/** Of the streams that have waited this long for the peer's window (ms), so many are kept. */
const STALLED_STREAM_MS = 60_000;
const STALLED_STREAMS_KEPT = 16;

/** How long a transport that ends in order may take to hand its last bytes to the socket, ms. */
const FLUSH_MS = 10_000;
/** How long a socket that was ended waits for the peer to end too, ms. */
const LINGER_MS = 2_000;

export type TransportSocket = Bun.Socket<HboneTransport>;

/**
 * An HTTP/2 connection over one TLS socket: moves bytes between the socket and the codec.
 *
 * Output of all streams gathers in the codec and leaves once in a turn of the event loop, so many small messages share
 * one TLS record and one system call. For a stream that is alone this costs no more than writing at once.
 */
export class HboneTransport implements Ticking, TrustedTunnel {
  readonly h2: Http2Connection<StreamUser>;
  state: "open" | "closing" | "closed" = "open";
  /** When the pool last handed out a stream of this transport; ms of performance.now(). */
  lastUse = performance.now();
  readonly #socket: TransportSocket;
  readonly #owner: TransportOwner;
  /** What the socket did not take yet; nothing more is drawn from the codec meanwhile. */
  #rest: Uint8Array | undefined = undefined;
  #flushPlanned = false;
  /** Streams that wait for the socket to take what was written. */
  #waiting: StreamUser[] = [];
  #nextPing: number;
  #pongDeadline = Infinity;
  #finalGoawayAt = Infinity;
  /** Why the socket ends as soon as it has taken all that was written; "": it does not. */
  #ending = "";
  #endDeadline = Infinity;
  #linger: Timer | undefined = undefined;
  #cloggedSince = Infinity;
  #peer: TrackedPeer | undefined = undefined;
  readonly #connectionWindow: number;

  constructor(
    role: "client" | "server",
    socket: TransportSocket,
    settings: HboneSettings,
    owner: TransportOwner,
  ) {
    this.#connectionWindow = settings.connectionWindow;
    this.#socket = socket;
    this.#owner = owner;
    this.h2 = new Http2Connection<StreamUser>(role, {
      initialWindowSize: settings.streamWindow,
      connectionWindowSize: settings.connectionWindow,
      maxFrameSize: settings.frameSize,
      maxSendBuffer: STREAM_SEND_BUFFER,
      ...(role === "server"
        ? {
          maxHeaderListSize: SERVER_HEADER_LIST_SIZE,
          maxConcurrentStreams: settings.maxStreams ?? SERVER_MAX_STREAMS,
          limits: { headerBlockBytes: SERVER_HEADER_BLOCK },
        }
        : { maxHeaderListSize: CLIENT_HEADER_LIST_SIZE, enablePush: false as const }),
    }, codecHandler);
    this.h2.data = this;
    this.#nextPing = performance.now() + PING_INTERVAL_MS;
    startTicking(this);
    if (this.h2.hasOutput) this.flush();
  }

  get socket(): TransportSocket {
    return this.#socket;
  }

  // --- socket events ---

  received(bytes: Uint8Array): void {
    if (this.state === "closed") return;
    this.h2.receive(bytes);
  }

  writable(): void {
    if (this.#rest === undefined) return;
    const rest = this.#rest;
    this.#rest = undefined;
    this.#writeFrom(rest);
    if (this.#rest !== undefined) return;
    if (this.#ending !== "") {
      this.#shut(this.#ending);
      return;
    }
    if (this.#waiting.length === 0) return;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const user of waiting) user.onDrained();
  }

  /** Whether the socket has not taken all that was written. */
  get blocked(): boolean {
    return this.#rest !== undefined;
  }

  /** Calls the stream's `onDrained` once when the socket has taken all. */
  whenDrained(user: StreamUser): void {
    this.#waiting.push(user);
  }

  gone(reason: string): void {
    clearTimeout(this.#linger);
    if (this.state === "closed") return;
    this.state = "closed";
    this.#rest = undefined;
    stopTicking(this);
    this.#peer?.release();
    this.h2.transportClosed(reason);
    this.#owner.onTransportClosed(this);
  }

  // --- life ---

  /** Who is at the other end, where its certificates are watched: it may lose our trust while the connection lives. */
  watch(peer: TrackedPeer | undefined): void {
    this.#peer = peer;
    peer?.track(this);
  }

  /** Ends the connection at once, with every stream on it: not a byte more to or from a peer that is not trusted. */
  revoke(reason: CutReason): void {
    if (this.state === "closed") return;
    for (const { data } of [...this.h2.streams()]) data?.doom(reason);
    this.gone(reason.text);
    this.#socket.terminate();
  }

  /** Opens no more streams: GOAWAY now and again with the last id after a moment; closes when the last stream ends. */
  drain(): void {
    if (this.state !== "open") return;
    this.state = "closing";
    this.h2.goaway();
    this.#finalGoawayAt = performance.now() + GOAWAY_GRACE_MS;
    this.closeIfDrained();
  }

  /** Ends the connection now, with every stream on it. */
  close(): void {
    if (this.state === "closed") return;
    this.h2.finalGoaway();
    this.flush();
    this.#shut("transport closed");
  }

  /** Opens no more streams here, which the peer need not know, and closes when the last one ends. */
  endWithLastStream(): void {
    if (this.state === "open") this.state = "closing";
    this.closeIfDrained();
  }

  /** After the last stream of a draining transport: says good-bye and closes, when all that was written has left. */
  closeIfDrained(): void {
    if (this.state !== "closing" || this.h2.openStreams > 0 || this.#ending !== "") return;
    if (this.h2.role === "server" && this.#finalGoawayAt !== Infinity) return; // requests may still be on their way
    this.h2.finalGoaway();
    this.#end("transport closed");
  }

  tick(now: number): void {
    this.#relieve(now);
    if (now >= this.#endDeadline) {
      this.#shut(this.#ending);
      return;
    }
    if (now >= this.#finalGoawayAt) {
      this.#finalGoawayAt = Infinity;
      this.h2.finalGoaway();
      this.closeIfDrained();
      if (this.state !== "closing") return;
    }
    if (now >= this.#pongDeadline) {
      this.h2.finalGoaway();
      this.flush();
      this.gone("keepalive timed out");
      this.#socket.terminate(); // nobody is there to wait for
    } else if (now >= this.#nextPing) {
      this.#nextPing = Infinity;
      this.#pongDeadline = now + PONG_TIMEOUT_MS;
      this.h2.ping(PING_PAYLOAD);
    }
  }

  /**
   * Readers that do not read hold window that belongs to all streams. When they hold nearly all of it for long while there
   * are others, the one that holds most is cut. And of the streams that wait for the peer's window for long only so many
   * are kept: what they have queued is our memory.
   */
  #relieve(now: number): void {
    if (this.h2.openStreams <= 1) return;
    let held = 0;
    let most: StreamUser | undefined;
    for (const { data } of this.h2.streams()) {
      if (data === undefined) continue;
      held += data.unread;
      if (data.unread > (most?.unread ?? 0)) most = data;
    }
    if (held < this.#connectionWindow * CLOGGED_SHARE) this.#cloggedSince = Infinity;
    else if (this.#cloggedSince === Infinity) this.#cloggedSince = now;
    else if (now - this.#cloggedSince >= CLOGGED_MS) {
      this.#cloggedSince = now;
      most?.cut({
        text: "connection closed: its reader stopped reading and held up the other connections of its tunnel",
      });
    }
    let stalled = 0;
    this.h2.visitStalled(now - STALLED_STREAM_MS, ({ data }) => {
      if (++stalled > STALLED_STREAMS_KEPT) {
        data?.cut({ text: "connection closed: too many connections of its tunnel are stalled" });
      }
    });
  }

  pong(): void {
    this.#pongDeadline = Infinity;
    this.#nextPing = performance.now() + PING_INTERVAL_MS;
  }

  // --- output ---

  planFlush(): void {
    if (this.#flushPlanned || this.#rest !== undefined) return;
    this.#flushPlanned = true;
    planned.push(this);
    if (planned.length > 1) return;
    setImmediate(flushPlanned);
  }

  /** Writes what the codec has, until the socket takes no more. */
  flush(): void {
    this.#flushPlanned = false;
    if (this.#rest !== undefined || this.state === "closed") return;
    this.#writeFrom(this.h2.nextOutput());
    if (this.#ending !== "" && this.#rest === undefined) this.#shut(this.#ending);
  }

  fail(code: number, message: string): void {
    if (this.state === "closed") return;
    this.state = "closing";
    this.#end(`http2 error ${code}: ${message}`);
  }

  capacity(): void {
    this.#owner.onCapacity(this);
    this.closeIfDrained();
  }

  goneAway(): void {
    if (this.state === "open") this.state = "closing";
    this.#owner.onGoaway(this);
    this.closeIfDrained();
  }

  request(stream: Http2Stream<StreamUser>, headers: HeaderList, endStream: boolean): void {
    this.#owner.onRequest(this, stream, headers, endStream);
  }

  #writeFrom(first: Uint8Array | undefined): void {
    const socket = this.#socket;
    let piece = first;
    while (piece !== undefined) {
      const written = socket.write(piece);
      if (written < piece.length) {
        this.#rest = written > 0 ? piece.subarray(written) : piece;
        return;
      }
      piece = this.h2.nextOutput();
    }
  }

  /** Ends the socket when it has taken all that the codec has. */
  #end(reason: string): void {
    this.#ending = reason;
    this.#endDeadline = performance.now() + FLUSH_MS;
    this.planFlush();
  }

  /**
   * Ends the socket: what was written goes out, and what the peer still sends is read and dropped until it ends too, since
   * bytes that nobody reads would make the kernel reset the connection and our last words with it. `end()` of a TLS socket
   * waits too, but for ever, and lets nobody cut it short.
   */
  #shut(reason: string): void {
    if (this.state === "closed") return;
    const socket = this.#socket;
    this.gone(reason);
    this.#linger = setTimeout(() => socket.terminate(), LINGER_MS).unref();
    socket.shutdown();
  }
}

/** Transports with output, in the order in which they got it; one flush serves them all. */
let planned: HboneTransport[] = [];

function flushPlanned(): void {
  const due = planned;
  planned = [];
  for (const transport of due) {
    try {
      transport.flush();
    } catch (error) {
      // The others are owed their turn whatever happens to one.
      transport.close();
      surfaceBug(error as Error);
    }
  }
}
