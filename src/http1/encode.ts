import { Buffer } from "node:buffer";
import type { RequestHead, ResponseHead } from "../http/message.ts";
import type { HeaderList } from "../http2/mod.ts";
import type { SentBody } from "./framing.ts";
import { keepTrailers } from "./fields.ts";
import { reasonPhrase } from "./reason.ts";

/** A head that would not be read as it was meant. Whoever filled it did not check its parts: nothing may be sent. */
export class EncodeError extends Error {
  override readonly name = "EncodeError";
}

type Names = ReadonlyMap<string, string> | undefined;

const NUL = 0x00;
const LF = 0x0a;
const CR = 0x0d;

/** Lines of the text being built; one head is built at a time. */
let lines = 0;

/** One field, its name in the case it once came in. */
function line(name: string, value: string, names: Names): string {
  lines++;
  return (names === undefined ? name : names.get(name) ?? name) + ": " + value + "\r\n";
}

/**
 * Fields but those that this hop decides itself: Host, Connection and its kin, Transfer-Encoding; Content-Length where
 * the framing does not use it. Sorted out by length first, which spares ordinary fields the comparisons.
 */
function fieldLines(fields: HeaderList, names: Names, keepLength: boolean): string {
  let text = "";
  for (let i = 0; i < fields.length; i++) {
    const field = fields[i]!;
    const name = field[0];
    switch (name.length) {
      case 4:
        if (name === "host") continue;
        break;
      case 7:
        if (name === "upgrade") continue;
        break;
      case 10:
        if (name === "connection" || name === "keep-alive") continue;
        break;
      case 14:
        if (!keepLength && name === "content-length") continue;
        break;
      case 16:
        if (name === "proxy-connection") continue;
        break;
      case 17:
        if (name === "transfer-encoding") continue;
        break;
    }
    if (names === undefined) {
      lines++;
      text += name + ": " + field[1] + "\r\n";
    } else text += line(name, field[1], names);
  }
  return text;
}

function framingLine(body: SentBody, names: Names): string {
  if (body === "chunked" || body === "unsaid") return line("transfer-encoding", "chunked", names);
  if (body === "empty") return line("content-length", "0", names);
  return "";
}

/**
 * The octets of a text of `lines` lines. CR, LF and NUL are counted in what is really sent, so a value cannot end its
 * line by them, nor by a character that becomes one when it is cut to an octet.
 */
function octets(text: string, what: string): Buffer {
  const length = text.length;
  const bytes = Buffer.allocUnsafe(length);
  bytes.write(text, 0, length, "latin1");
  let ends = 0;
  for (let i = 0; i < length; i++) {
    const octet = bytes[i]!;
    if (octet <= CR && (octet === CR || octet === LF || octet === NUL)) ends++;
  }
  if (ends !== 2 * lines) throw new EncodeError(`CR, LF or NUL inside a line of ${what}`);
  return bytes;
}

/**
 * The head of an HTTP/1.1 request (RFC 9112 §3): its authority as target of CONNECT, else its path in origin-form or `*`.
 * Host comes first (RFC 9110 §7.2). Connection is made of `close` and the upgrade; TE is not named there, as Envoy sends it.
 *
 * `body` comes from `requestBody`. Throws EncodeError for parts that would break the message.
 */
export function encodeRequestHead(head: RequestHead, body: SentBody, close: boolean): Buffer {
  const names = head.originalNames;
  const upgrade = head.upgrade;
  const target = head.method === "CONNECT" ? head.authority : head.path;
  if (target === "" || target.includes(" ") || head.method.includes(" ")) {
    throw new EncodeError(`request line with an empty part or a space: ${JSON.stringify([head.method, target])}`);
  }
  lines = 2;
  let text = head.method + " " + target + " HTTP/1.1\r\n" + line("host", head.authority, names);
  // What asks for an upgrade has no content: a Content-Length there is 0.
  text += fieldLines(head.fields, names, body === "length" || body === "none" || upgrade !== undefined);
  text += framingLine(body, names);
  if (upgrade !== undefined) {
    const sent = head.upgradeFields;
    text += line("upgrade", sent?.upgrade ?? upgrade, names);
    const option = sent?.connection ?? "upgrade";
    text += line("connection", close ? `close, ${option}` : option, names);
  } else if (close) text += line("connection", "close", names);
  return octets(text + "\r\n", "a request head");
}

/**
 * What a response says of its connection: "" leaves it to the version's default, `keep-alive` is for a client of
 * HTTP/1.0 that asked for it.
 */
export type ConnectionOption = "" | "close" | "keep-alive";

/**
 * The head of a response, informational ones too (RFC 9112 §4). `http10`: the client speaks HTTP/1.0 and is answered so.
 * `body` comes from `responseBody`; with `close` the option is `close`, whatever was asked. Throws EncodeError for parts
 * that would break the message.
 */
export function encodeResponseHead(
  head: ResponseHead,
  body: SentBody,
  connection: ConnectionOption,
  http10 = false,
): Buffer {
  const names = head.originalNames;
  if (body === "chunked" && http10) throw new EncodeError("chunks for a client of HTTP/1.0");
  lines = 2;
  let text = (http10 ? "HTTP/1.0 " : "HTTP/1.1 ") + head.status + " " + reasonPhrase(head.status) + "\r\n";
  const keepLength = body === "length" || (body === "none" && head.status >= 200 && head.status !== 204);
  text += fieldLines(head.fields, names, keepLength);
  text += framingLine(body, names);
  if (head.status === 101) {
    if (head.upgrade === undefined) throw new EncodeError("status 101 without a protocol");
    text += line("upgrade", head.upgrade, names) + line("connection", "upgrade", names);
  } else if (body === "close" || connection === "close") {
    text += line("connection", "close", names);
  } else if (connection === "keep-alive") {
    text += line("connection", "keep-alive", names);
  }
  return octets(text + "\r\n", "a response head");
}

/** What goes before the octets of a chunk; CHUNK_TAIL goes behind them. `bytes` > 0: an empty chunk ends the message. */
export function encodeChunkHead(bytes: number): Buffer {
  if (bytes <= 0) throw new EncodeError("an empty chunk would end the message");
  return Buffer.from(bytes.toString(16) + "\r\n", "latin1");
}

export const CHUNK_TAIL: Uint8Array = Buffer.from("\r\n", "latin1");

const LAST_CHUNK: Uint8Array = Buffer.from("0\r\n\r\n", "latin1");

/**
 * The end of a chunked message (RFC 9112 §7.1.2), with trailers when there are some. Those that may not come late are
 * left out, as a reader of HTTP/1 here does: HTTP/2 lets them through. Throws EncodeError.
 */
export function encodeLastChunk(trailers?: HeaderList, names?: Names): Uint8Array {
  if (trailers === undefined || trailers.length === 0) return LAST_CHUNK;
  const kept = [...trailers];
  keepTrailers(kept);
  lines = 2;
  return octets("0\r\n" + fieldLines(kept, names, false) + "\r\n", "trailers");
}
