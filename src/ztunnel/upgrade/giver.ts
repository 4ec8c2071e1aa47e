import { closeFd, memoryFile, namespaceIdentity } from "../../linux/mod.ts";
import type { LogScope } from "../../telemetry/mod.ts";
import type { Connection, SuspendedConnection } from "../connection.ts";
import type { ConnectionTracker } from "../tracker.ts";
import type { Link } from "./link.ts";
import { encodeMessage, type RelayOffer, type UpgradeMessage } from "./messages.ts";

/** Offers that wait for an answer at once: their connections stand still meanwhile. */
const WINDOW = 16;
/**
 * How long none of them may be answered, ms. A process that serves answers within some of them; one that hangs would keep
 * them standing until the drain's deadline.
 */
const ANSWER_MS = 2_000;

/** A pod whose connections are to go on in another process. */
export interface LeavingPod {
  readonly uid: string;
  /** Descriptor. */
  readonly namespace: number;
  readonly tracker: ConnectionTracker;
}

/**
 * Gives the plain relays of a process that ends to the one that takes its place. What that one does not take stays, and so
 * does all that is not answered when the link is lost, or in time.
 *
 * Whose a connection is, is decided by the answer and by nothing else: it is the other one's from the moment in which it
 * could put "taken" into the link. The link is shut down first and read to its end then, so that what was put is heard, and
 * what was not never can be: a process that wakes up later finds descriptors there, and cannot say that it takes them.
 */
export class Giver {
  readonly #link: Link;
  readonly #log: LogScope;
  readonly #pods: readonly LeavingPod[];
  readonly #answerMs: number;
  /** Runs while something is offered, anew with each answer. */
  #patience: ReturnType<typeof setTimeout> | undefined = undefined;
  readonly #waiting = new Map<Connection, RelayOffer["pod"]>();
  readonly #offered = new Map<number, SuspendedConnection>();
  readonly #refusals = new Map<string, number>();
  #nextId = 0;
  #given = 0;

  constructor(link: Link, pods: readonly LeavingPod[], log: LogScope, answerMs = ANSWER_MS) {
    this.#answerMs = answerMs;
    this.#link = link;
    this.#pods = pods;
    this.#log = log;
    for (const { uid, namespace, tracker } of pods) {
      const pod = { uid, namespace: namespaceIdentity(namespace) };
      for (const connection of tracker.all()) this.#waiting.set(connection, pod);
      tracker.relayed = (connection) => {
        this.#waiting.set(connection, pod);
        queueMicrotask(() => this.#offer());
      };
    }
  }

  start(): void {
    this.#offer();
  }

  answered(message: UpgradeMessage & { readonly kind: "taken" | "refused" }): void {
    const connection = this.#offered.get(message.id);
    if (connection === undefined) return;
    this.#offered.delete(message.id);
    this.#stopWaiting();
    if (message.kind === "taken") {
      connection.release();
      this.#given++;
    } else {
      connection.keep();
      this.#kept(message.reason);
    }
    this.#offer();
    if (this.#offered.size === 0) this.#report();
  }

  /** The link is lost: all that is unanswered goes on here. Never before the link: what it still brings is heard. */
  close(): void {
    this.#stopWaiting();
    for (const { tracker } of this.#pods) tracker.relayed = undefined;
    this.#waiting.clear();
    const unanswered = [...this.#offered.values()];
    this.#offered.clear();
    for (const connection of unanswered) {
      connection.keep();
      this.#kept("not answered");
    }
    if (unanswered.length > 0) this.#report();
  }

  #offer(): void {
    this.#offerMore();
    if (this.#offered.size > 0) this.#patience ??= setTimeout(() => this.#unanswered(), this.#answerMs);
  }

  #stopWaiting(): void {
    clearTimeout(this.#patience);
    this.#patience = undefined;
  }

  /** Where it was we who stood still, the answers wait to be read. */
  #unanswered(): void {
    this.#patience = undefined;
    this.#link.read();
    if (this.#patience !== undefined || this.#offered.size === 0) return;
    this.#link.giveUp(`no answer for ${this.#answerMs} ms`);
  }

  #offerMore(): void {
    for (const [connection, pod] of this.#waiting) {
      if (this.#offered.size >= WINDOW || !this.#link.open) return;
      this.#waiting.delete(connection);
      const suspended = connection.suspend();
      if (suspended === undefined) continue;
      try {
        this.#send(pod, suspended);
      } catch (error) {
        suspended.keep();
        this.#kept((error as Error).message);
      }
    }
  }

  /** Throws what makes the offer impossible. Where the link is lost, that has closed us. */
  #send(pod: RelayOffer["pod"], suspended: SuspendedConnection): void {
    const { suspension: { fds, unsent }, keep: _, release: __, ...facts } = suspended;
    const relay = { ...facts, age: Math.trunc(facts.age) };
    const id = this.#nextId++;
    const offer = encodeMessage({ kind: "relay", id, pod, relay });
    const bytes = relay.unsentUp + relay.unsentDown > 0 ? memoryFile(unsent.flat()) : undefined;
    this.#offered.set(id, suspended);
    try {
      this.#link.send(offer, bytes === undefined ? fds : [...fds, bytes]);
    } finally {
      if (bytes !== undefined) closeFd(bytes);
    }
  }

  #kept(reason: string): void {
    this.#refusals.set(reason, (this.#refusals.get(reason) ?? 0) + 1);
  }

  #report(): void {
    const refused = [...this.#refusals].map(([reason, count]) => `${reason} (${count})`).join(", ");
    this.#log.info("connections handed over", [
      ["connections", this.#given],
      ...(refused === "" ? [] : [["refused", refused] as const]),
    ]);
  }
}
