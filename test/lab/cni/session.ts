/** One ztunnel connected to the stand-in: requests go out one at a time, each acknowledged within the deadline. */
import { SeqpacketSocket } from "../../../src/linux/mod.ts";
import { HELLO, parseAck } from "./messages.ts";
import type { ReaderMessage } from "./reader.ts";

/** What istio-cni grants for the hello and for every ack. */
export const ACK_DEADLINE_MS = 5000;

/** ztunnel refused a request (the text of its ack), or broke the protocol, or was too slow. */
export class ZdsError extends Error {
  override readonly name = "ZdsError";
}

export class ZdsSession {
  /** Resolves when the ztunnel is gone, with the reason. */
  readonly ended: Promise<string>;
  /** How long each ack took, in order; milliseconds. */
  readonly ackTimes: number[] = [];
  readonly #socket: SeqpacketSocket;
  readonly #worker: Worker;
  readonly #inbox: ReaderMessage[] = [];
  #awaiting: ((message: ReaderMessage) => void) | undefined;
  #turn: Promise<unknown> = Promise.resolve();
  #end: (reason: string) => void;
  #open = true;

  constructor(fd: number) {
    this.#socket = new SeqpacketSocket(fd);
    const { promise, resolve } = Promise.withResolvers<string>();
    this.ended = promise;
    this.#end = resolve;
    this.#worker = new Worker(new URL("./reader.ts", import.meta.url).href);
    this.#worker.onmessage = (event: MessageEvent<ReaderMessage>) => this.#received(event.data);
    this.#worker.postMessage({ fd });
  }

  get open(): boolean {
    return this.#open;
  }

  /** @throws ZdsError when the first packet is something else, or late */
  async hello(): Promise<void> {
    const { bytes } = await this.#next("hello");
    if (!HELLO.equals(bytes)) throw this.#violation(`bad hello: ${hex(bytes)}`);
  }

  /** Sends one request and waits for its ack. @throws ZdsError with ztunnel's own words */
  request(label: string, message: Uint8Array, fds: readonly number[] = []): Promise<void> {
    const turn = this.#turn.then(() => this.#request(label, message, fds));
    this.#turn = turn.catch(() => {});
    return turn;
  }

  close(reason = "closed by the lab"): void {
    if (!this.#open) return;
    this.#open = false;
    // The reader thread comes back from its wait; only then may the descriptor's number be free again.
    this.#socket.shutdown();
    this.#end(reason);
  }

  async #request(label: string, message: Uint8Array, fds: readonly number[]): Promise<void> {
    if (!this.#open) throw new ZdsError(`${label}: ztunnel is not connected`);
    const start = performance.now();
    this.#socket.send(message, fds);
    const answer = await this.#next(label);
    this.ackTimes.push(performance.now() - start);
    if (answer.truncated) throw this.#violation(`${label}: the answer is longer than 1024 bytes`);
    const ack = parseAck(answer.bytes);
    if (ack.kind !== "ack") throw this.#violation(`${label}: not an ack: ${hex(answer.bytes)}`);
    if (ack.error !== undefined) throw new ZdsError(`${label}: ${ack.error}`);
  }

  #next(label: string): Promise<ReaderMessage> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#awaiting = undefined;
        reject(this.#violation(`${label}: no answer within ${ACK_DEADLINE_MS} ms`));
      }, ACK_DEADLINE_MS);
      const take = (message: ReaderMessage) => {
        clearTimeout(timer);
        this.#awaiting = undefined;
        if (message.bytes.length === 0) reject(new ZdsError(`${label}: ztunnel closed the connection`));
        else resolve(message);
      };
      const waiting = this.#inbox.shift();
      if (waiting !== undefined) take(waiting);
      else this.#awaiting = take;
    });
  }

  #received(message: ReaderMessage): void {
    const last = message.bytes.length === 0;
    if (this.#awaiting !== undefined) this.#awaiting(message);
    else if (!last) this.#inbox.push(message);
    if (!last) return;
    this.#open = false;
    this.#socket.close();
    this.#worker.terminate();
    this.#end("ztunnel left");
  }

  #violation(text: string): ZdsError {
    this.close(text);
    return new ZdsError(text);
  }
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes.subarray(0, 64), (byte) => byte.toString(16).padStart(2, "0")).join(" ");
}
