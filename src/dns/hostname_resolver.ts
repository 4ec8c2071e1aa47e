/** Names of workloads that have no address, resolved when a connection needs them (spec/ztunnel.md §4.5). */
import { isIpv4 } from "../net/address.ts";
import type { AddressFamily } from "./mesh_lookup.ts";
import { type Lookup, type ResolvedAddress, systemLookup } from "./system_lookup.ts";

/** Names of which the answers are kept, as the original keeps. */
const MAX_NAMES = 4096;
/** Bounds of the time for which an answer is kept, seconds; the resolver does not always know its TTL and says 0. */
const MIN_TTL = 1;
const UNKNOWN_TTL = 5;
const MAX_TTL = 86_400;
/** That there was no answer is kept just as long as it takes to not ask for every connection. */
const FAILURE_TTL = 1; // seconds
/** How long a lookup may take, both families together. */
const LOOKUP_TIMEOUT_MS = 5_000;

/**
 * What became of a name. `none`: no answer (NoResolvedAddresses); `empty`: an answer without addresses
 * (EmptyResolvedAddresses). `detail` is what the resolver said, for the log.
 */
export type ResolvedHostname = { readonly ip: string } | { readonly error: "none" | "empty"; readonly detail: string };

type Done = (result: ResolvedHostname) => void;

interface Answer {
  readonly addresses: readonly ResolvedAddress[];
  readonly error: "none" | "empty";
  readonly detail: string;
}

interface Known extends Answer {
  readonly until: number;
}

interface Waiter {
  readonly prefer: AddressFamily;
  readonly done: Done;
}

export interface HostnameResolverOptions {
  /** IPV6_ENABLED: without it AAAA is not asked for. */
  readonly ipv6: boolean;
  readonly lookup?: Lookup;
  /** Uniform in [0, 1). */
  readonly random?: () => number;
  /** Milliseconds, never going back. */
  readonly now?: () => number;
}

/** Resolves with the process's own resolver, in its own network namespace. One for the process. */
export class HostnameResolver {
  readonly #families: readonly (4 | 6)[];
  readonly #lookup: Lookup;
  readonly #random: () => number;
  readonly #now: () => number;
  /** In order of use. */
  readonly #known = new Map<string, Known>();
  readonly #waiting = new Map<string, Waiter[]>();

  constructor(
    { ipv6, lookup = systemLookup, random = Math.random, now = () => performance.now() }: HostnameResolverOptions,
  ) {
    this.#families = ipv6 ? [4, 6] : [4];
    this.#lookup = lookup;
    this.#random = random;
    this.#now = now;
  }

  /**
   * One address of the name, of the preferred family if there is one. `done` is called once, at once if the answer is
   * known. Never throws and never waits longer than five seconds.
   */
  resolve(hostname: string, prefer: AddressFamily, done: Done): void {
    const known = this.#known.get(hostname);
    if (known !== undefined) {
      this.#known.delete(hostname);
      if (this.#now() < known.until) {
        this.#known.set(hostname, known);
        done(this.#choose(known, prefer));
        return;
      }
    }
    const waiting = this.#waiting.get(hostname);
    if (waiting !== undefined) {
      waiting.push({ prefer, done });
      return;
    }
    this.#waiting.set(hostname, [{ prefer, done }]);
    void this.#ask(hostname).then((answer) => this.#answered(hostname, answer));
  }

  async #ask(hostname: string): Promise<Answer> {
    const addresses: ResolvedAddress[] = [];
    const problems: string[] = [];
    let failed = false;
    const lookups = this.#families.map(async (family) => {
      try {
        const { addresses: found, exists } = await this.#lookup(absolute(hostname), family);
        addresses.push(...found);
        if (!exists) problems.push("no such name, or none with addresses");
        else if (found.length === 0) problems.push(`no ${family === 4 ? "A" : "AAAA"} records`);
        failed ||= !exists;
      } catch (error) {
        failed = true;
        problems.push((error as Error).message);
      }
    });
    const expired = Promise.withResolvers<void>();
    const timer = setTimeout(() => {
      failed = true;
      problems.push("request timed out");
      expired.resolve();
    }, LOOKUP_TIMEOUT_MS);
    await Promise.race([Promise.all(lookups), expired.promise]);
    clearTimeout(timer);
    return {
      addresses: [...addresses],
      error: failed ? "none" : "empty",
      detail: [...new Set(problems)].join(", "),
    };
  }

  #answered(hostname: string, answer: Answer): void {
    const ttl = answer.addresses.length === 0
      ? FAILURE_TTL
      : Math.min(...answer.addresses.map(({ ttl }) => Math.min(MAX_TTL, ttl === 0 ? UNKNOWN_TTL : ttl)));
    this.#known.set(hostname, { ...answer, until: this.#now() + Math.max(ttl, MIN_TTL) * 1000 });
    for (const oldest of this.#known.keys()) {
      if (this.#known.size <= MAX_NAMES) break;
      this.#known.delete(oldest);
    }
    const waiting = this.#waiting.get(hostname) ?? [];
    this.#waiting.delete(hostname);
    for (const { prefer, done } of waiting) done(this.#choose(answer, prefer));
  }

  #choose({ addresses, error, detail }: Answer, prefer: AddressFamily): ResolvedHostname {
    const preferred = addresses.filter(({ ip }) => isIpv4(ip) === (prefer === "IPv4"));
    const candidates = preferred.length > 0 ? preferred : addresses;
    const chosen = candidates[Math.floor(this.#random() * candidates.length)];
    return chosen === undefined ? { error, detail } : { ip: chosen.ip };
  }
}

/** The search list of resolv.conf is for people, not for names of the mesh. A single label is the hosts file's. */
function absolute(hostname: string): string {
  return hostname.includes(".") && !hostname.endsWith(".") ? `${hostname}.` : hostname;
}
