/** What istiod tells of: resources by type and name, and for on-demand clients the ways to find an address. */
import { createHash } from "node:crypto";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { ResourceSchema } from "../../../proto/gen/discovery_pb.ts";
import { AddressSchema } from "../../../proto/gen/workload_pb.ts";
import { ADDRESS_TYPE, type ResourceText, WORKLOAD_TYPE } from "../protocol.ts";
import { addressText } from "./text.ts";

export interface Stored {
  readonly name: string;
  readonly version: string;
  readonly value: Uint8Array;
  readonly anyTypeUrl: string;
  /** The Resource message, without aliases. */
  readonly entry: Uint8Array;
}

/** Under which keys an address is found besides its name. */
interface Facts {
  readonly kind: "workload" | "service";
  /** NETWORK/IP */
  readonly addresses: readonly string[];
  /** NAMESPACE/HOSTNAME of the services of a workload. */
  readonly services: readonly string[];
  readonly node: string;
}

/** Tag of Address.workload. */
const WORKLOAD_TAG = 0x0a;

export class Store {
  readonly #types = new Map<string, Map<string, Stored>>();
  /** Made at the first question: most meshes are never asked for one address. */
  #index: AddressIndex | undefined;

  get types(): ReadonlyMap<string, ReadonlyMap<string, Stored>> {
    return this.#types;
  }

  all(typeUrl: string): ReadonlyMap<string, Stored> {
    return this.#types.get(storedUnder(typeUrl)) ?? new Map();
  }

  put(resource: ResourceText): void {
    this.putBytes(resource.typeUrl, resource.name, Buffer.from(resource.value, "base64"), resource);
  }

  putBytes(
    typeUrl: string,
    name: string,
    value: Uint8Array,
    { version, anyTypeUrl = typeUrl }: { readonly version?: string; readonly anyTypeUrl?: string } = {},
  ): void {
    const stored = store(name, version ?? (typeUrl === ADDRESS_TYPE ? hashOf(value) : ""), value, anyTypeUrl);
    const before = this.#types.get(typeUrl);
    if (before === undefined) this.#types.set(typeUrl, new Map([[name, stored]]));
    else before.set(name, stored);
    if (typeUrl === ADDRESS_TYPE) this.#index?.put(stored);
  }

  /** @returns whether it was there */
  remove(typeUrl: string, name: string): boolean {
    if (typeUrl === ADDRESS_TYPE) this.#index?.remove(name);
    return this.#types.get(typeUrl)?.delete(name) ?? false;
  }

  get index(): AddressIndex {
    if (this.#index === undefined) {
      this.#index = new AddressIndex();
      for (const stored of this.all(ADDRESS_TYPE).values()) this.#index.put(stored);
    }
    return this.#index;
  }

  /**
   * What a key of an on-demand client stands for, as istiod looks: a workload's uid; NETWORK/IP of a workload; a service
   * by NAMESPACE/HOSTNAME or NETWORK/VIP, with all its workloads.
   */
  lookup(key: string): readonly Stored[] {
    const all = this.all(ADDRESS_TYPE);
    const named = all.get(key);
    const { index } = this;
    if (named !== undefined && index.isWorkload(key)) return [named];
    const workload = index.byAddress(key).find((name) => index.isWorkload(name));
    if (workload !== undefined) return stored(all, [workload]);
    const service = named === undefined ? index.byAddress(key)[0] : key;
    if (service === undefined) return [];
    return stored(all, [service, ...index.workloadsOf(service)]);
  }
}

function stored(all: ReadonlyMap<string, Stored>, names: readonly string[]): Stored[] {
  return names.map((name) => all.get(name)).filter((found) => found !== undefined);
}

/** Workloads are a view of the addresses. */
function storedUnder(typeUrl: string): string {
  return typeUrl === WORKLOAD_TYPE ? ADDRESS_TYPE : typeUrl;
}

