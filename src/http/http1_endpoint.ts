import { CHUNK_TAIL, encodeChunkHead, EncodeError, encodeLastChunk, type SentBody } from "../http1/mod.ts";
import type { HeaderList } from "../http2/mod.ts";
import { BY_REFERENCE, Gather } from "./gather.ts";
import { HttpEndpoint } from "./http_endpoint.ts";

export const EMPTY: Uint8Array = new Uint8Array(0);
/** Gathered bytes that do not wait for the end of the turn. */
const GATHERED = 32 << 10;

/** An HTTP/1 connection on a byte stream: what client and server have in common. */
export abstract class Http1Endpoint extends HttpEndpoint {
  readonly #budget: number;
  readonly #gather = new Gather();
  /** The sender was told to stop. */
  #blocked = false;
  /** Octets received and not given back… */
  #taken = 0;
  /** …of which content that its reader has. */
  #owed = 0;
  /** After what is gathered: half-close, with or without waiting for the peer. */
  #ending: "" | "half" | "finish" = "";

  constructor(budget: number) {
    super(budget);
    this.#budget = budget;
  }

  // --- output ---

  /** Sends a piece: small ones wait for what follows in this turn. */
  protected write(bytes: Uint8Array): void {
    if (bytes.length < BY_REFERENCE) {
      this.#gather.add(bytes);
      if (this.#gather.size >= GATHERED) this.flush();
      else this.plan();
      return;
    }
    this.flush();
    if (this.peer !== undefined && this.state === "open") this.emit(bytes);
    else this.#gather.add(bytes);
  }

  /** Sends content in its framing. False: stop until `onWritable`. */
  protected writeBody(chunk: Uint8Array, kind: SentBody): boolean {
    if (chunk.length > 0) {
      if (kind === "chunked") {
        this.write(encodeChunkHead(chunk.length));
        this.write(chunk);
        this.write(CHUNK_TAIL);
      } else this.write(chunk);
    }
    if (this.handed + this.#gather.size < this.#budget) return true;
    this.#blocked = true;
    return false;
  }

  protected writeLastChunk(trailers: HeaderList | undefined): void {
    let tail: Uint8Array;
    try {
      tail = encodeLastChunk(trailers);
    } catch (error) {
      if (!(error instanceof EncodeError)) throw error;
      tail = encodeLastChunk(undefined); // trailers that HTTP/1 cannot say are left out: they may always be
    }
    this.write(tail);
  }

  protected override flush(): void {
    if (this.peer === undefined) return;
    const piece = this.#gather.take();
    if (piece !== undefined) this.emit(piece);
    if (this.state !== "open" || this.#ending === "") return;
    if (this.#ending === "finish") this.finishSending();
    else {
      this.#ending = "";
      this.peer.finish();
    }
  }

  /** Ends the sending direction after what was written; `half`: only that (a stream of raw octets). */
  protected endSending(how: "half" | "finish"): void {
    this.#ending = how;
    this.plan();
  }

  protected get ending(): boolean {
    return this.#ending === "finish";
  }

  protected override onRoom(): void {
    if (!this.#blocked) return;
    this.#blocked = false;
    this.onWritable();
  }

  /** Whoever sends may go on. */
  protected abstract onWritable(): void;

  // --- credit ---

  override deliver(chunk: Uint8Array): void {
    if (this.state === "open") this.#taken += chunk.length;
    super.deliver(chunk);
  }

  /** Octets that the codec has used up. */
  protected credit(bytes: number): void {
    const given = Math.min(bytes, this.#taken);
    this.#taken -= given;
    if (given > 0) this.peer?.consumed(given);
  }

  /** Content goes to its reader. */
  protected owe(bytes: number): void {
    this.#owed += bytes;
  }

  /** Content that its reader has not given back. */
  protected get owed(): number {
    return this.#owed;
  }

  protected giveBack(bytes: number): void {
    const given = Math.min(bytes, this.#owed);
    this.#owed -= given;
    this.credit(given);
  }

  /** Nobody will consume what is still owed. */
  protected forgive(): void {
    this.giveBack(this.#owed);
  }

  /** Nothing that was received is of use any more, whoever has it. */
  protected settle(): void {
    this.#owed = 0;
    this.credit(this.#taken);
  }
}
