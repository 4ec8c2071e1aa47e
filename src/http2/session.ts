import { ClosedStreams } from "./closed_streams.ts";
import { controlFrame, controlFrameHeader } from "./control_frames.ts";
import { DataReceiver } from "./data_frames.ts";
import { ErrorCode } from "./errors.ts";
import { MAX_WINDOW, ReceiveWindow } from "./flow_control.ts";
import { writeGoaway, writeHeaderBlock, writePing, writeReset, writeStart, writeWindowUpdate } from "./frame_writer.ts";
import { FrameType, MAX_STREAM_ID } from "./frames.ts";
import { HeaderReceiver } from "./header_frames.ts";
import { HpackDecoder } from "./hpack/decoder.ts";
import { HpackEncoder } from "./hpack/encoder.ts";
import { DEFAULT_LIMITS, type Http2Limits, RateGuard } from "./limits.ts";
import { OutputQueue } from "./output.ts";
import { FrameParser, type FrameSink, SKIP_PAYLOAD } from "./parser.ts";
import { SendScheduler } from "./scheduler.ts";
import {
  DEFAULT_HEADER_TABLE_SIZE,
  DEFAULT_WINDOW_SIZE,
  initialPeerSettings,
  MAX_MAX_FRAME_SIZE,
  MIN_MAX_FRAME_SIZE,
  type PeerSettings,
} from "./settings.ts";
import { Stream } from "./stream.ts";
import type { HeaderList, Http2Connection, Http2Handler, Http2Options, Role } from "./types.ts";

/** Dynamic table that the encoder uses at most, whatever the peer allows. */
const ENCODER_TABLE_SIZE = 4096; // bytes

/** The payload of ztunnel's PINGs; any eight octets would do. */
const PING_PAYLOAD = Uint8Array.of(0x3b, 0x7c, 0xdb, 0x7a, 0x0b, 0x87, 0x16, 0xb4);

/** Which rate a peer's event counts against. */
type Guarded = "peerResets" | "provokedResets" | "settings" | "pings" | "emptyData" | "ignoredFrames";

function inRange(name: string, value: number, low: number, high: number): void {
  if (!Number.isInteger(value) || value < low || value > high) {
    throw new RangeError(`http2: ${name} is ${value}, not an integer from ${low} to ${high}`);
  }
}

/** A connection; the interface is documented at Http2Connection. What it has beyond that is for this folder only. */
export class Session<T> implements Http2Connection<T>, FrameSink {
  readonly role: Role;
  readonly options: Http2Options;
  readonly handler: Http2Handler<T>;
  readonly limits: Http2Limits;
  readonly now: () => number;
  data: unknown;
  lastActivity: number;
  readonly peerSettings: PeerSettings = initialPeerSettings();
  settingsReceived = false;
  settingsAcknowledged = false;

  readonly output: OutputQueue;
  readonly scheduler: SendScheduler<T>;
  readonly encoder: HpackEncoder = new HpackEncoder(ENCODER_TABLE_SIZE);
  readonly decoder: HpackDecoder;
  readonly table: Map<number, Stream<T>> = new Map();
  readonly closed: ClosedStreams = new ClosedStreams();
  /** Bytes that the peer lets all our streams send. */
  sendWindow: number = DEFAULT_WINDOW_SIZE;
  /** What we let the peer send on all streams. */
  readonly received: ReceiveWindow;
  /** Window that a new stream of the peer's begins with, as far as the peer can know it. */
  streamWindow: number;
  /** Since when data waits for the connection's window; 0 when none does. */
  stalledSince = 0;
  /** Highest id of a stream that the peer opened. */
  lastPeerStream = 0;
  /** The next id of ours; even and never used on a server. */
  nextStream: number;
  /** Last stream id of the GOAWAY that we sent, or -1. */
  goawaySent = -1;
  /** Last stream id of the GOAWAY that the peer sent, or -1. */
  goawayReceived = -1;
  state: "open" | "failed" | "closed" = "open";
  endReason = "";

  readonly #parser: FrameParser;
  readonly #data: DataReceiver<T>;
  readonly #headers: HeaderReceiver<T>;
  #guards: Partial<Record<Guarded, RateGuard>> | undefined;
  #answers = 0; // written since output was last taken
  #announced = true; // the transport knows of output

