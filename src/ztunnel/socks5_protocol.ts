import { Buffer } from "node:buffer";
import { ipFromBytes, type SocketAddress } from "../net/address.ts";

/** SOCKS version 5 (RFC 1928), server side: no authentication, CONNECT only (spec/ztunnel.md §5.3). Sans I/O. */

const VERSION = 5;
const NO_AUTHENTICATION = 0;
const COMMAND_CONNECT = 1;
const ADDRESS_IPV4 = 1;
const ADDRESS_DOMAIN = 3;
const ADDRESS_IPV6 = 4;

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
  /** Answer with this reply code and close. */
  | { readonly kind: "refuse"; readonly code: number; readonly reason: string };

const MORE: Socks5Event = { kind: "more" };

function refuse(reason: string, code = REPLY_COMMAND_NOT_SUPPORTED): Socks5Event {
  return { kind: "refuse", code, reason };
}

/** Reads greeting and request; feed it bytes until it says `connect` or `refuse`. */
export class Socks5Handshake {
  #state: "greeting" | "request" | "requested" = "greeting";
  #bytes: Uint8Array = new Uint8Array(0);

  receive(chunk: Uint8Array): Socks5Event {
    const bytes = new Uint8Array(this.#bytes.length + chunk.length);
    bytes.set(this.#bytes);
    bytes.set(chunk, this.#bytes.length);
    this.#bytes = bytes;
    if (this.#state === "requested") return MORE;
    return this.#state === "greeting" ? this.#greeting() : this.#request();
  }

  /** What came behind the request so far: the beginning of the client's bytes. */
  get rest(): Uint8Array {
    return this.#bytes;
  }

  #greeting(): Socks5Event {
    const bytes = this.#bytes;
    if (bytes.length > 0 && bytes[0] !== VERSION) return refuse(`version ${bytes[0]}`);
    if (bytes.length < 2) return MORE;
    const end = 2 + (bytes[1] as number);
    if (bytes.length < end) return MORE;
    if (!bytes.subarray(2, end).includes(NO_AUTHENTICATION)) return refuse("no acceptable authentication method");
    this.#bytes = bytes.subarray(end);
    this.#state = "request";
    return { kind: "reply", bytes: new Uint8Array([VERSION, NO_AUTHENTICATION]) };
  }

  #request(): Socks5Event {
    const bytes = this.#bytes;
    if (bytes.length > 0 && bytes[0] !== VERSION) return refuse(`version ${bytes[0]}`);
    if (bytes.length > 1 && bytes[1] !== COMMAND_CONNECT) return refuse(`command ${bytes[1]}`);
    if (bytes.length < 4) return MORE;
    const type = bytes[3];
    if (type === ADDRESS_DOMAIN) return this.#name(bytes);
    const length = type === ADDRESS_IPV4 ? 4 : type === ADDRESS_IPV6 ? 16 : 0;
    if (length === 0) return refuse(`address type ${type}`);
    const end = 4 + length + 2;
    if (bytes.length < end) return MORE;
    this.#requested(end);
    return {
      kind: "connect",
      destination: { ip: ipFromBytes(bytes.subarray(4, 4 + length)), port: portAt(bytes, end) },
    };
  }

  #name(bytes: Uint8Array): Socks5Event {
    if (bytes.length < 5) return MORE;
    const end = 5 + (bytes[4] as number) + 2;
    if (bytes.length < end) return MORE;
    this.#requested(end);
    const host = Buffer.from(bytes.subarray(5, end - 2)).toString("latin1");
    return { kind: "resolve", host, port: portAt(bytes, end) };
  }

  #requested(end: number): void {
    this.#state = "requested";
    this.#bytes = this.#bytes.subarray(end);
  }

  /** Bytes behind the greeting may hold the request already: ask again after a `reply`. */
  resume(): Socks5Event {
    return this.#bytes.length === 0 ? MORE : this.#request();
  }
}

/** The two bytes before `end`. */
function portAt(bytes: Uint8Array, end: number): number {
  return ((bytes[end - 2] as number) << 8) | (bytes[end - 1] as number);
}
