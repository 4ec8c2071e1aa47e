/**
 * What two processes say to each other while one takes the other's place: JSON, one message in each packet of a unix
 * SEQPACKET socket. The newer one says hello as soon as it serves the pods; the older one, when it is told to end, offers its
 * relays one by one; each is taken or refused.
 */
import type { NamespaceIdentity } from "../../linux/mod.ts";
import { canonicalIp, type SocketAddress } from "../../net/address.ts";
import type { PlainRelay } from "../connection.ts";

/** Of the messages; processes of different versions do not talk. */
const VERSION = 1;
/** Longest packet, bytes. */
export const MAX_PACKET = 8192;
/** Longest text of an error or a refusal, characters: it fits a packet also where JSON escapes each as 6 bytes. */
export const MAX_REASON = 1_000;
/** What a process may have read of a relay and not sent on, bytes, each way: some reads of the runtime. */
const MAX_UNSENT = 16 << 20;

/** A relay, with the descriptors of its downstream and upstream socket, and of a file with the unsent bytes if any. */
export interface RelayOffer {
  readonly kind: "relay";
  readonly id: number;
  readonly pod: { readonly uid: string; readonly namespace: NamespaceIdentity };
  readonly relay: PlainRelay;
}

export type UpgradeMessage =
  | { readonly kind: "hello" }
  | RelayOffer
  | { readonly kind: "taken"; readonly id: number }
  | { readonly kind: "refused"; readonly id: number; readonly reason: string };

export function encodeMessage(message: UpgradeMessage): Uint8Array {
  const plain = (_: string, value: unknown) => typeof value === "bigint" ? String(value) : value;
  const bytes = new TextEncoder().encode(JSON.stringify({ version: VERSION, ...message }, plain));
  if (bytes.length > MAX_PACKET) throw new RangeError(`upgrade: a message of ${bytes.length} bytes`);
  return bytes;
}

/** How many descriptors come with a message. */
export function descriptorsOf(message: UpgradeMessage): number {
  if (message.kind !== "relay") return 0;
  return message.relay.unsentUp + message.relay.unsentDown > 0 ? 3 : 2;
}

/** The message, or what is wrong with it and where. */
export function parseMessage(bytes: Uint8Array): UpgradeMessage | string {
  try {
    return message(new Part(JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)), "message"));
  } catch (error) {
    return (error as Error).message.slice(0, MAX_REASON);
  }
}

function message(part: Part): UpgradeMessage {
  const version = part.whole("version");
  if (version !== VERSION) throw new Error(`message.version: ${version} is not ${VERSION}`);
  const kind = part.text("kind");
  switch (kind) {
    case "hello":
      return { kind };
    case "taken":
      return { kind, id: part.whole("id") };
    case "refused":
      return { kind, id: part.whole("id"), reason: part.text("reason") };
    case "relay":
      return { kind, id: part.whole("id"), pod: pod(part.part("pod")), relay: relay(part.part("relay")) };
    default:
      throw new Error(`message.kind: "${kind}" is unknown`);
  }
}

function pod(part: Part): RelayOffer["pod"] {
  const namespace = part.part("namespace");
  return { uid: part.text("uid"), namespace: { device: namespace.big("device"), inode: namespace.big("inode") } };
}

function relay(part: Part): PlainRelay {
  const direction = part.text("direction");
  if (direction !== "inbound" && direction !== "outbound") throw new Error(`${part.path}.direction: "${direction}"`);
  const service = part.has("service") ? part.part("service") : undefined;
  return {
    direction,
    source: address(part.part("source")),
    destination: address(part.part("destination")),
    dialled: address(part.part("dialled")),
    workload: part.has("workload") ? part.text("workload") : undefined,
    service: service && {
      hostname: service.text("hostname"),
      name: service.text("name"),
      namespace: service.text("namespace"),
    },
    received: part.whole("received"),
    sent: part.whole("sent"),
    unsentUp: part.whole("unsentUp", MAX_UNSENT),
    unsentDown: part.whole("unsentDown", MAX_UNSENT),
    age: part.whole("age"),
  };
}

function address(part: Part): SocketAddress {
  const text = part.text("ip");
  const ip = canonicalIp(text);
  if (ip === undefined) throw new Error(`${part.path}.ip: "${text}" is no IP address`);
  return { ip, port: part.whole("port", 65_535) };
}

/** An object of the message. What is not as it should be is thrown, with its place. */
class Part {
  readonly path: string;
  readonly #fields: Record<string, unknown>;

  constructor(value: unknown, path: string) {
    if (typeof value !== "object" || value === null || Array.isArray(value)) throw new Error(`${path}: not an object`);
    this.#fields = value as Record<string, unknown>;
    this.path = path;
  }

  has(name: string): boolean {
    return this.#fields[name] !== undefined;
  }

  part(name: string): Part {
    return new Part(this.#fields[name], `${this.path}.${name}`);
  }

  text(name: string): string {
    const value = this.#fields[name];
    if (typeof value !== "string") throw new Error(`${this.path}.${name}: not a string`);
    return value;
  }

  whole(name: string, most = Number.MAX_SAFE_INTEGER): number {
    const value = this.#fields[name];
    if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0 && value <= most) return value;
    throw new Error(`${this.path}.${name}: not a whole number up to ${most}`);
  }

  big(name: string): bigint {
    const value = this.text(name);
    if (!/^\d{1,20}$/.test(value)) throw new Error(`${this.path}.${name}: not a number`);
    return BigInt(value);
  }
}
