/** HTTP/1 (RFC 9112) without I/O, for both roles. */
export {
  CHUNK_TAIL,
  encodeChunkHead,
  EncodeError,
  encodeLastChunk,
  encodeRequestHead,
  encodeResponseHead,
} from "./encode.ts";
export type { ConnectionOption } from "./encode.ts";
export { requestBody, responseBody } from "./framing.ts";
export type { SentBody } from "./framing.ts";
export { REQUEST_LIMITS, RESPONSE_LIMITS } from "./limits.ts";
export type { Http1Limits } from "./limits.ts";
export { reasonPhrase } from "./reason.ts";
export type {
  BodyKind,
  EofState,
  Framing,
  Http1Error,
  Http1RequestParser,
  Http1ResponseParser,
  RequestParserOptions,
  RequestSink,
  ResponseParserOptions,
  ResponseSink,
} from "./types.ts";
