import { fieldOf, type RequestHead } from "../http/message.ts";
import type { HeaderList } from "../http2/mod.ts";

/**
 * How an encoder marks the content of a message it sends:
 * - `none`: no content, and nothing is added that says so (HEAD, 1xx, 204, 304; requests such as GET);
 * - `empty`: no content; `content-length: 0` says it;
 * - `length`: the fields hold the Content-Length;
 * - `chunked`: Transfer-Encoding is added, a Content-Length left out;
 * - `close`: a response whose end is the end of the connection;
 * - `raw`: 101, or 2xx to CONNECT: octets follow.
 */
export type SentBody = "none" | "empty" | "length" | "chunked" | "close" | "raw";

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
  return method === "POST" || method === "PUT" || method === "PATCH" ? "empty" : "none";
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
  if (status < 200 || status === 204 || status === 304 || method === "HEAD") return "none";
  if (endStream) return "empty";
  if (fieldOf(fields, "content-length") !== undefined) return "length";
  return http10 ? "close" : "chunked";
}
