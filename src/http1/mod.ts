/** HTTP/1 (RFC 9112) without I/O, for both roles. */
import { RequestReader } from "./request_reader.ts";
import { ResponseReader } from "./response_reader.ts";
import type {
  Http1RequestParser,
  Http1ResponseParser,
  RequestParserOptions,
  RequestSink,
  ResponseParserOptions,
  ResponseSink,
} from "./types.ts";

/** A server's side of a connection. */
export const RequestParser: new (options: RequestParserOptions, sink: RequestSink) => Http1RequestParser =
  RequestReader;
export type RequestParser = Http1RequestParser;

/** A client's side of a connection. */
export const ResponseParser: new (options: ResponseParserOptions, sink: ResponseSink) => Http1ResponseParser =
  ResponseReader;
export type ResponseParser = Http1ResponseParser;

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
  RequestParserOptions,
  RequestSink,
  ResponseParserOptions,
  ResponseSink,
} from "./types.ts";
export { hostFieldProblem } from "./target.ts";
