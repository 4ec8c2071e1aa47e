/** Reads the PROXY protocol, version 2 (HAProxy's specification §2.2), as a peer of ours must: strictly. Bytes in, a header out. */
import { readIp, type SocketAddress } from "../../src/net/address.ts";
import { SIGNATURE, TLV_HEADER, V2_HEADER } from "../../src/net/proxy_protocol.ts";

/** Bytes after the fixed part that are read unless more are allowed: two addresses and a long identity. */
const DEFAULT_LIMIT = 4096;
const TLV_CRC32C = 0x03;
const FAMILIES = ["unspecified", "IPv4", "IPv6", "unix"] as const;
const TRANSPORTS = ["unspecified", "stream", "datagram"] as const;
/** Bytes of the addresses of a family. */
const BLOCKS: readonly number[] = [0, 12, 36, 216];
const HEX = (byte: number) => `0x${byte.toString(16).padStart(2, "0")}`;

/** A type-length-value of the header (§2.2.1 and on); `value` is a view of the header's bytes. */
export interface ProxyValue {
  readonly type: number;
  readonly value: Uint8Array;
}

export interface ProxyHeader {
  /** LOCAL: the connection is the sender's own; it has no addresses and no values. */
  readonly command: "LOCAL" | "PROXY";
  readonly family: typeof FAMILIES[number];
  readonly transport: typeof TRANSPORTS[number];
  /** undefined when the family is not of IP. */
  readonly source: SocketAddress | undefined;
  readonly destination: SocketAddress | undefined;
  readonly values: readonly ProxyValue[];
}

export type ProxyHeaderResult =
  /** `rest`: what came after the header, a view of the last piece. */
  | { readonly ok: true; readonly header: ProxyHeader; readonly rest: Uint8Array }
  /** Which byte or value is wrong; the connection is of no use. */
  | { readonly ok: false; readonly error: string };

/** Reads one header from pieces of any size. Of no more use after it has answered. */
export class ProxyHeaderDecoder {
  readonly #limit: number;
  #bytes: Uint8Array = new Uint8Array(V2_HEADER);
  #length = 0;
  /** Bytes of the whole header, as far as they are known. */
  #total = V2_HEADER;

  /** @param limit bytes after the fixed part at most, up to 65535 */
  constructor(limit: number = DEFAULT_LIMIT) {
    this.#limit = limit;
  }

