/** Two processes of which one takes the other's place without breaking the connections that can be passed on. */
import { chmodSync, renameSync, rmSync, statSync } from "node:fs";
import process from "node:process";
import { closeFd, SeqpacketListener, SeqpacketSocket, SystemError, watchReadable } from "../../linux/mod.ts";
import type { LogScope } from "../../telemetry/mod.ts";
import { Giver, type LeavingPod } from "./giver.ts";
import { Link, type LinkOwner } from "./link.ts";
import { encodeMessage, type UpgradeMessage } from "./messages.ts";
import { Taker, type TakerOptions } from "./taker.ts";

export interface UpgradeOptions extends TakerOptions {
  /** Where the process before us listens, and then we do. */
  readonly path: string;
  readonly log: LogScope;
  /** How long the process after us may leave all offers unanswered, ms; default: 2 s. */
  readonly answerMs?: number;
}

/**
 * The upgrade socket. A process that serves its pods says hello to the one that listens there and listens there itself. When
 * it is told to end, it gives its plain relays to the newest that said hello. Nothing of it is needed: where it fails, a
 * process ends as it would without it.
 */
export class Upgrade implements LinkOwner {
  readonly #options: UpgradeOptions;
  readonly #user = process.getuid?.() ?? -1;
  readonly #taker: Taker;
  /** To the process before us. */
  #before: Link | undefined;
  /** Of processes after us, and those of them that said hello, the newest last. */
  readonly #after = new Set<Link>();
  readonly #ready = new Set<Link>();
  #listener: { readonly socket: SeqpacketListener; unwatch(): void } | undefined;
  #leaving: readonly LeavingPod[] | undefined;
  #giving: { readonly link: Link; readonly giver: Giver } | undefined;

  constructor(options: UpgradeOptions) {
    this.#options = options;
    this.#taker = new Taker(options);
  }

  /** To be called when the pods are served. */
  start(): void {
    const { path, log } = this.#options;
    try {
      this.#before = new Link(SeqpacketSocket.connect(path), this.#user, this);
      if (this.#before.send(encodeMessage({ kind: "hello" }))) {
        log.info("taking the place of another process", [["socket", path]]);
      }
    } catch (error) {
      // ENOENT: the first one ever; ECONNREFUSED: the last one has gone.
      const nobody = error instanceof SystemError && (error.code === "ENOENT" || error.code === "ECONNREFUSED");
      if (!nobody) log.warn("no hand-over from the process before", [["error", (error as Error).message]]);
    }
    try {
      this.#listen(path);
    } catch (error) {
      log.warn("no hand-over to the next process", [["error", (error as Error).message]]);
    }
  }

  /** The process is to end: what can go on elsewhere does, now or when somebody is there for it. */
  handOver(pods: readonly LeavingPod[]): void {
    this.#leaving = pods;
    this.#give();
  }

  close(): void {
    this.#listener?.unwatch();
    this.#listener?.socket.close();
    this.#listener = undefined;
    this.#leaving = undefined;
    this.#before?.close();
    for (const link of this.#after) link.close();
    this.#after.clear();
    this.#ready.clear();
    // After its link: what was taken is not ours any more.
    this.#giving?.giver.close();
    this.#giving = undefined;
  }

  /** In place of the other process's socket in one step, so that there is always somebody. Only we may connect. */
  #listen(path: string): void {
    const fresh = `${path}.new`;
    for (const place of [path, fresh]) {
      if (statSync(place, { throwIfNoEntry: false })?.isSocket() === false) throw new Error(`${place} is no socket`);
    }
    rmSync(fresh, { force: true });
    const socket = new SeqpacketListener(fresh);
    try {
      chmodSync(fresh, 0o600);
      renameSync(fresh, path);
      this.#listener = { socket, unwatch: watchReadable(socket.fd, () => this.#accept(socket)) };
    } catch (error) {
      socket.close();
      throw error;
    }
    this.#accept(socket);
  }

  #accept(listener: SeqpacketListener): void {
    for (;;) {
      try {
        const socket = listener.poll();
        if (socket === undefined) return;
        this.#after.add(new Link(socket, this.#user, this));
      } catch (error) {
        this.#options.log.warn("upgrade socket", [["error", (error as Error).message]]);
        if (error instanceof SystemError) return;
      }
    }
  }

  received(link: Link, message: UpgradeMessage, fds: number[]): void {
    switch (message.kind) {
      case "hello":
        if (!this.#after.has(link)) return;
        this.#ready.add(link);
        this.#give();
        return;
      case "relay":
        if (link === this.#before) void this.#taker.offered(link, message, fds);
        else fds.forEach(closeFd);
        return;
      default:
        if (link === this.#giving?.link) this.#giving.giver.answered(message);
    }
  }

  lost(link: Link, reason: string | undefined): void {
    const { log, path } = this.#options;
    if (reason !== undefined) log.warn("hand-over broken off", [["error", reason], ["socket", path]]);
    if (link === this.#before) {
      this.#before = undefined;
      log.info("the process before has gone", [["connections", this.#taker.taken]]);
      return;
    }
    this.#after.delete(link);
    this.#ready.delete(link);
    if (link !== this.#giving?.link) return;
    this.#giving.giver.close();
    this.#giving = undefined;
    this.#give();
  }

  #give(): void {
    const link = [...this.#ready].at(-1);
    if (this.#leaving === undefined || this.#giving !== undefined || link === undefined) return;
    const giver = new Giver(link, this.#leaving, this.#options.log, this.#options.answerMs);
    this.#giving = { link, giver };
    giver.start();
  }
}