  constructor(role: Role, options: Http2Options, handler: Http2Handler<T>) {
    inRange("initialWindowSize", options.initialWindowSize, 1, MAX_WINDOW);
    inRange("connectionWindowSize", options.connectionWindowSize, DEFAULT_WINDOW_SIZE, MAX_WINDOW);
    inRange("maxFrameSize", options.maxFrameSize, MIN_MAX_FRAME_SIZE, MAX_MAX_FRAME_SIZE);
    inRange("maxHeaderListSize", options.maxHeaderListSize, 0, 0xffff_ffff);
    const tableSize = options.headerTableSize ?? DEFAULT_HEADER_TABLE_SIZE;
    inRange("headerTableSize", tableSize, 0, 1 << 20);
    this.role = role;
    this.options = options;
    this.handler = handler;
    this.limits = options.limits === undefined ? DEFAULT_LIMITS : { ...DEFAULT_LIMITS, ...options.limits };
    this.now = options.now ?? monotonic;
    this.lastActivity = this.now();
    this.output = new OutputQueue(options.ownedOutput === true);
    this.scheduler = new SendScheduler(this);
    // Until our SETTINGS are acknowledged, the peer may go by the protocol's defaults.
    this.streamWindow = Math.max(options.initialWindowSize, DEFAULT_WINDOW_SIZE);
    this.decoder = new HpackDecoder(Math.max(tableSize, DEFAULT_HEADER_TABLE_SIZE));
    this.received = new ReceiveWindow(options.connectionWindowSize);
    this.nextStream = role === "client" ? 1 : 2;
    this.#parser = new FrameParser(role === "server");
    this.#data = new DataReceiver(this);
    this.#headers = new HeaderReceiver(this);
    writeStart(this.output, role, options);
  }

  // The transport's side.

  receive(bytes: Uint8Array): void {
    if (this.state !== "open") return;
    this.lastActivity = this.now();
    this.#parser.push(bytes, this);
  }

  nextOutput(): Uint8Array | undefined {
    this.#answers = 0;
    if (this.scheduler.waiting > 0) this.scheduler.fill();
    const piece = this.output.take();
    if (piece === undefined) this.#announced = false;
    return piece;
  }

  get hasOutput(): boolean {
    return this.output.pending > 0 || (this.scheduler.waiting > 0 && this.sendWindow > 0);
  }

  get openStreams(): number {
    return this.table.size;
  }

  streams(): IterableIterator<Stream<T>> {
    return this.table.values();
  }

  visitStalled(before: number, visit: (stream: Stream<T>, since: number) => void): void {
    for (const stream of this.table.values()) {
      if (stream.queue === undefined) continue;
      const since = stream.stalledSince !== 0 ? stream.stalledSince : stream.scheduled ? this.stalledSince : 0;
      if (since !== 0 && since <= before) visit(stream, since);
    }
  }

  transportClosed(reason: string): void {
    if (this.state === "closed") return;
    this.state = "closed";
    if (this.endReason === "") this.endReason = reason;
    this.#abandonAll(ErrorCode.CONNECT_ERROR, true);
    this.output.clear();
    this.#parser.clear();
  }

  // The application's side.

  get canRequest(): boolean {
    return this.role === "client" && !this.closing && this.nextStream <= MAX_STREAM_ID &&
      this.table.size < this.peerSettings.maxConcurrentStreams;
  }

  request(headers: HeaderList, endStream: boolean, data: T): Stream<T> | undefined {
    if (!this.canRequest) return undefined;
    const stream = new Stream(this, this.nextStream, data);
    this.nextStream += 2;
    this.table.set(stream.id, stream);
    for (let i = 0; i < headers.length; i++) {
      const field = headers[i]!;
      if (field[0] !== ":method") continue;
      stream.head = field[1] === "HEAD";
      stream.tunnel = field[1] === "CONNECT" && !headers.some((other) => other[0] === ":protocol");
      break;
    }
    this.writeHeaders(stream.id, headers, endStream);
    if (endStream) {
      stream.localDone = true;
      stream.endLocal();
    }
    this.announce();
    return stream;
  }

  ping(payload: Uint8Array = PING_PAYLOAD): void {
    if (payload.length !== 8) throw new RangeError(`http2: a PING carries 8 octets, not ${payload.length}`);
    if (this.state !== "open") return;
    writePing(this.output, payload, 0, false);
    this.announce();
  }

  goaway(): void {
    if (this.state !== "open" || this.goawaySent >= 0) return;
    this.#sendGoaway(MAX_STREAM_ID, ErrorCode.NO_ERROR, "");
  }

  finalGoaway(code: number = ErrorCode.NO_ERROR, debug = ""): void {
    if (this.state !== "open") return;
    // RFC 9113 §6.8: the id may only go down.
    const last = this.goawaySent < 0 ? this.lastPeerStream : Math.min(this.goawaySent, this.lastPeerStream);
    this.#sendGoaway(last, code, debug);
  }

  get closing(): boolean {
    return this.state !== "open" || this.goawaySent >= 0 || this.goawayReceived >= 0;
  }

  get drained(): boolean {
    return this.closing && this.table.size === 0;
  }

  // For the folder.

