/** What an istiod of a test saw, as events that can be asked for and waited for. */
import { DeadlineError, LAB_DEADLINE_MS } from "../lab/topology/process.ts";
import type { CertificateRequest, DiscoveryRequest, SeenEvent } from "./protocol.ts";

type Kind = SeenEvent["kind"];
type EventOf<K extends Kind> = Extract<SeenEvent, { kind: K }>;

interface Waiter {
  take(event: SeenEvent): void;
}

export class Seen {
  #events: SeenEvent[] = [];
  readonly #waiters = new Set<Waiter>();

  /** All of a kind since the start or the last `forget`, oldest first. */
  all<K extends Kind>(kind: K): readonly EventOf<K>[] {
    return this.#events.filter((event): event is EventOf<K> => event.kind === kind);
  }

  get events(): readonly SeenEvent[] {
    return this.#events;
  }

  /** Requests of discovery, by type if one is given. */
  requests(typeUrl?: string): readonly DiscoveryRequest[] {
    return this.all("request").filter((request) => typeUrl === undefined || request.typeUrl === typeUrl);
  }

  nacks(typeUrl?: string): readonly DiscoveryRequest[] {
    return this.requests(typeUrl).filter(({ meaning, error }) => meaning === "nack" || error !== undefined);
  }

  certificateRequests(): readonly CertificateRequest[] {
    return this.all("csr");
  }

  /** Where the log stands: for `until`'s `since`. */
  get mark(): number {
    return this.#events.length;
  }

  /** Empties the log: long runs would fill it. Waiters go on waiting; marks begin anew at 0. */
  forget(): void {
    this.#events = [];
  }

  /**
   * The first event of a kind that fits, among those seen already too (from the mark `since` on, by default all).
   * @throws DeadlineError
   */
  until<K extends Kind>(
    kind: K,
    fits: (event: EventOf<K>) => boolean = () => true,
    { since = 0, deadlineMs = LAB_DEADLINE_MS }: { readonly since?: number; readonly deadlineMs?: number } = {},
  ): Promise<EventOf<K>> {
    const isIt = (event: SeenEvent): event is EventOf<K> => event.kind === kind && fits(event as EventOf<K>);
    for (let index = since; index < this.#events.length; index++) {
      const event = this.#events[index];
      if (event !== undefined && isIt(event)) return Promise.resolve(event);
    }
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiters.delete(waiter);
        reject(new DeadlineError(`istiod saw no such ${kind} within ${deadlineMs} ms; it saw last:\n${this.#tail()}`));
      }, deadlineMs);
      const waiter: Waiter = {
        take: (event) => {
          if (!isIt(event)) return;
          clearTimeout(timer);
          this.#waiters.delete(waiter);
          resolve(event);
        },
      };
      this.#waiters.add(waiter);
    });
  }

  /** For the handle: an event has come. */
  add(event: SeenEvent): void {
    this.#events.push(event);
    for (const waiter of [...this.#waiters]) waiter.take(event);
  }

  #tail(): string {
    return this.#events.slice(-8).map((event) => JSON.stringify(event).slice(0, 300)).join("\n");
  }
}
