/** One try of a request at one upstream host. */
import type { ClientStream, RequestHead, Reset, ResponseHead } from "../http/mod.ts";
import type { HeaderList } from "../http2/mod.ts";
import type { HostState, LoadBalancedCluster } from "./cluster/mod.ts";
import type { UpstreamConnectionInfo, UpstreamListener, UpstreamPool } from "./upstream/mod.ts";

/** Who hears of a try; calls name it, because an earlier one may still be ending. */
export interface AttemptOwner {
  attemptConnected(attempt: Attempt, info: UpstreamConnectionInfo): void;
  attemptInformational(attempt: Attempt, head: ResponseHead): void;
  attemptHeaders(attempt: Attempt, head: ResponseHead, endStream: boolean): void;
  attemptData(attempt: Attempt, chunk: Uint8Array, endStream: boolean): void;
  attemptTrailers(attempt: Attempt, fields: HeaderList): void;
  attemptWritable(attempt: Attempt): void;
  attemptReset(attempt: Attempt, reset: Reset): void;
  /** The time for one try is over. */
  attemptTimedOut(attempt: Attempt): void;
}

/**
 * Sends the request to a host and counts it there while it runs. After `over` nothing is reported any more and nothing
 * is sent.
 */
export class Attempt implements UpstreamListener {
  readonly host: HostState;
  readonly isRetry: boolean;
  over = false;
  headersReceived = false;
  readonly #owner: AttemptOwner;
  readonly #cluster: LoadBalancedCluster;
  #stream: ClientStream | undefined = undefined;
  #timer: Timer | undefined = undefined;

  constructor(owner: AttemptOwner, cluster: LoadBalancedCluster, host: HostState, isRetry: boolean) {
    this.#owner = owner;
    this.#cluster = cluster;
    this.host = host;
    this.isRetry = isRetry;
    host.activeRequests++;
    cluster.retries.requestStarted();
  }

  send(pool: UpstreamPool, head: RequestHead, endStream: boolean): void {
    this.#stream = pool.request(head, endStream, this);
  }

  /** False: the upstream takes no more for now; `attemptWritable` follows. */
  sendData(chunk: Uint8Array, endStream: boolean): boolean {
    return this.#stream === undefined || this.#stream.sendData(chunk, endStream);
  }

  sendTrailers(fields: HeaderList): void {
    this.#stream?.sendTrailers(fields);
  }

  /** Bytes of the response have left. */
  consume(bytes: number): void {
    this.#stream?.consume(bytes);
  }

  limit(ms: number): void {
    this.#timer = setTimeout(() => {
      if (!this.over) this.#owner.attemptTimedOut(this);
    }, ms);
  }

  /** No time limit from here on. */
  unlimited(): void {
    if (this.#timer !== undefined) clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /** Takes the request back; nothing is heard of it any more. */
  cancel(): void {
    if (this.over) return;
    this.finish();
    this.#stream?.reset();
  }

  /** The try has ended, whichever way: it no longer counts at its host. */
  finish(): void {
    if (this.over) return;
    this.over = true;
    this.unlimited();
    this.host.activeRequests--;
    this.#cluster.retries.requestEnded();
    if (this.isRetry) this.#cluster.retries.retryEnded();
  }

  // --- from the pool ---

  onConnected(info: UpstreamConnectionInfo): void {
    if (!this.over) this.#owner.attemptConnected(this, info);
  }

  onInformational(head: ResponseHead): void {
    if (!this.over) this.#owner.attemptInformational(this, head);
  }

  onHeaders(head: ResponseHead, endStream: boolean): void {
    if (this.over) return;
    this.headersReceived = true;
    this.#owner.attemptHeaders(this, head, endStream);
  }

  onData(chunk: Uint8Array, endStream: boolean): void {
    if (this.over) this.consume(chunk.length);
    else this.#owner.attemptData(this, chunk, endStream);
  }

  onTrailers(fields: HeaderList): void {
    if (!this.over) this.#owner.attemptTrailers(this, fields);
  }

  onWritable(): void {
    if (!this.over) this.#owner.attemptWritable(this);
  }

  onReset(reset: Reset): void {
    if (this.over) return;
    this.finish();
    this.#owner.attemptReset(this, reset);
  }
}