  /** Tells the transport of output, once. */
  announce(): void {
    if (this.#announced || this.state === "closed") return;
    this.#announced = true;
    this.handler.onOutput(this);
  }

  writeHeaders(streamId: number, headers: HeaderList, endStream: boolean): void {
    const block = this.encoder.encode(headers);
    writeHeaderBlock(this.output, streamId, block, this.encoder.length, endStream, this.peerSettings.maxFrameSize);
  }

  /** Gives received bytes back to the connection's window. */
  credit(bytes: number): void {
    const increment = this.received.consume(bytes);
    if (increment === 0 || this.state !== "open") return;
    writeWindowUpdate(this.output, 0, increment);
    this.announce();
  }

  /** Whether the stream has never been used by either side. */
  isIdle(streamId: number): boolean {
    const own = (streamId & 1) === (this.nextStream & 1);
    return own ? streamId >= this.nextStream : streamId > this.lastPeerStream;
  }

  /** The stream is closed: forgets it and says so, once. */
  finish(stream: Stream<T>): void {
    if (this.table.delete(stream.id)) this.handler.onStreamClosed(stream);
  }

  /** After an event that may have been the stream's last. */
  finishIfClosed(stream: Stream<T>): void {
    if (stream.state === "closed") this.finish(stream);
  }

  /** Ends a stream because of something wrong with it (RFC 9113 §5.4.2). */
  streamError(stream: Stream<T>, code: number): void {
    if (stream.state === "closed") {
      this.refuse(stream.id, code);
      return;
    }
    stream.abandon();
    if (!this.refuse(stream.id, code)) return;
    this.handler.onReset(stream, code, false);
    this.finish(stream);
  }

  /** Writes RST_STREAM for a stream that the peer's fault ends or never let begin. False: that was one too many. */
  refuse(streamId: number, code: number): boolean {
    if (!this.allow("provokedResets", "too many streams reset for errors") || !this.answer()) return false;
    writeReset(this.output, streamId, code);
    this.closed.resetByUs(streamId);
    this.announce();
    return true;
  }

  /** Counts an answer that the peer makes us write. False: it reads none of them, and the connection has failed. */
  answer(): boolean {
    if (++this.#answers <= this.limits.unreadAnswers) return true;
    this.connectionError(ErrorCode.ENHANCE_YOUR_CALM, "answers are not read");
    return false;
  }

  /** Counts a guarded event. False: it came too often, and the connection has failed. */
  allow(event: Guarded, message: string): boolean {
    const guards = this.#guards ??= {};
    const guard = guards[event] ??= new RateGuard(this.limits[event], this.now());
    if (guard.take(this.now)) return true;
    this.connectionError(ErrorCode.ENHANCE_YOUR_CALM, message);
    return false;
  }

  /** Ends the connection (RFC 9113 §5.4.1): GOAWAY is queued, every stream is over. */
  connectionError(code: number, message: string): void {
    if (this.state !== "open") return;
    this.state = "failed";
    this.endReason = message;
    writeGoaway(this.output, this.lastPeerStream, code, message);
    this.#parser.clear();
    this.#abandonAll(code, false);
    this.announce();
    this.handler.onConnectionError(this, code, message);
  }

  #abandonAll(code: number, remote: boolean): void {
    const streams = [...this.table.values()];
    this.table.clear();
    for (const stream of streams) stream.abandon();
    for (const stream of streams) {
      this.handler.onReset(stream, code, remote);
      this.handler.onStreamClosed(stream);
    }
  }

  #sendGoaway(last: number, code: number, debug: string): void {
    this.goawaySent = last;
    writeGoaway(this.output, last, code, debug);
    this.announce();
  }

  // The parser's side.

  get stopped(): boolean {
    return this.state !== "open";
  }

  onBadPreface(): void {
    this.connectionError(ErrorCode.PROTOCOL_ERROR, "no HTTP/2 preface");
  }

  onFrameHeader(length: number, type: number, flags: number, streamId: number): number {
    if (!this.#admit(type, flags, streamId)) return SKIP_PAYLOAD;
    if (type === FrameType.HEADERS || type === FrameType.CONTINUATION) {
      return this.#headers.frameHeader(length, type, flags, streamId);
    }
    return controlFrameHeader(this, length, type, flags, streamId);
  }

  onFrame(type: number, flags: number, streamId: number, bytes: Uint8Array, at: number, end: number): void {
    if (type === FrameType.HEADERS || type === FrameType.CONTINUATION) {
      this.#headers.frame(type, flags, streamId, bytes, at, end);
    } else controlFrame(this, type, flags, streamId, bytes, at, end);
  }

  onDataHeader(length: number, flags: number, streamId: number): void {
    if (this.#admit(FrameType.DATA, flags, streamId)) this.#data.header(length, flags, streamId);
  }

  onDataPadding(octets: number): void {
    this.#data.padding(octets);
  }

  onDataBytes(bytes: Uint8Array, at: number, end: number, last: boolean): void {
    this.#data.bytes(bytes, at, end, last);
  }

  /** Order of frames: SETTINGS first (RFC 9113 §3.4), header blocks in one piece (§4.3). */
  #admit(type: number, flags: number, streamId: number): boolean {
    const expected = this.#headers.continuing;
    if (this.settingsReceived && expected === 0 && type !== FrameType.CONTINUATION) return true;
    if (!this.settingsReceived) {
      if (type === FrameType.SETTINGS && (flags & 1) === 0) return true;
      this.connectionError(ErrorCode.PROTOCOL_ERROR, "the first frame is not SETTINGS");
      return false;
    }
    if (type === FrameType.CONTINUATION && expected !== 0 && streamId === expected) return true;
    const problem = expected !== 0 ? "a header block is interrupted" : "CONTINUATION without a header block";
    this.connectionError(ErrorCode.PROTOCOL_ERROR, problem);
    return false;
  }
}

function monotonic(): number {
  return performance.now();
}
