/** Which virtual host an authority belongs to (envoy.config.route.v3.VirtualHost.domains). */
import { lowerAscii } from "../../matching/mod.ts";
import type { VirtualHost } from "../snapshot/mod.ts";

interface Wildcard<V> {
  readonly part: string;
  readonly value: V;
}

/**
 * Exact names before `*.suffix`, that before `prefix.*`, the longest first, `*` last. A domain without a port stands for
 * any port (ignore_port_in_host_matching, as Istio sets it). The first host that claims a domain has it.
 */
export class VirtualHosts<V> {
  readonly #exact = new Map<string, V>();
  readonly #suffixes: Wildcard<V>[] = [];
  readonly #prefixes: Wildcard<V>[] = [];
  #any: V | undefined = undefined;
  readonly #anyOnly: boolean;

  constructor(hosts: readonly (readonly [VirtualHost, V])[]) {
    for (const [host, value] of hosts) {
      for (const written of host.domains) {
        const domain = lowerAscii(written);
        if (domain === "*") this.#any ??= value;
        else if (domain.startsWith("*")) this.#suffixes.push({ part: domain.slice(1), value });
        else if (domain.endsWith("*")) this.#prefixes.push({ part: domain.slice(0, -1), value });
        else if (!this.#exact.has(domain)) this.#exact.set(domain, value);
      }
    }
    // Sorting is stable: among equal parts the first stays first.
    this.#suffixes.sort((a, b) => b.part.length - a.part.length);
    this.#prefixes.sort((a, b) => b.part.length - a.part.length);
    this.#anyOnly = this.#exact.size === 0 && this.#suffixes.length === 0 && this.#prefixes.length === 0;
  }

  find(authority: string): V | undefined {
    if (this.#anyOnly) return this.#any;
    const written = lowerAscii(authority);
    const host = withoutPort(written);
    return this.#exact.get(written) ?? this.#exact.get(host) ??
      this.#suffixes.find(({ part }) => endsWith(host, part) || endsWith(written, part))?.value ??
      this.#prefixes.find(({ part }) => startsWith(host, part) || startsWith(written, part))?.value ??
      this.#any;
  }
}

/** A wildcard stands for at least one character. */
function endsWith(host: string, part: string): boolean {
  return host.length > part.length && host.endsWith(part);
}

function startsWith(host: string, part: string): boolean {
  return host.length > part.length && host.startsWith(part);
}

/** `a:80` → `a`, `[::1]:80` → `[::1]`. */
export function withoutPort(authority: string): string {
  const at = portAt(authority);
  return at < 0 ? authority : authority.slice(0, at);
}

/** Index of the colon before the port; -1: there is no port. */
export function portAt(authority: string): number {
  const colon = authority.lastIndexOf(":");
  return colon < 0 || authority.indexOf("]", colon) >= 0 ? -1 : colon;
}
