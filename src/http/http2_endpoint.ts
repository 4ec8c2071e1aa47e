import { Http2Connection, type Http2Handler, type Http2Options, type Role } from "../http2/mod.ts";
import { HttpEndpoint } from "./http_endpoint.ts";

/** Largest DATA payload taken at once, bytes: a frame of this size is passed on as its pieces arrive. */
const FRAME_SIZE = 64 << 10;
/** Receive windows unless told otherwise, bytes: what a stream and a connection may hold for readers that are slow. */
export const STREAM_WINDOW: number = 512 << 10;
export const CONNECTION_WINDOW: number = 2 << 20;
/** Streams that wait for a reader that is gone are cut after this long, ms. */
const STALLED_AFTER_END_MS = 10_000;

export interface WindowOptions {
  readonly streamWindow?: number;
  readonly connectionWindow?: number;
  readonly sendBuffer: number;
}

/** An HTTP/2 connection on a byte stream: what client and server have in common. */
export abstract class Http2Endpoint<T> extends HttpEndpoint {
  protected readonly h2: Http2Connection<T>;
  /** GOAWAY went out for good: the connection ends with its last stream. */
  protected draining = false;

  constructor(
    role: Role,
    windows: WindowOptions,
    options: Pick<Http2Options, "maxHeaderListSize" | "maxConcurrentStreams" | "enableConnectProtocol">,
    handler: Http2Handler<T>,
  ) {
    super(windows.sendBuffer);
    this.h2 = new Http2Connection<T>(role, {
      ...options,
      initialWindowSize: windows.streamWindow ?? STREAM_WINDOW,
      connectionWindowSize: windows.connectionWindow ?? CONNECTION_WINDOW,
      maxFrameSize: FRAME_SIZE,
      maxSendBuffer: windows.sendBuffer,
      ownedOutput: true,
    }, handler);
    this.h2.data = this;
  }

  get active(): number {
    return this.h2.openStreams;
  }

  protected override received(chunk: Uint8Array): void {
    this.h2.receive(chunk);
    // The windows are the budget; what lies under the connection must not stop for one stream.
    this.peer?.consumed(chunk.length);
  }

  protected override flush(): void {
    if (this.peer === undefined) return;
    while (!this.full) {
      const piece = this.h2.nextOutput();
      if (piece === undefined) {
        if (this.draining && this.h2.openStreams === 0) this.finishSending();
        return;
      }
      this.emit(piece);
      if (this.state !== "open") return;
    }
  }

  protected override onRoom(): void {
    this.flush();
  }

  /** GOAWAY; ends with the last stream, which may be now. */
  protected endWithLastStream(): void {
    if (this.draining) return;
    this.draining = true;
    this.h2.finalGoaway();
    this.plan();
  }

  /** Call when a stream has ended. */
  protected streamEnded(): void {
    if (this.draining && this.h2.openStreams === 0) this.plan();
  }

  /** A connection error: GOAWAY is queued, the streams have been told. */
  failed(): void {
    this.draining = true;
    this.plan();
  }

  protected override onTick(now: number): void {
    if (!this.readEnded) return;
    // No more WINDOW_UPDATE can come: what waits for one waits for ever.
    let stalled = this.h2.stalledSince !== 0 && now - this.h2.stalledSince > STALLED_AFTER_END_MS;
    this.h2.visitStalled(now - STALLED_AFTER_END_MS, () => stalled = true);
    if (stalled) this.end(true);
  }
}
