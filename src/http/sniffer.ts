import type { Endpoint } from "../net/endpoint.ts";
import { FirstBytes } from "../net/first_bytes.ts";
import type { SniffedProtocol } from "./connection.ts";

export interface SnifferOptions {
  /** A client that has said nothing decisive for so long speaks `other`: it waits for its server. ms; default 5 s, 0: no limit. */
  readonly timeoutMs?: number;
  /** A request line is looked for in so many bytes; default 8 KiB. */
  readonly maxBytes?: number;
}

const DETECTION_TIMEOUT_MS = 5_000;
const MAX_BYTES = 8 << 10; // request lines beyond this are not found by Envoy's inspector either
const PREFACE = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"; // RFC 9113 §3.4
const VERSION = "HTTP/1.";
const TOKEN_MARKS = "!#$%&'*+-.^_`|~";
const MAX_METHOD = 64; // octets
const TAB = 9;
const LF = 10;
const CR = 13;
const SPACE = 32;
const ONE = 49;

/**
 * Tells the protocol of a client by its first bytes (spec/waypoint.md §1.6): the HTTP/2 preface, or a request line of
 * HTTP/1. A client that ends or stays silent speaks `other`.
 */
export class ProtocolSniffer extends FirstBytes<SniffedProtocol> {
  readonly #onDetected: (protocol: SniffedProtocol, sniffer: ProtocolSniffer) => Endpoint | undefined;
  readonly #maxBytes: number;

  /**
   * `onDetected` gives the endpoint to hand over to, or nothing: then bytes are held (their sender stops when its window
   * is used up) until `handOver` or `close`.
   */
  constructor(
    onDetected: (protocol: SniffedProtocol, sniffer: ProtocolSniffer) => Endpoint | undefined,
    options: SnifferOptions = {},
  ) {
    super(options.timeoutMs ?? DETECTION_TIMEOUT_MS);
    this.#onDetected = onDetected;
    this.#maxBytes = options.maxBytes ?? MAX_BYTES;
  }

  protected override look(): SniffedProtocol | undefined {
    const bytes = this.bytes();
    const size = bytes.length;
    let same = 0;
    while (same < size && same < PREFACE.length && bytes[same] === PREFACE.charCodeAt(same)) same++;
    if (same === PREFACE.length) return "h2c";
    if (same === size) return undefined;
    return requestLine(bytes) ?? (size >= this.#maxBytes ? "other" : undefined);
  }

  protected override lookNoMore(): SniffedProtocol {
    return "other";
  }

  protected override detected(protocol: SniffedProtocol): Endpoint | undefined {
    return this.#onDetected(protocol, this);
  }
}

/**
 * What the first line is. Lines that HTTP would refuse for their white space are HTTP still: they are to be answered with
 * 400, and not to get around HTTP's policies as plain bytes.
 */
function requestLine(bytes: Uint8Array): SniffedProtocol | undefined {
  let at = 0;
  while (at < bytes.length && (bytes[at] === CR || bytes[at] === LF)) at++; // RFC 9112 §2.2
  const start = at;
  while (at < bytes.length && isToken(bytes[at]!)) at++;
  if (at - start > MAX_METHOD) return "other";
  if (at === bytes.length) return undefined;
  if (at === start || (bytes[at] !== SPACE && bytes[at] !== TAB)) return "other";
  for (; at < bytes.length; at++) {
    const octet = bytes[at]!;
    if (octet === LF) return version(bytes, at);
    if (octet < SPACE && octet !== TAB && octet !== CR) return "other";
  }
  return undefined;
}

/** The version at the end of a line of which `end` is the LF. */
function version(bytes: Uint8Array, end: number): SniffedProtocol {
  let last = end - 1;
  while (last >= 0 && (bytes[last] === CR || bytes[last] === SPACE || bytes[last] === TAB)) last--;
  const first = last - VERSION.length;
  if (first < 1 || (bytes[first - 1] !== SPACE && bytes[first - 1] !== TAB)) return "other";
  for (let i = 0; i < VERSION.length; i++) if (bytes[first + i] !== VERSION.charCodeAt(i)) return "other";
  if (bytes[last] === ONE) return "http/1.1";
  return bytes[last] === ONE - 1 ? "http/1.0" : "other";
}

/** RFC 9110 §5.6.2 */
function isToken(octet: number): boolean {
  const lower = octet | 0x20;
  if (lower >= 97 && lower <= 122) return true;
  if (octet >= 48 && octet <= 57) return true;
  return octet > SPACE && octet < 127 && TOKEN_MARKS.includes(String.fromCharCode(octet));
}
