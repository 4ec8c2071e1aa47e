import { writeData } from "./frame_writer.ts";
import { SendQueue } from "./send_queue.ts";
import type { Session } from "./session.ts";
import type { Stream } from "./stream.ts";

/** Output gathered before data waits in its stream, where the turns are fair. */
const OUTPUT_BUDGET = 256 << 10; // bytes

/**
 * Bytes that a stream may send in its turn: alone, with few and with many streams waiting. The second is what a TLS
 * socket hands to the kernel at once.
 */
const QUANTUM_ALONE = 1 << 20;
const QUANTUM_FEW = 128 << 10;
const QUANTUM_MANY = 16 << 10;
const FEW = 4; // streams

/** A stream that got less than this through is still as stalled as it was: a peer cannot hide by granting single bytes. */
const MIN_PROGRESS = 1024; // bytes

/**
 * Decides whose data goes out next: round robin among the streams that have data waiting and window left. Streams
 * without window are not in the ring; the connection's window stops the ring as a whole.
 */
export class SendScheduler<T> {
  readonly #session: Session<T>;
  #first: Stream<T> | undefined;
  #last: Stream<T> | undefined;
  /** Streams in the ring that still have data. */
  waiting = 0;

  constructor(session: Session<T>) {
    this.#session = session;
  }

  /**
   * Takes a chunk from the application: what windows and budget allow goes out at once, the rest waits. A zero-length
   * chunk ends the stream.
   */
  send(stream: Stream<T>, chunk: Uint8Array, endStream: boolean): void {
    const session = this.#session;
    const size = chunk.length;
    let queue = stream.queue;
    let from = 0;
    if (queue === undefined) {
      const { output } = session;
      if (size === 0) {
        writeData(output, stream.id, chunk, 0, 0, true);
        stream.endLocal();
        session.announce();
        return;
      }
      const maxFrame = session.peerSettings.maxFrameSize;
      while (this.#first === undefined && output.pending < OUTPUT_BUDGET) {
        const frame = Math.min(size - from, maxFrame, stream.sendWindow, session.sendWindow);
        if (frame <= 0) break;
        const last = from + frame === size;
        writeData(output, stream.id, chunk, from, from + frame, last && endStream);
        stream.sendWindow -= frame;
        session.sendWindow -= frame;
        from += frame;
        if (last) {
          if (endStream) stream.endLocal();
          session.announce();
          return;
        }
      }
      queue = stream.queue = new SendQueue();
    }
    queue.push(from === 0 ? chunk : chunk.subarray(from));
    if (endStream) queue.end = true;
    this.wake(stream);
    session.announce();
  }

  /** Puts a stream with waiting data into the ring if its window lets it send, and notes since when it cannot. */
  wake(stream: Stream<T>): void {
    if (stream.scheduled || stream.queue === undefined) return;
    const session = this.#session;
    if (stream.sendWindow <= 0) {
      if (stream.stalledSince === 0) stream.stalledSince = session.now();
      return;
    }
    stream.scheduled = true;
    this.waiting++;
    if (this.#last === undefined) this.#first = stream;
    else this.#last.nextScheduled = stream;
    this.#last = stream;
    if (session.sendWindow <= 0 && session.stalledSince === 0) session.stalledSince = session.now();
  }

  /** Forgets what a stream had waiting. */
  drop(stream: Stream<T>): void {
    if (stream.queue !== undefined && stream.scheduled) this.waiting--;
    stream.queue = undefined;
    stream.stalledSince = 0;
  }

  /** Moves waiting data to the output, turn by turn, up to the budget. */
  fill(): void {
    const session = this.#session;
    const { output } = session;
    while (this.#first !== undefined && output.pending < OUTPUT_BUDGET) {
      if (session.sendWindow <= 0 && this.waiting > 0) {
        if (session.stalledSince === 0) session.stalledSince = session.now();
        return;
      }
      const stream = this.#first;
      this.#first = stream.nextScheduled;
      if (this.#first === undefined) this.#last = undefined;
      stream.nextScheduled = undefined;
      stream.scheduled = false;
      if (stream.queue === undefined) continue; // it was reset while it waited
      const quantum = this.waiting > FEW ? QUANTUM_MANY : this.waiting > 1 ? QUANTUM_FEW : QUANTUM_ALONE;
      this.waiting--;
      this.#turn(stream, stream.queue, quantum);
    }
  }

  #turn(stream: Stream<T>, queue: SendQueue, quantum: number): void {
    const session = this.#session;
    const allowed = Math.max(0, Math.min(quantum, stream.sendWindow, session.sendWindow));
    const moved = queue.moveTo(session.output, stream.id, allowed, session.peerSettings.maxFrameSize);
    stream.sendWindow -= moved;
    session.sendWindow -= moved;
    if (moved >= MIN_PROGRESS || queue.bytes === 0) stream.stalledSince = 0;
    if (queue.bytes === 0) {
      stream.queue = undefined;
      if (queue.trailers !== undefined) session.writeHeaders(stream.id, queue.trailers, true);
      if (queue.end) {
        stream.endLocal();
        return;
      }
    } else this.wake(stream);
    if (stream.blocked && queue.bytes * 2 <= session.options.maxSendBuffer) {
      stream.blocked = false;
      session.handler.onWritable(stream);
    }
  }
}
