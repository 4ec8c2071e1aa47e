import { Endpoint } from "../net/endpoint.ts";
import { startTicking, stopTicking, type Ticking } from "../net/ticker.ts";
import { type Flushable, planFlush } from "./turn.ts";

/** How long a peer that was told of the end may take to end its side, ms: Envoy's delayed_close_timeout. */
const LINGER_MS = 1_000;

/**
 * An HTTP connection as one end of a relay: its "network" is the codec. Bytes of the joined endpoint are decoded,
 * encoded bytes are delivered to it. This class has what both versions and both roles share: order of events at the
 * end, budget of what was handed over, flushing once in a turn, time.
 */
export abstract class HttpEndpoint extends Endpoint implements Flushable, Ticking {
  /** open → finishing (all was sent, the peer has yet to end its side) → closed */
  protected state: "open" | "finishing" | "closed" = "open";
  /** The peer will send nothing more. */
  protected readEnded = false;
  /** Bytes handed to the peer endpoint that have not left. */
  protected handed = 0;
  /** Pieces that were ever handed over. */
  protected emissions = 0;
  readonly #limit: number;
  readonly #low: number;
  #planned = false;
  #abruptEnd = false;
  #lingerUntil = Infinity;

  /** `limit`: bytes handed over that have not left, beyond which nothing more is handed over until half have. */
  constructor(limit: number) {
    super();
    this.#limit = limit;
    this.#low = limit >> 1;
    startTicking(this);
  }

  // --- what a version provides ---

  /** Bytes arrived; their credit is the version's to give back. */
  protected abstract received(chunk: Uint8Array): void;
  /** Hands over what there is. */
  protected abstract flush(): void;
  /** The peer will send nothing more. */
  protected abstract onReadEnded(): void;
  /** Room for more output. */
  protected abstract onRoom(): void;
  /** It is over: tells the streams and the owner. */
  protected abstract onEnd(): void;
  /** About every 500 ms while open. */
  protected abstract onTick(now: number): void;

  // --- Endpoint ---

  override joined(): void {
    if (this.state === "closed") {
      this.relay?.endpointClosed(this, undefined, this.#abruptEnd);
      return;
    }
    this.flush();
  }

  override deliver(chunk: Uint8Array): void {
    if (this.state === "open") this.received(chunk);
    else this.peer?.consumed(chunk.length);
  }

  override consumed(bytes: number): void {
    const before = this.handed;
    this.handed -= bytes;
    if (this.state === "open" && before >= this.#low && this.handed < this.#low) this.onRoom();
  }

  override finish(): void {
    if (this.readEnded || this.state === "closed") return;
    this.readEnded = true;
    if (this.state === "finishing") this.end(false);
    else this.onReadEnded();
  }

  /** By the relay: the peer is gone. By the owner: end it now. */
  override close(abrupt = true): void {
    this.end(abrupt);
  }

  override abort(): void {
    this.end(true);
  }

  // --- for the versions ---

  protected get full(): boolean {
    return this.handed >= this.#limit;
  }

  /** Hands a piece over; it must not change afterwards. */
  protected emit(piece: Uint8Array): void {
    const { peer } = this;
    if (peer === undefined) throw new Error("http: output before the connection was joined");
    this.emissions++;
    this.handed += piece.length;
    this.bytesRead += piece.length;
    if (this.readCounter !== undefined) this.readCounter.value += piece.length;
    peer.deliver(piece);
  }

  /** Plans a flush at the end of the turn. */
  plan(): void {
    if (this.#planned) return;
    this.#planned = true;
    planFlush(this);
  }

  flushTurn(): void {
    this.#planned = false;
    if (this.state === "open") this.flush();
  }

  /** All output was handed over and no more will come: half-close, then the peer's own end or a little time. */
  protected finishSending(): void {
    if (this.state !== "open") return;
    this.state = "finishing";
    this.peer?.finish();
    if (this.readEnded) this.end(false);
    else this.#lingerUntil = performance.now() + LINGER_MS;
  }

  /** The end, once. */
  protected end(abrupt: boolean): void {
    if (this.state === "closed") return;
    this.state = "closed";
    this.#abruptEnd = abrupt;
    stopTicking(this);
    this.onEnd();
    this.relay?.endpointClosed(this, undefined, abrupt);
  }

  tick(now: number): void {
    if (this.state === "open") this.onTick(now);
    else if (now >= this.#lingerUntil) this.end(false);
  }
}
