import type { RequestHead } from "../http/message.ts";
import { reasonPhrase } from "./reason.ts";
import type { Http1Error } from "./types.ts";

/** Envoy's response code details of what its HTTP/1 codec and its connection manager refuse. */
export const Details = {
  CODEC_ERROR: "http1.codec_error",
  HEADERS_TOO_LARGE: "http1.headers_too_large",
  TOO_MANY_HEADERS: "http1.too_many_headers",
  INVALID_CHARACTERS: "http1.invalid_characters",
  INVALID_URL: "http1.invalid_url",
  INVALID_TRANSFER_ENCODING: "http1.invalid_transfer_encoding",
  LENGTH_AND_CHUNKED: "http1.content_length_and_chunked_not_allowed",
  LENGTH_NOT_ALLOWED: "http1.content_length_not_allowed",
  TRANSFER_ENCODING_NOT_ALLOWED: "http1.transfer_encoding_not_allowed",
  BODY_DISALLOWED: "http1.body_disallowed",
  CONNECTION_REJECTED: "http1.connection_header_rejected",
  INVALID_AUTHORITY: "http.invalid_authority",
  MISSING_HOST: "missing_host_header",
  LOW_VERSION: "low_version",
} as const;

/** Something that is wrong, before it is known whose message it is. `status` is what a server answers. */
export interface Problem {
  readonly status: number;
  readonly details: string;
  readonly problem: string;
}

export function problem(status: number, details: string, text: string): Problem {
  return { status, details, problem: text };
}

export function requestError(found: Problem, head?: RequestHead): Http1Error {
  // What Envoy's connection manager finds, not its codec, is answered without a body.
  return { ...found, text: found.details === Details.MISSING_HOST ? "" : reasonPhrase(found.status), head };
}

export function responseError(found: Problem): Http1Error {
  return { status: 502, details: found.details, text: reasonPhrase(502), problem: found.problem };
}
