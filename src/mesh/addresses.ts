import { TextMap } from "./text_map.ts";

/** Index by (network, IP): two Maps deep, so that a lookup builds no key string. */
export class AddressIndex<T> {
  readonly #networks = new Map<string, TextMap<T>>();

  get(network: string, ip: string): T | undefined {
    return this.#networks.get(network)?.get(ip);
  }

  set(network: string, ip: string, value: T): void {
    let addresses = this.#networks.get(network);
    if (addresses === undefined) this.#networks.set(network, addresses = new TextMap());
    addresses.set(ip, value);
  }

  delete(network: string, ip: string): void {
    const addresses = this.#networks.get(network);
    if (addresses?.delete(ip) && addresses.size === 0) this.#networks.delete(network);
  }
}