  /** Takes a piece; undefined: more is needed. What cannot become a header is refused at its first wrong byte. */
  push(chunk: Uint8Array): ProxyHeaderResult | undefined {
    let at = 0;
    while (at < chunk.length && this.#length < this.#total) {
      const take = Math.min(chunk.length - at, this.#total - this.#length);
      this.#bytes.set(chunk.subarray(at, at + take), this.#length);
      const from = this.#length;
      this.#length += take;
      at += take;
      if (from >= V2_HEADER) continue;
      const error = this.#checkFixed(from);
      if (error !== "") return { ok: false, error };
    }
    return this.#length < this.#total ? undefined : this.#read(chunk.subarray(at));
  }

  /** What is wrong when no more bytes come; "" when none had come at all. */
  end(): string {
    if (this.#length === 0) return "";
    return `the connection ended after ${this.#length} of ${
      this.#length < V2_HEADER ? `at least ${V2_HEADER}` : this.#total
    } bytes of the header`;
  }

  /** Checks what came of the fixed part, from an offset on; once it is whole, makes room for the rest. */
  #checkFixed(from: number): string {
    const bytes = this.#bytes;
    for (let i = from; i < this.#length && i < V2_HEADER; i++) {
      const byte = bytes[i]!;
      if (i < SIGNATURE.length) {
        if (byte !== SIGNATURE[i]) return `byte ${i} is ${HEX(byte)}, not the ${HEX(SIGNATURE[i]!)} of the signature`;
      } else if (i === 12) {
        if (byte >>> 4 !== 2) return `version ${byte >>> 4}, not 2`;
        if ((byte & 15) > 1) return `unknown command ${byte & 15}`;
      } else if (i === 13) {
        const family = byte >>> 4;
        const transport = byte & 15;
        if (family >= FAMILIES.length) return `unknown address family ${family}`;
        if (transport >= TRANSPORTS.length) return `unknown transport ${transport}`;
        // 0x01 is nobody's according to the specification; ztunnel sends it (spec/ztunnel.md §6.6).
        if (family !== 0 && transport === 0) return `address family ${FAMILIES[family]} without a transport`;
      }
    }
    if (this.#length < V2_HEADER) return "";
    const length = (bytes[14]! << 8) | bytes[15]!;
    const family = bytes[13]! >>> 4;
    if (length > this.#limit) return `${length} bytes after the fixed part, ${this.#limit} at most`;
    if (this.#command === "PROXY" && length < BLOCKS[family]!) {
      return `${length} bytes are too few for addresses of family ${FAMILIES[family]}, which take ${BLOCKS[family]}`;
    }
    const whole = new Uint8Array(V2_HEADER + length);
    whole.set(bytes.subarray(0, V2_HEADER));
    this.#bytes = whole;
    this.#total = whole.length;
    return "";
  }

  get #command(): "LOCAL" | "PROXY" {
    return (this.#bytes[12]! & 15) === 0 ? "LOCAL" : "PROXY";
  }

  #read(rest: Uint8Array): ProxyHeaderResult {
    const bytes = this.#bytes;
    const family = bytes[13]! >>> 4;
    const facts = {
      command: this.#command,
      family: FAMILIES[family]!,
      transport: TRANSPORTS[bytes[13]! & 15]!,
      source: undefined,
      destination: undefined,
    };
    // What LOCAL carries is to be skipped (§2.2).
    if (facts.command === "LOCAL") return { ok: true, header: { ...facts, values: [] }, rest };
    const values = this.#values(V2_HEADER + BLOCKS[family]!);
    if (typeof values === "string") return { ok: false, error: values };
    if (family !== 1 && family !== 2) return { ok: true, header: { ...facts, values }, rest };
    const size = family === 1 ? 4 : 16;
    const ports = V2_HEADER + 2 * size;
    const address = (which: 0 | 1): SocketAddress => ({
      ip: readIp(bytes, V2_HEADER + which * size, size),
      port: (bytes[ports + 2 * which]! << 8) | bytes[ports + 2 * which + 1]!,
    });
    return { ok: true, header: { ...facts, source: address(0), destination: address(1), values }, rest };
  }

  #values(from: number): ProxyValue[] | string {
    const bytes = this.#bytes;
    const values: ProxyValue[] = [];
    for (let at = from; at < bytes.length;) {
      if (bytes.length - at < TLV_HEADER) return `the value at byte ${at} is cut off in its header`;
      const type = bytes[at]!;
      const length = (bytes[at + 1]! << 8) | bytes[at + 2]!;
      const start = at + TLV_HEADER;
      if (start + length > bytes.length) {
        return `the value of type ${HEX(type)} at byte ${at} has ${bytes.length - start} of its ${length} bytes`;
      }
      if (type === TLV_CRC32C) {
        if (length !== 4) return `a checksum of ${length} bytes, not 4`;
        if (!this.#checksumHolds(start)) return "the checksum is wrong";
      }
      values.push({ type, value: bytes.subarray(start, start + length) });
      at = start + length;
    }
    return values;
  }

  /** CRC32c of the whole header with zeros in the place of the checksum at `place` (§2.2.3). */
  #checksumHolds(place: number): boolean {
    const bytes = this.#bytes;
    let crc = 0xffffffff;
    for (let i = 0; i < bytes.length; i++) {
      crc ^= i >= place && i < place + 4 ? 0 : bytes[i]!;
      for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (0x82f63b78 & -(crc & 1));
    }
    const given = (bytes[place]! << 24) | (bytes[place + 1]! << 16) | (bytes[place + 2]! << 8) | bytes[place + 3]!;
    return (~crc | 0) === given;
  }
}
