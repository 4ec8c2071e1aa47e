/** One response of the control plane on its way into service, part by part. No I/O. */
import { DeltaReader, type DeltaResource, type DeltaResponse } from "./delta_response.ts";
import { type Pace, REMOVAL_WEIGHT, resourceWeight } from "./pace.ts";
import { Refusals } from "./refusals.ts";
import type { AdsPart, RefusedResource } from "./resource_type.ts";
import { shortName } from "./shortened.ts";
import type { Subscription } from "./subscription.ts";

/** Resources or names of a frame that are passed over in a step: a fraction of a millisecond. */
const FRAME_STEP = 2_048;

/** What a push needs of its client. */
export interface PushContext {
  subscription(typeUrl: string): Subscription | undefined;
  readonly pace: Pace;
  /** ms, with fractions */
  elapsed(): number;
  /** Something of ours threw. */
  bug(error: unknown): void;
}

export type PushOutcome =
  /** No DeltaDiscoveryResponse at all. */
  | { readonly kind: "undecodable"; readonly error: string }
  /** Of a type that nobody registered. */
  | { readonly kind: "unknown"; readonly typeUrl: string; readonly nonce: string; readonly resources: number }
  | TakenOutcome;

/** Taken whole: what was not refused is in force. */
export interface TakenOutcome {
  readonly kind: "taken";
  readonly subscription: Subscription;
  readonly nonce: string;
  readonly resources: number;
  readonly removed: number;
  /** Of the resources, as they are inside. */
  readonly bytes: number;
  readonly refused: number;
  /** Something safe is in force for each of the refused, as far as their type makes that. */
  readonly closed: boolean;
  /** Text of the NACK; undefined: everything is in force. */
  readonly error: string | undefined;
}

/** A part while it is gathered. */
interface Batch {
  readonly resources: DeltaResource[];
  readonly unreadable: RefusedResource[];
  readonly removed: string[];
  weight: number;
}

/**
 * Reads the frame first, because its type comes after its resources; then takes resources, a part in each step, and at
 * last what is gone. A push that fits into one part is one part. What a name says last in a push counts, and a name that
 * is both there and gone is there.
 */
export class Push {
  readonly #context: PushContext;
  readonly #reader: DeltaReader;
  #taking: Taking | undefined;

  constructor(bytes: Uint8Array, context: PushContext) {
    this.#context = context;
    this.#reader = new DeltaReader(bytes);
  }

  /** Does a bit. Undefined: there is more to do. */
  step(): PushOutcome | undefined {
    if (this.#taking !== undefined) return this.#taking.step();
    const read = this.#reader.read(FRAME_STEP);
    if (read === undefined) return undefined;
    if (!read.ok) return { kind: "undecodable", error: read.error };
    const { response } = read;
    const { typeUrl, nonce, resources } = response;
    const subscription = this.#context.subscription(typeUrl);
    if (subscription === undefined) return { kind: "unknown", typeUrl, nonce, resources: resources.length };
    this.#taking = new Taking(response, subscription, this.#context);
    return undefined;
  }
}

class Taking {
  readonly #response: DeltaResponse;
  readonly #subscription: Subscription;
  readonly #context: PushContext;
  readonly #refusals = new Refusals();
  /** Names that are gone, but for those that the push has had until here. */
  readonly #gone = new Set<string>();
  /** How many of the response's removed names are in `gone`. */
  #gathered = 0;
  /** Names in force that are gone unless the push has them. */
  readonly #absent: Set<string>;
  #first: boolean;
  #next = 0;
  #bytes = 0;
  #removed = 0;
  #closed = true;

  constructor(response: DeltaResponse, subscription: Subscription, context: PushContext) {
    this.#response = response;
    this.#subscription = subscription;
    this.#context = context;
    const { first, absent } = subscription.begin();
    this.#first = first;
    this.#absent = absent;
  }

