/** What we have of one type, what we ask for, and who waits for it. No I/O. */
import type { DeltaRequest, XdsNode } from "./delta_request.ts";
import type { ResourceType } from "./resource_type.ts";
import { Versions } from "./versions.ts";

/** The stream, as one type sees it: none, or nothing asked on it yet, or asked. */
type Phase = "closed" | "silent" | "asked";

const ALL = ["*"];

/** An answer that was taken whole. */
export interface TakenPush {
  /** ms since the epoch */
  readonly at: number;
  /** What was refused; undefined: nothing. */
  readonly error: string | undefined;
  /** Something safe is in force for each of the refused, where the type makes that. */
  readonly closed: boolean;
}

export class Subscription {
  readonly type: ResourceType;
  readonly #node: XdsNode;
  #phase: Phase = "closed";
  /** No push has been taken yet from this stream. */
  #fresh = false;
  /** Resources in force, with their versions. What was refused is not here, unless an earlier version is in force. */
  readonly #versions = new Versions();
  /** On demand: names that have no answer yet. By names: those that are asked for. */
  readonly #names = new Set<string>();
  readonly #waiters = new Map<string, () => void>();
  /** On demand: names that the control plane was asked for on this stream, and may take for subscribed. */
  #asked = new Set<string>();
  /** Those of them that nobody has, to be taken back. */
  #vain = new Set<string>();
  /** Names in force that the first request of this stream had no room for. */
  #unlisted = new Set<string>();
  #accepted = false;
  #last: TakenPush | undefined;

  constructor(type: ResourceType, node: XdsNode) {
    this.type = type;
    this.#node = node;
  }

  /** How many resources are in force. */
  get size(): number {
    return this.#versions.size;
  }

  /** A push has been taken whole, with nothing refused that nothing stands for. */
  get accepted(): boolean {
    return this.#accepted;
  }

  get last(): TakenPush | undefined {
    return this.#last;
  }

  /** A stream is there. What to ask first; undefined: nothing, while no name is asked for. */
  opened(): DeltaRequest | undefined {
    this.#fresh = true;
    this.#unlisted = new Set();
    const { type: { typeUrl, subscription } } = this;
    const initialVersions = this.#known();
    if (subscription === "names" && this.#names.size === 0) {
      this.#phase = "silent";
      return undefined;
    }
    this.#phase = "asked";
    this.#asked = new Set(this.#names);
    this.#vain = new Set();
    const request = { node: this.#node, typeUrl, initialVersions };
    if (subscription === "wildcard") return request;
    // To subscribe to nothing would be to subscribe to everything.
    if (subscription === "on-demand") return { ...request, subscribe: ALL, unsubscribe: ALL };
    return { ...request, subscribe: [...this.#names] };
  }

  /** What is in force; a name without an answer is known with no version, which asks for it again. */
  *#known(): Generator<readonly [string, string]> {
    if (this.type.subscription === "on-demand") {
      for (const name of this.#names) if (!this.#versions.has(name)) yield [name, ""];
    }
    yield* this.#versions;
  }

  /** The first request has been written, without these names. */
  written(unlisted: Set<string>): void {
    this.#unlisted = unlisted;
  }

  closed(): void {
    this.#phase = "closed";
  }

  /**
   * Asks for one name; without a stream there is no request, its first one will have the name. istiod answers only what
   * changes its idea of our names: one that was asked for before, whose owner has gone since, is taken back first.
   */
  demand(name: string): { readonly requests: readonly DeltaRequest[]; readonly answered: Promise<void> } {
    const underWay = this.#phase === "asked" && this.#names.has(name);
    this.#waiters.get(name)?.();
    const answered = new Promise<void>((resolve) => this.#waiters.set(name, resolve));
    this.#names.add(name);
    if (this.#phase !== "asked" || underWay) return { requests: [], answered };
    const { typeUrl } = this.type;
    const known = this.#vain.delete(name) || this.#asked.has(name);
    const again = known ? [{ typeUrl, unsubscribe: [name] }] : [];
    this.#asked.add(name);
    return { requests: [...again, { typeUrl, subscribe: [name] }], answered };
  }

  /** After an answer: takes back the names that it said nobody has; istiod would not answer for them again. */
  takeBack(): DeltaRequest | undefined {
    if (this.#vain.size === 0) return undefined;
    const unsubscribe = [...this.#vain];
    this.#vain = new Set();
    return this.#change({ unsubscribe });
  }

  /** Asks for names from now on. Those asked for already are left out. */
  subscribe(names: Iterable<string>): DeltaRequest | undefined {
    const added = [...new Set(names)].filter((name) => !this.#names.has(name));
    if (added.length === 0) return undefined;
    for (const name of added) this.#names.add(name);
    if (this.#phase === "silent") return this.opened();
    return this.#change({ subscribe: added });
  }

  /** Names that are of no interest any more; who waits for them is let go. */
  unsubscribe(names: Iterable<string>): DeltaRequest | undefined {
    const dropped = [...new Set(names)].filter((name) => this.#names.has(name) || this.#versions.has(name));
    if (dropped.length === 0) return undefined;
    for (const name of dropped) {
      this.#names.delete(name);
      this.#versions.delete(name);
      this.#asked.delete(name);
      this.#wake(name);
    }
    return this.#change({ unsubscribe: dropped });
  }

  /** Apart from any answer, and without a nonce: istiod takes an answer that changes names as a mistake. */
  #change(names: Pick<DeltaRequest, "subscribe" | "unsubscribe">): DeltaRequest | undefined {
    return this.#phase === "asked" ? { typeUrl: this.type.typeUrl, ...names } : undefined;
  }

  /**
   * A push begins. `first`: of this stream. `absent`: names in force that are gone unless this push has them, because the
   * control plane was not told that we have them; the push's own.
   */
  begin(): { readonly first: boolean; readonly absent: Set<string> } {
    const [first, absent] = [this.#fresh, this.#unlisted];
    this.#fresh = false;
    this.#unlisted = new Set();
    return { first, absent };
  }

  /** A resource is in force. */
  taken(name: string, version: string, aliases: readonly string[] = []): void {
    // A push may have been under way when its name was given back.
    if (this.type.subscription !== "names" || this.#names.has(name)) this.#versions.set(name, version);
    this.#answered(name);
    for (const alias of aliases) this.#answered(alias);
  }

  /** A resource was refused: an answer, too. */
  refused(name: string, aliases: readonly string[] = []): void {
    this.#answered(name);
    for (const alias of aliases) this.#answered(alias);
  }

  /** A name is gone, or never was. */
  removed(name: string): void {
    this.#versions.delete(name);
    if (this.#asked.delete(name)) this.#vain.add(name);
    this.#answered(name);
  }

  #answered(name: string): void {
    if (this.type.subscription !== "on-demand") return;
    this.#names.delete(name);
    this.#wake(name);
  }

  #wake(name: string): void {
    const waiter = this.#waiters.get(name);
    if (waiter === undefined) return;
    this.#waiters.delete(name);
    waiter();
  }

  /** A push has been taken whole. */
  finished(push: TakenPush): void {
    this.#last = push;
    if (push.error === undefined || (this.type.standsIn === true && push.closed)) this.#accepted = true;
  }

  /** Lets go of all who wait. */
  release(): void {
    for (const name of [...this.#waiters.keys()]) this.#wake(name);
  }
}
