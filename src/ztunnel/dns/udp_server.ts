/** Questions in datagrams. */
import { bindUdp, type UdpBindOptions, type UdpSocket } from "../../linux/mod.ts";
import type { SocketAddress } from "../../net/address.ts";
import type { Reply } from "./responder.ts";
import { type Turns, turns as processTurns, type Waiting } from "./turns.ts";

/** No question needs more: a name has 255 bytes. What is longer is not answered. */
const MAX_QUESTION = 4096; // bytes
/** How long a server that drains reads what had arrived, ms: as much as its socket's buffer holds is read in a few. */
const LAST_QUESTIONS_MS = 200;
/** Datagrams that wait to be looked at. */
const MAX_WAITING = 512;

interface Datagram {
  readonly bytes: Uint8Array;
  readonly port: number;
  readonly ip: string;
}

/** Answers one message; false when there is already too much to do, and nothing will be said. */
export type Serve = (message: Uint8Array, reply: Reply) => boolean;

export class UdpServer implements Waiting {
  readonly #socket: UdpSocket;
  readonly #serve: Serve;
  readonly #dropped: (datagrams: number) => void;
  readonly #turns: Turns;
  /** Of the kernel's drops, those that are counted. */
  #kernelDrops = 0;
  /** From #next on. */
  #waiting: Datagram[] = [];
  #next = 0;
  #deaf = false;
  #state: "open" | "draining" | "closed" = "open";
  #drained: (() => void) | undefined = undefined;

  /** Binds at once. Throws SystemError. @param dropped hears how many datagrams nobody looked at */
  constructor(
    options: Omit<UdpBindOptions, "received">,
    serve: Serve,
    dropped: (datagrams: number) => void,
    turns: Turns = processTurns,
  ) {
    this.#serve = serve;
    this.#dropped = dropped;
    this.#turns = turns;
    this.#socket = bindUdp({ ...options, received: (bytes, port, ip) => this.#received(bytes, port, ip) });
  }

  get address(): SocketAddress {
    return this.#socket.address;
  }

  /** Questions that have not been taken. */
  get open(): number {
    return this.#waiting.length - this.#next;
  }

  /**
   * Hears no new questions. Resolves when those that had arrived are taken, which are read yet for 200 ms at most; answers go
   * out until close().
   */
  async drain(): Promise<void> {
    if (this.#state !== "open") return;
    this.#state = "draining";
    this.#countDrops();
    this.#socket.setDeaf(true);
    const deadline = performance.now() + LAST_QUESTIONS_MS;
    // The runtime reads them when its turn to look at sockets comes: after this one.
    while (this.#socket.hasUnread && performance.now() < deadline) await new Promise(setImmediate);
    if (this.#waiting.length > 0) await new Promise<void>((resolve) => this.#drained = resolve);
  }

  close(): void {
    if (this.#state === "closed") return;
    if (this.#state === "open") this.#countDrops();
    this.#state = "closed";
    this.#turns.leave(this);
    this.#waiting = [];
    this.#drained?.();
    this.#socket.close();
  }

  serve(most: number): boolean {
    for (let served = 0; served < most && this.#next < this.#waiting.length; served++) {
      if (served > 0 && this.#turns.over) break;
      this.#answer(this.#waiting[this.#next++] as Datagram);
    }
    if (this.#state === "closed") return false;
    if (this.#deaf && this.#waiting.length - this.#next < MAX_WAITING / 2) this.#listen(true);
    if (this.#next < this.#waiting.length) return true;
    this.#waiting = [];
    this.#next = 0;
    this.#drained?.();
    return false;
  }

  #received(bytes: Uint8Array, port: number, ip: string): void {
    if (this.#state === "closed" || bytes.length > MAX_QUESTION) return;
    const datagram = { bytes, port, ip };
    if (this.#waiting.length === 0 && this.#turns.take()) {
      this.#answer(datagram);
      return;
    }
    if (this.#waiting.length - this.#next >= MAX_WAITING) {
      // The rest of the flood is dropped where that costs least: in the kernel.
      this.#listen(false);
      this.#dropped(1);
      return;
    }
    this.#waiting.push(datagram);
    this.#turns.wait(this);
  }

  #listen(hear: boolean): void {
    if (this.#state !== "open" || this.#deaf === !hear) return;
    this.#deaf = !hear;
    this.#socket.setDeaf(!hear);
    if (hear) this.#countDrops();
  }

  /** What was dropped in the kernel since the last time. */
  #countDrops(): void {
    const { drops } = this.#socket;
    if (drops === undefined) return;
    const more = (drops - this.#kernelDrops) >>> 0;
    if (more > 0) this.#dropped(more);
    this.#kernelDrops = drops;
  }

  #answer({ bytes, port, ip }: Datagram): void {
    this.#serve(bytes, (answer) => {
      if (answer !== undefined && this.#state !== "closed") this.#socket.send(answer, port, ip);
    });
  }
}