  step(): TakenOutcome | undefined {
    const { removed } = this.#response;
    while (this.#gathered < removed.length) {
      this.#gone.add(removed[this.#gathered++]!);
      if (this.#gathered % FRAME_STEP === 0) return undefined;
    }
    const began = this.#context.elapsed();
    const batch: Batch = { resources: [], unreadable: [], removed: [], weight: 0 };
    const { resources } = this.#response;
    const most = this.#context.pace.weight;
    while (this.#next < resources.length && batch.weight < most) this.#read(this.#next++, batch);
    if (this.#next === resources.length) this.#remove(batch, most);
    const last = this.#next === resources.length && this.#gone.size + this.#absent.size === 0;
    this.#take(batch, last);
    this.#context.pace.took(batch.weight, this.#context.elapsed() - began);
    return last ? this.#finish() : undefined;
  }

  #read(i: number, batch: Batch): void {
    const read = this.#response.resources.at(i);
    if (!read.ok) {
      batch.weight += resourceWeight(0);
      this.#unreadable(read, batch);
      return;
    }
    const { resource } = read;
    const { name, typeUrl, value, aliases } = resource;
    const { type } = this.#subscription;
    batch.weight += resourceWeight(value.length);
    this.#bytes += value.length;
    this.#gone.delete(name);
    this.#absent.delete(name);
    if (name !== "" && typeUrl === type.typeUrl) {
      batch.resources.push(resource);
      return;
    }
    const what = typeUrl === "" ? "nothing in it" : `its type is ${shortName(typeUrl)}, not ${type.typeUrl}`;
    this.#unreadable(
      { name, error: name === "" ? `resource ${i}: no name` : `${shortName(name)}: ${what}`, aliases },
      batch,
    );
  }

  #unreadable(
    { name, error, aliases = [] }: { name: string; error: string; aliases?: readonly string[] | undefined },
    batch: Batch,
  ): void {
    this.#refusals.unreadable(error);
    if (name === "") {
      // It may be one of those that would be missed, and nothing can stand for it.
      this.#absent.clear();
      this.#closed = false;
      return;
    }
    this.#gone.delete(name);
    this.#absent.delete(name);
    batch.unreadable.push({ name, error });
    this.#subscription.refused(name, aliases);
  }

  /** Names that are gone, as many as there is room for; those that were not mentioned as the last. */
  #remove(batch: Batch, most: number): void {
    for (const names of [this.#gone, this.#absent]) {
      for (const name of names) {
        if (batch.weight >= most) return;
        names.delete(name);
        batch.removed.push(name);
        batch.weight += REMOVAL_WEIGHT;
      }
    }
  }

  #take({ resources, unreadable, removed }: Batch, last: boolean): void {
    if (resources.length + unreadable.length + removed.length === 0 && !last && !this.#first) return;
    const refused = new Set<string>();
    const given = { resources, removed, first: this.#first, last };
    for (const { name, error, open } of this.#apply(unreadable.length === 0 ? given : { ...given, unreadable })) {
      refused.add(name);
      if (open === true) this.#closed = false;
      if (!unreadable.some((told) => told.name === name)) this.#refusals.refused(name, error);
    }
    this.#first = false;
    this.#removed += removed.length;
    const subscription = this.#subscription;
    for (const { name, version, aliases } of resources) {
      if (refused.has(name)) subscription.refused(name, aliases);
      else subscription.taken(name, version, aliases);
    }
    for (const name of removed) if (!refused.has(name)) subscription.removed(name);
  }

  #apply(part: AdsPart): readonly RefusedResource[] {
    try {
      return this.#subscription.type.apply(part);
    } catch (error) {
      this.#context.bug(error);
      return this.#applyApart(part);
    }
  }

  /** After a bug: what is all right in the part comes into service nevertheless. */
  #applyApart({ resources, unreadable = [], removed, first, last }: AdsPart): readonly RefusedResource[] {
    const refused: RefusedResource[] = [];
    const attempt = (
      name: string,
      part: Pick<AdsPart, "resources" | "unreadable" | "removed">,
      flags: Pick<AdsPart, "first" | "last">,
    ) => {
      try {
        refused.push(...this.#subscription.type.apply({ ...part, ...flags }));
      } catch (error) {
        const text = error instanceof Error ? error.message : String(error);
        refused.push({ name, error: `internal error: ${text}`, open: true });
      }
    };
    const inside = { first: false, last: false };
    if (first) attempt("first part", { resources: [], removed: [] }, { first, last: false });
    for (const one of unreadable) attempt(one.name, { resources: [], unreadable: [one], removed: [] }, inside);
    for (const resource of resources) attempt(resource.name, { resources: [resource], removed: [] }, inside);
    for (const name of removed) attempt(name, { resources: [], removed: [name] }, inside);
    if (last) attempt("last part", { resources: [], removed: [] }, { first: false, last });
    return refused;
  }

  #finish(): TakenOutcome {
    const { nonce, resources } = this.#response;
    return {
      kind: "taken",
      subscription: this.#subscription,
      nonce,
      resources: resources.length,
      removed: this.#removed,
      bytes: this.#bytes,
      refused: this.#refusals.count,
      closed: this.#closed,
      error: this.#refusals.text,
    };
  }
}
