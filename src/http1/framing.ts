import { fieldOf, type RequestHead } from "../http/message.ts";
import type { HeaderList } from "../http2/mod.ts";

/**
 * How an encoder marks the content of a message it sends:
 * - `none`: no content, and nothing is added that says so (1xx, 204, 304, HEAD with a length; requests such as GET);
 * - `unsaid`: a response to HEAD that does not know the length: Transfer-Encoding says that GET would bring chunks;
 * - `empty`: no content; `content-length: 0` says it;
 * - `length`: the fields hold the Content-Length;
 * - `chunked`: Transfer-Encoding is added, a Content-Length left out;
 * - `close`: a response whose end is the end of the connection;
 * - `raw`: 101, or 2xx to CONNECT: octets follow.
 */
export type SentBody = "none" | "unsaid" | "empty" | "length" | "chunked" | "close" | "raw";

/** Methods whose requests say nothing where they have no content, as Envoy sends them; others say `content-length: 0`. */
const BODYLESS: ReadonlySet<string> = new Set(["GET", "HEAD", "DELETE", "TRACE", "CONNECT"]);

/**
 * Framing of a request to be sent over HTTP/1.1 (RFC 9112 §6.3, RFC 9110 §8.6). `endStream`: it has no content. An
 * upgrade has none either, whatever follows it.
 */
export function requestBody(head: RequestHead, endStream: boolean): SentBody {
  const { method, fields } = head;
  if (method === "CONNECT" || head.upgrade !== undefined) return "raw";
  const declared = fieldOf(fields, "content-length");
  if (!endStream) return declared === undefined ? "chunked" : "length";
  // A server would wait for the content that a stray Content-Length promises: `empty` replaces it.
  if (declared !== undefined) return "empty";
  return BODYLESS.has(method) ? "none" : "empty";
}

/**
 * Framing of a response (RFC 9112 §6.3). `method` is the request's, `http10` says that its client speaks HTTP/1.0 and
 * knows no chunks. For HEAD and 304 a Content-Length among the fields tells of the content that is not sent, and stays.
 */
export function responseBody(
  status: number,
  fields: HeaderList,
  method: string,
  http10: boolean,
  endStream: boolean,
): SentBody {
  if (status === 101 || (method === "CONNECT" && status >= 200 && status < 300)) return "raw";
  if (status < 200 || status === 204 || status === 304) return "none";
  if (method === "HEAD") return http10 || fieldOf(fields, "content-length") !== undefined ? "none" : "unsaid";
  if (endStream) return "empty";
  if (fieldOf(fields, "content-length") !== undefined) return "length";
  return http10 ? "close" : "chunked";
}
