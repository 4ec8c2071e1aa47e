/** What one peer may make a parser hold or read through. */
export interface Http1Limits {
  /** Octets of a header section with its first line; a trailer section may be as large. */
  readonly maxHeaderBytes: number;
  /** Fields of a header section, and of a trailer section. */
  readonly maxHeaderCount: number;
  /** Octets of all chunk extensions of one message, which are read and of no use (RFC 9112 §7.1.1). */
  readonly maxChunkExtensionBytes: number;
  /** Octets that may wait behind a finished message. Credit held back by the caller bounds them long before this. */
  readonly maxHeldBytes: number;
}

/** Envoy's `max_request_headers_kb` 60 and `max_headers_count` 100. */
export const REQUEST_LIMITS: Http1Limits = {
  maxHeaderBytes: 60 << 10,
  maxHeaderCount: 100,
  maxChunkExtensionBytes: 16 << 10,
  maxHeldBytes: 8 << 20, // twice the receive window of a stream inside a tunnel
};

/** As for requests; Envoy takes 80 KiB of response headers over HTTP/1. */
export const RESPONSE_LIMITS: Http1Limits = { ...REQUEST_LIMITS, maxHeaderBytes: 80 << 10 };
