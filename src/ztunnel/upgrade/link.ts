import { closeFd, SeqpacketSocket, SystemError, watchReadable } from "../../linux/mod.ts";
import { descriptorsOf, MAX_PACKET, parseMessage, type UpgradeMessage } from "./messages.ts";

export interface LinkOwner {
  /** The descriptors are the owner's to close. */
  received(link: Link, message: UpgradeMessage, fds: number[]): void;
  /** Called once, unless close() was; `reason`: the other one did not just go. */
  lost(link: Link, reason: string | undefined): void;
}

/** The connection between two processes of which one takes the other's place. For the main thread only (watchReadable). */
export class Link {
  readonly #socket: SeqpacketSocket;
  readonly #owner: LinkOwner;
  readonly #unwatch: () => void;
  #open = true;

  /** Takes the socket, which is closed with the link. Throws SystemError, also where the other one is another user. */
  constructor(socket: SeqpacketSocket, user: number, owner: LinkOwner) {
    this.#socket = socket;
    this.#owner = owner;
    try {
      const { peerUser } = socket;
      if (peerUser !== user) throw new Error(`the other process is of user ${peerUser}, not ${user}`);
      this.#unwatch = watchReadable(socket.fd, () => this.read());
    } catch (error) {
      socket.close();
      throw error;
    }
    queueMicrotask(() => this.read()); // what came before we watched
  }

  /**
   * The descriptors stay ours.
   * @param message encoded
   * @returns false: nothing was sent, and the link is lost
   */
  send(message: Uint8Array, fds: readonly number[] = []): boolean {
    if (!this.#open) return false;
    try {
      this.#socket.send(message, fds);
      return true;
    } catch (error) {
      this.#lose((error as Error).message);
      return false;
    }
  }

  get open(): boolean {
    return this.#open;
  }

  /** As if the other one had gone; `reason` is told. */
  giveUp(reason: string): void {
    this.#lose(reason);
  }

  /** Nothing can be said to us any more; what was said before is still received. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#unwatch();
    this.#socket.shutdown();
    for (let next = this.#next(); next !== undefined && !("end" in next); next = this.#next()) {
      if ("message" in next) this.#owner.received(this, next.message, next.fds);
    }
    this.#socket.close();
  }

  /** Receives what has come; nobody needs to ask for it, unless it is urgent. */
  read(): void {
    while (this.#open) {
      const next = this.#next();
      if (next === undefined) return;
      if ("message" in next) this.#owner.received(this, next.message, next.fds);
      else this.#lose("malformed" in next ? next.malformed : next.end);
    }
  }

  /** The next message, what is wrong with it, the end and why, or nothing yet. */
  #next():
    | { readonly message: UpgradeMessage; readonly fds: number[] }
    | { readonly malformed: string }
    | { readonly end: string | undefined }
    | undefined {
    let packet;
    try {
      packet = this.#socket.poll(MAX_PACKET);
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      return { end: error.code === "ECONNRESET" ? undefined : error.message };
    }
    if (packet === undefined) return undefined;
    const { bytes, fds, truncated } = packet;
    if (bytes.length === 0 && fds.length === 0) return { end: undefined };
    const message = truncated ? "a packet that is too long, or no descriptor is free" : parseMessage(bytes);
    if (typeof message !== "string" && fds.length === descriptorsOf(message)) return { message, fds };
    fds.forEach(closeFd);
    return { malformed: typeof message === "string" ? message : `${fds.length} descriptors with "${message.kind}"` };
  }

  #lose(reason: string | undefined): void {
    if (!this.#open) return;
    this.close();
    this.#owner.lost(this, reason);
  }
}
