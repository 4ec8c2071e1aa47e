import type { ClientStream, RequestHead, Reset } from "../../http/mod.ts";
import type { HeaderList } from "../../http2/mod.ts";
import type { UpstreamListener } from "./types.ts";

/** Where requests wait. */
export interface WaitingRoom {
  /** The request is not wanted any more. */
  withdrawn(request: PendingRequest): void;
}

/**
 * A request that waits for its connection, and a go-between for its stream from then on. What is sent meanwhile is
 * kept: one piece from a sender that listens, because the first answer is to stop.
 */
export class PendingRequest implements ClientStream {
  readonly head: RequestHead;
  readonly endStream: boolean;
  readonly listener: UpstreamListener;
  readonly #room: WaitingRoom;
  #stream: ClientStream | undefined = undefined;
  #over = false;
  #chunks: Uint8Array[] | undefined = undefined;
  #ended = false;
  #trailers: HeaderList | undefined = undefined;

  constructor(room: WaitingRoom, head: RequestHead, endStream: boolean, listener: UpstreamListener) {
    this.#room = room;
    this.head = head;
    this.endStream = endStream;
    this.listener = listener;
  }

  sendData(chunk: Uint8Array, endStream: boolean): boolean {
    if (this.#stream !== undefined) return this.#stream.sendData(chunk, endStream);
    if (this.#over || this.#ended) return true;
    this.#ended = endStream;
    (this.#chunks ??= []).push(chunk);
    return false;
  }

  sendTrailers(fields: HeaderList): void {
    if (this.#stream !== undefined) this.#stream.sendTrailers(fields);
    else if (!this.#over && !this.#ended) {
      this.#ended = true;
      this.#trailers = fields;
    }
  }

  reset(): void {
    if (this.#stream !== undefined) {
      this.#stream.reset();
      return;
    }
    if (this.#over) return;
    this.#over = true;
    this.#room.withdrawn(this);
  }

  consume(bytes: number): void {
    this.#stream?.consume(bytes);
  }

  // --- from the pool ---

  /** It is on a connection now: what waited goes there. */
  bound(stream: ClientStream): void {
    if (this.#over) {
      stream.reset(); // taken back in the very call that bound it
      return;
    }
    this.#stream = stream;
    const chunks = this.#chunks;
    this.#chunks = undefined;
    let room = true;
    for (let i = 0; chunks !== undefined && i < chunks.length; i++) {
      room = stream.sendData(chunks[i]!, this.#ended && this.#trailers === undefined && i === chunks.length - 1);
    }
    if (this.#trailers !== undefined) stream.sendTrailers(this.#trailers);
    if (chunks !== undefined && room && !this.#ended) this.listener.onWritable();
  }

  /** It will never be on one. */
  failed(reset: Reset): void {
    if (this.#over || this.#stream !== undefined) return;
    this.#over = true;
    this.listener.onReset(reset);
  }
}
