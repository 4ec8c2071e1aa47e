import { Buffer } from "node:buffer";
import { canonicalIp, ipFromBytes, type SocketAddress } from "../net/address.ts";

/** SOCKS version 5 (RFC 1928), server side: no authentication, CONNECT only (spec/ztunnel.md §5.3). Sans I/O. */

const VERSION = 5;
const NO_AUTHENTICATION = 0;
const COMMAND_CONNECT = 1;
const ADDRESS_IPV4 = 1;
const ADDRESS_DOMAIN = 3;
const ADDRESS_IPV6 = 4;

/** Instead of a method: none of those offered will do (RFC 1928 §3). */
const NO_ACCEPTABLE_METHOD = 0xff;
/** What a client may send before it has the answer to its request, bytes. */
const MAX_EARLY = 65_536;

/** Reply codes (RFC 1928 §6). */
export const REPLY_SUCCEEDED = 0;
export const REPLY_GENERAL_FAILURE = 1;
export const REPLY_HOST_UNREACHABLE = 4;
export const REPLY_COMMAND_NOT_SUPPORTED = 7;

/** A reply with an all-zero bound address. */
export function encodeReply(code: number): Uint8Array {
  return new Uint8Array([VERSION, code, 0, ADDRESS_IPV4, 0, 0, 0, 0, 0, 0]);
}

export type Socks5Event =
  | { readonly kind: "more" }
  /** Answer and go on reading. */
  | { readonly kind: "reply"; readonly bytes: Uint8Array }
  /** The client's request. Bytes behind it are kept: see `rest`. */
  | { readonly kind: "connect"; readonly destination: SocketAddress }
  /** The same, by name. */
  | { readonly kind: "resolve"; readonly host: string; readonly port: number }
  /** Answer with these bytes and close. */
  | {
    readonly kind: "refuse";
    readonly bytes: Uint8Array;
    readonly reason: string;
    /** What was asked for, where that is known. */
    readonly target: Socks5Target | undefined;
  };

/** `host`: a canonical IP, or a name as the client wrote it, which may hold any byte (as latin1). */
export interface Socks5Target {
  readonly host: string;
  readonly port: number;
}

const NOTHING = new Uint8Array(0);
const MORE: Socks5Event = { kind: "more" };
const NO_METHOD = new Uint8Array([VERSION, NO_ACCEPTABLE_METHOD]);
/** spec/ztunnel.md §5.3: whatever the client did wrong. */
const VIOLATION = encodeReply(REPLY_COMMAND_NOT_SUPPORTED);

/** Reads greeting and request; feed it bytes until it says `connect`, `resolve` or `refuse`. */
export class Socks5Handshake {
  #state: "greeting" | "request" | "requested" | "refused" = "greeting";
  #bytes: Uint8Array = NOTHING;

  /** After `resolve` it may still say `refuse`: when too much comes before the answer. */
  receive(chunk: Uint8Array): Socks5Event {
    if (this.#state === "refused") return MORE;
    const bytes = new Uint8Array(this.#bytes.length + chunk.length);
    bytes.set(this.#bytes);
    bytes.set(chunk, this.#bytes.length);
    this.#bytes = bytes;
    if (this.#state === "requested") {
      return bytes.length > MAX_EARLY ? this.#refuse("too much was sent before the answer to the request") : MORE;
    }
    return this.#state === "greeting" ? this.#greeting() : this.#request();
  }

  /** What came behind the request so far: the beginning of the client's bytes. */
  get rest(): Uint8Array {
    return this.#bytes;
  }

  /** Whether the end is said: nothing of what was under way matters any more. */
  get refused(): boolean {
    return this.#state === "refused";
  }

  #refuse(reason: string, target?: Socks5Target, bytes = VIOLATION): Socks5Event {
    this.#state = "refused";
    this.#bytes = NOTHING;
    return { kind: "refuse", bytes, reason, target };
  }

  #greeting(): Socks5Event {
    const bytes = this.#bytes;
    if (bytes.length > 0 && bytes[0] !== VERSION) return this.#refuse(`version ${bytes[0]}`);
    if (bytes.length < 2) return MORE;
    const end = 2 + (bytes[1] as number);
    if (bytes.length < end) return MORE;
    if (!bytes.subarray(2, end).includes(NO_AUTHENTICATION)) {
      return this.#refuse("no acceptable authentication method", undefined, NO_METHOD);
    }
    this.#bytes = bytes.subarray(end);
    this.#state = "request";
    return { kind: "reply", bytes: new Uint8Array([VERSION, NO_AUTHENTICATION]) };
  }

  #request(): Socks5Event {
    const bytes = this.#bytes;
    if (bytes.length > 0 && bytes[0] !== VERSION) return this.#refuse(`version ${bytes[0]}`);
    if (bytes.length < 4) return MORE;
    const [, command, , type] = bytes;
    const named = type === ADDRESS_DOMAIN;
    if (named && bytes.length < 5) return MORE;
    const start = named ? 5 : 4;
    const length = named ? bytes[4] as number : type === ADDRESS_IPV4 ? 4 : type === ADDRESS_IPV6 ? 16 : undefined;
    if (length === undefined) return this.#refuse(`address type ${type}`);
    const end = start + length + 2;
    if (bytes.length < end) return MORE;
    const address = bytes.subarray(start, start + length);
    const port = ((bytes[end - 2] as number) << 8) | (bytes[end - 1] as number);
    const name = named ? Buffer.from(address).toString("latin1") : "";
    // Clients that have only one kind of address send IPs as names, too.
    const ip = named ? canonicalIp(name) : ipFromBytes(address);
    if (command !== COMMAND_CONNECT) return this.#refuse(`command ${command}`, { host: ip ?? name, port });
    if (ip === undefined && name === "") return this.#refuse("a name without a letter", { host: name, port });
    this.#state = "requested";
    this.#bytes = bytes.subarray(end);
    return ip === undefined ? { kind: "resolve", host: name, port } : { kind: "connect", destination: { ip, port } };
  }

  /** Bytes behind the greeting may hold the request already: ask again after a `reply`. */
  resume(): Socks5Event {
    return this.#bytes.length === 0 ? MORE : this.#request();
  }
}
