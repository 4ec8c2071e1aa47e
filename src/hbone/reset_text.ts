/** Error codes of RFC 9113 §7 in words, as they appear in the original's access log after `stream error received: `. */
const TEXTS: readonly string[] = [
  "not a result of an error",
  "unspecific protocol error detected",
  "unexpected internal error encountered",
  "flow-control protocol violated",
  "settings ACK not received in timely manner",
  "received frame when stream half-closed",
  "frame with invalid size",
  "refused stream before processing any application logic",
  "stream no longer needed",
  "unable to maintain the header compression context",
  "connection established in response to a CONNECT request was reset or abnormally closed",
  "detected excessive load generating behavior",
  "security properties do not meet minimum requirements",
  "endpoint requires HTTP/1.1",
];

export function http2ErrorText(code: number): string {
  return TEXTS[code] ?? `unknown reason ${code}`;
}

/** `error=` text of a stream that was reset. */
export function resetText(code: number, remote: boolean): string {
  return `h2 failed: stream error ${remote ? "received" : "detected"}: ${http2ErrorText(code)}`;
}
