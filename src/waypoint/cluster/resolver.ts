/** Names that are watched: resolved again and again, with the last good answer kept. */
import { familiesOf, type Family, orderAddresses } from "./address_order.ts";
import type { Lookup, ResolvedAddress } from "./dns.ts";
import type { Random } from "./random.ts";

/** First pause after a failure, ms; doubled each time, up to the refresh rate. */
const FIRST_RETRY_MS = 1000;
/** No name is asked for more often, ms, whatever its TTL. */
const SHORTEST_REFRESH_MS = 1000;
/** A pause is up to this share longer, so that names do not stay in step. */
const JITTER = 0.1;

export interface WatchOptions {
  readonly family: Family;
  readonly refreshMs: number;
  /** The TTL of an answer, where known, instead of `refreshMs`. */
  readonly respectTtl: boolean;
}

/** Hears the addresses in the order in which to try them; empty only while no lookup has ever given one. */
export type AddressListener = (ips: readonly string[]) => void;

export interface Watch {
  stop(): void;
}

class WatchedName {
  readonly listeners = new Set<AddressListener>();
  readonly #name: string;
  readonly #options: WatchOptions;
  readonly #lookup: Lookup;
  readonly #random: Random;
  #state: "resolving" | "waiting" | "stopped" = "waiting";
  #timer: Timer | undefined;
  #failures = 0;
  /** undefined: nothing was answered yet, good or bad. */
  #ips: readonly string[] | undefined;

  constructor(name: string, options: WatchOptions, lookup: Lookup, random: Random) {
    this.#name = name;
    this.#options = options;
    this.#lookup = lookup;
    this.#random = random;
  }

  get ips(): readonly string[] | undefined {
    return this.#ips;
  }

  resolve(): void {
    this.#state = "resolving";
    const families = familiesOf(this.#options.family);
    void Promise.allSettled(families.map((family) => this.#lookup(this.#name, family))).then((results) => {
      if (this.#state === "stopped") return;
      const answer = (family: 4 | 6): readonly ResolvedAddress[] => {
        const result = results[families.indexOf(family)];
        return result?.status === "fulfilled" ? result.value : [];
      };
      this.#answered(orderAddresses(this.#options.family, answer(6), answer(4)));
    });
  }

  stop(): void {
    this.#state = "stopped";
    clearTimeout(this.#timer);
  }

  #answered(addresses: readonly ResolvedAddress[]): void {
    this.#state = "waiting";
    const { refreshMs, respectTtl } = this.#options;
    let pause = refreshMs;
    if (addresses.length === 0) {
      pause = Math.min(refreshMs, FIRST_RETRY_MS * 2 ** Math.min(this.#failures, 20));
      this.#failures++;
    } else {
      this.#failures = 0;
      const ttl = Math.min(...addresses.map((address) => address.ttl)) * 1000;
      if (respectTtl && ttl > 0) pause = ttl;
    }
    pause = Math.max(pause, Math.min(refreshMs, SHORTEST_REFRESH_MS)) * (1 + this.#random() * JITTER);
    this.#timer = setTimeout(() => this.resolve(), pause);
    this.#timer.unref();
    this.#tell(addresses.map(({ ip }) => ip));
  }

  #tell(ips: readonly string[]): void {
    const before = this.#ips;
    if (before !== undefined && (ips.length === 0 || sameTexts(before, ips))) return;
    this.#ips = ips;
    for (const listener of [...this.listeners]) listener(ips);
  }
}

function sameTexts(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((text, i) => text === b[i]);
}

/** All watched names of the process: the same name with the same options is asked for once. */
export class Resolver {
  readonly #lookup: Lookup;
  readonly #random: Random;
  readonly #names = new Map<string, WatchedName>();

  constructor(lookup: Lookup, random: Random) {
    this.#lookup = lookup;
    this.#random = random;
  }

  get size(): number {
    return this.#names.size;
  }

  /** Begins to watch; an answer that is already there is told at once. */
  watch(name: string, options: WatchOptions, listener: AddressListener): Watch {
    const key = `${name}|${options.family}|${options.refreshMs}|${options.respectTtl}`;
    let watched = this.#names.get(key);
    const isNew = watched === undefined;
    if (watched === undefined) {
      this.#names.set(key, watched = new WatchedName(name, options, this.#lookup, this.#random));
    }
    const own: AddressListener = (ips) => listener(ips);
    watched.listeners.add(own);
    if (isNew) watched.resolve();
    else if (watched.ips !== undefined) listener(watched.ips);
    return { stop: () => this.#unwatch(key, own) };
  }

  #unwatch(key: string, listener: AddressListener): void {
    const watched = this.#names.get(key);
    if (watched === undefined || !watched.listeners.delete(listener) || watched.listeners.size > 0) return;
    watched.stop();
    this.#names.delete(key);
  }
}
