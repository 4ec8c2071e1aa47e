import { ReceiveWindow } from "./flow_control.ts";
import { writeReset, writeWindowUpdate } from "./frame_writer.ts";
import { SendQueue } from "./send_queue.ts";
import type { Session } from "./session.ts";
import type { HeaderList, Http2Stream, StreamState } from "./types.ts";

/** One stream of a session; the interface is documented at Http2Stream. */
export class Stream<T> implements Http2Stream<T> {
  readonly id: number;
  readonly connection: Session<T>;
  data: T;
  state: StreamState;
  /** Bytes that the peer lets us send; negative after it has shrunk its window. */
  sendWindow: number;
  /** What we let the peer send. */
  readonly received: ReceiveWindow;
  /** Bytes delivered to the application and not consumed yet. */
  unconsumed = 0;
  /** Bytes that the declared content-length still announces, or -1. */
  contentLeft = -1;
  /** Final headers of the peer have come (a server's stream begins with them). */
  headersReceived: boolean;
  /** Our final headers have gone (a client's stream begins with them). */
  headersSent: boolean;
  /** CONNECT: nothing but DATA may follow the headers. */
  tunnel = false;
  /** Request method HEAD: the response has no content whatever it declares. */
  head = false;
  /** END_STREAM was sent or stands at the end of the queue. */
  localDone = false;
  /** sendData answered false and onWritable has not come since. */
  blocked = false;
  scheduled = false;
  nextScheduled: Stream<T> | undefined;
  queue: SendQueue | undefined;
  stalledSince = 0;

  constructor(connection: Session<T>, id: number, data: T) {
    this.connection = connection;
    this.id = id;
    this.data = data;
    this.state = "open";
    this.sendWindow = connection.peerSettings.initialWindowSize;
    this.received = new ReceiveWindow(connection.streamWindow);
    this.headersReceived = connection.role === "server";
    this.headersSent = connection.role === "client";
  }

  get pendingBytes(): number {
    return this.queue === undefined ? 0 : this.queue.bytes;
  }

  respond(headers: HeaderList, endStream: boolean): void {
    if (this.localDone) return;
    if (this.headersSent) throw new Error(`http2: respond() after the headers of stream ${this.id} were sent`);
    const first = headers[0];
    if (first === undefined || first[0] !== ":status") {
      throw new Error(`http2: response headers of stream ${this.id} do not begin with :status`);
    }
    const informational = first[1].startsWith("1");
    if (informational && endStream) throw new Error(`http2: status ${first[1]} cannot end stream ${this.id}`);
    this.headersSent = !informational;
    this.connection.writeHeaders(this.id, headers, endStream);
    if (endStream) {
      this.localDone = true;
      this.endLocal();
    }
    this.connection.announce();
  }

  sendData(chunk: Uint8Array, endStream: boolean): boolean {
    if (this.localDone) return true;
    if (!this.headersSent) throw new Error(`http2: sendData() before the headers of stream ${this.id}`);
    if (endStream) this.localDone = true;
    else if (chunk.length === 0) return !this.blocked;
    this.connection.scheduler.send(this, chunk, endStream);
    if (this.queue === undefined || this.queue.bytes <= this.connection.options.maxSendBuffer) return true;
    this.blocked = true;
    return false;
  }

  sendTrailers(trailers: HeaderList): void {
    if (this.localDone) return;
    if (!this.headersSent) throw new Error(`http2: sendTrailers() before the headers of stream ${this.id}`);
    this.localDone = true;
    if (this.queue !== undefined) {
      this.queue.trailers = trailers;
      this.queue.end = true;
      return;
    }
    this.connection.writeHeaders(this.id, trailers, true);
    this.endLocal();
    this.connection.announce();
  }

  reset(code: number): void {
    const session = this.connection;
    if (this.state === "closed") {
      this.consume(this.unconsumed);
      return;
    }
    writeReset(session.output, this.id, code);
    session.closed.resetByUs(this.id);
    this.abandon();
    session.finish(this);
    session.announce();
  }

  consume(bytes: number): void {
    const credit = Math.min(bytes, this.unconsumed);
    if (credit <= 0) return;
    this.unconsumed -= credit;
    this.credit(credit);
  }

  /** Gives bytes back to both windows and announces what is due. */
  credit(bytes: number): void {
    const session = this.connection;
    this.#announceWindow(this.received.consume(bytes));
    session.credit(bytes);
  }

  /** Our SETTINGS have come into force. */
  resizeReceived(size: number): void {
    this.#announceWindow(this.received.resize(size));
  }

  #announceWindow(increment: number): void {
    if (increment === 0 || (this.state !== "open" && this.state !== "half-closed-local")) return;
    writeWindowUpdate(this.connection.output, this.id, increment);
    this.connection.announce();
  }

  /** END_STREAM has been written. */
  endLocal(): void {
    if (this.state === "open") this.state = "half-closed-local";
    else if (this.state === "half-closed-remote") {
      this.state = "closed";
      this.connection.finish(this);
    }
  }

  /** END_STREAM has been read. The caller calls `finish` after its event when the state is now closed. */
  endRemote(): void {
    if (this.state === "open") this.state = "half-closed-remote";
    else if (this.state === "half-closed-local") this.state = "closed";
  }

  /** The stream was reset or its connection ended: lets go of what waits and gives back what was not consumed. */
  abandon(): void {
    this.state = "closed";
    this.localDone = true;
    this.blocked = false;
    this.connection.scheduler.drop(this);
    const left = this.unconsumed;
    this.unconsumed = 0;
    if (left > 0) this.connection.credit(left);
  }
}