function store(name: string, version: string, value: Uint8Array, anyTypeUrl: string): Stored {
  return { name, version, value, anyTypeUrl, entry: resourceBytes(name, version, value, anyTypeUrl, []) };
}

export function resourceBytes(
  name: string,
  version: string,
  value: Uint8Array,
  typeUrl: string,
  aliases: readonly string[],
): Uint8Array {
  const resource = { $typeName: "google.protobuf.Any" as const, typeUrl, value: value as Uint8Array<ArrayBuffer> };
  return toBinary(ResourceSchema, create(ResourceSchema, { name, version, resource, aliases: [...aliases] }));
}

/** The message of an address that is a workload's, undefined for a service's. */
export function workloadOf({ value }: Stored): Uint8Array | undefined {
  if (value[0] !== WORKLOAD_TAG) return undefined;
  let at = 1;
  while (at < value.length && ((value[at] ?? 0) & 0x80) !== 0) at++;
  return value.subarray(at + 1);
}

/** Like istiod's: 64 bits in hexadecimal, without leading zeros. */
function hashOf(value: Uint8Array): string {
  return createHash("sha256").update(value).digest().readBigUInt64BE().toString(16);
}

export class AddressIndex {
  readonly #facts = new Map<string, Facts>();
  readonly #byAddress = new Map<string, Set<string>>();
  readonly #byService = new Map<string, Set<string>>();
  readonly #byNode = new Map<string, Set<string>>();

  put(stored: Stored): void {
    this.remove(stored.name);
    const facts = factsOf(stored);
    if (facts === undefined) return;
    this.#facts.set(stored.name, facts);
    for (const address of facts.addresses) add(this.#byAddress, address, stored.name);
    for (const service of facts.services) add(this.#byService, service, stored.name);
    if (facts.node !== "") add(this.#byNode, facts.node, stored.name);
  }

  remove(name: string): void {
    const facts = this.#facts.get(name);
    if (facts === undefined) return;
    this.#facts.delete(name);
    for (const address of facts.addresses) this.#byAddress.get(address)?.delete(name);
    for (const service of facts.services) this.#byService.get(service)?.delete(name);
    this.#byNode.get(facts.node)?.delete(name);
  }

  isWorkload(name: string): boolean {
    return this.#facts.get(name)?.kind === "workload";
  }

  byAddress(key: string): readonly string[] {
    return [...this.#byAddress.get(key) ?? []];
  }

  workloadsOf(service: string): Iterable<string> {
    return this.#byService.get(service) ?? [];
  }

  workloadsOn(node: string): Iterable<string> {
    return this.#byNode.get(node) ?? [];
  }

  servicesOf(name: string): readonly string[] {
    return this.#facts.get(name)?.services ?? [];
  }

  aliases(name: string): readonly string[] {
    return this.#facts.get(name)?.addresses ?? [];
  }
}

function add(map: Map<string, Set<string>>, key: string, name: string): void {
  const names = map.get(key);
  if (names === undefined) map.set(key, new Set([name]));
  else names.add(name);
}

/** Undefined for what is no address: a resource worth a NACK. */
function factsOf({ value, anyTypeUrl }: Stored): Facts | undefined {
  if (anyTypeUrl !== ADDRESS_TYPE) return undefined;
  try {
    const { type } = fromBinary(AddressSchema, value);
    if (type.case === "workload") {
      const { network, addresses, services, node } = type.value;
      const keys = addresses.map((address) => `${network}/${addressText(address)}`);
      return { kind: "workload", addresses: keys, services: Object.keys(services), node };
    }
    if (type.case !== "service") return undefined;
    const keys = type.value.addresses.map(({ network, address }) => `${network}/${addressText(address)}`);
    return { kind: "service", addresses: keys, services: [], node: "" };
  } catch {
    // Made to be undecodable: nobody finds it by its address.
    return undefined;
  }
}
