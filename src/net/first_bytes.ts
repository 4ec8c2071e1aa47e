import { Endpoint } from "./endpoint.ts";
import { startTicking, stopTicking, type Ticking } from "./ticker.ts";

/**
 * Stands in for the far side of a relay until the first bytes of the near side have told what that is to be. Then
 * `handOver` puts another endpoint in its place, with all bytes that were seen: nothing is consumed by looking.
 *
 * V: what the bytes tell.
 */
export abstract class FirstBytes<V> extends Endpoint implements Ticking {
  readonly #deadline: number;
  readonly #chunks: Uint8Array[] = [];
  /** Bytes that were seen before all was known; their credit was given back so that more could come. */
  #seen = 0;
  #ended = false;
  #state: "waiting" | "detected" | "done" = "waiting";

  /** @param timeoutMs for how long undecided bytes, or none, are waited for; 0: no limit */
  constructor(timeoutMs: number) {
    super();
    this.#deadline = timeoutMs === 0 ? Infinity : performance.now() + timeoutMs;
    startTicking(this);
  }

  /** What the bytes up to and with this piece tell; undefined: not enough of them. */
  protected abstract look(chunk: Uint8Array): V | undefined;
  /** What it means that no more bytes come, or not in time. */
  protected abstract lookNoMore(): V;
  /** The endpoint to hand over to, or nothing: then bytes are held until `handOver` or `close`. */
  protected abstract detected(verdict: V): Endpoint | undefined;

  /** All bytes in one piece; usually they came so. */
  protected bytes(): Uint8Array {
    if (this.#chunks.length > 1) {
      const all = new Uint8Array(this.#seen);
      let at = 0;
      for (const chunk of this.#chunks) {
        all.set(chunk, at);
        at += chunk.length;
      }
      this.#chunks.length = 0;
      this.#chunks.push(all);
    }
    return this.#chunks[0]!;
  }

  override joined(): void {
    if (this.#state === "done") this.relay?.endpointClosed(this, undefined, true);
  }

  override deliver(chunk: Uint8Array): void {
    if (this.#state === "done") {
      this.peer?.consumed(chunk.length);
      return;
    }
    this.#chunks.push(chunk);
    if (this.#state === "detected") return;
    this.#seen += chunk.length;
    this.peer?.consumed(chunk.length);
    const verdict = this.look(chunk);
    if (verdict !== undefined) this.#decided(verdict);
  }

  override consumed(): void {}

  override finish(): void {
    this.#ended = true;
    if (this.#state === "waiting") this.#decided(this.lookNoMore());
  }

  override close(abrupt = true): void {
    if (this.#state === "done") return;
    this.#state = "done";
    this.#chunks.length = 0;
    stopTicking(this);
    this.relay?.endpointClosed(this, undefined, abrupt);
  }

  override abort(): void {
    this.close(true);
  }

  /** Puts `next` in this one's place. Does nothing when the connection has ended meanwhile: false. */
  handOver(next: Endpoint): boolean {
    const { peer, relay } = this;
    if (this.#state !== "detected" || peer === undefined || relay === undefined) return false;
    this.#state = "done";
    peer.consumed(-this.#seen); // from now on it is the next one's to give back
    relay.replaceUpstream(next);
    for (const chunk of this.#chunks) next.deliver(chunk);
    this.#chunks.length = 0;
    if (this.#ended) next.finish();
    return true;
  }

  tick(now: number): void {
    if (now >= this.#deadline) this.#decided(this.lookNoMore());
  }

  #decided(verdict: V): void {
    this.#state = "detected";
    stopTicking(this);
    const next = this.detected(verdict);
    if (next !== undefined && !this.handOver(next)) next.abort();
  }
}
