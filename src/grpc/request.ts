import type { HeaderList } from "../http2/mod.ts";

/** Field names that HTTP/2 allows and that are free for metadata. */
const NAME = /^[0-9a-z!#$%&'*+.^_`|~-]+$/;
const VALUE = /^[\x20-\x7e\x80-\xff\t]*$/;
/** What the protocol itself says. */
const OWN: readonly string[] = ["te", "content-type", "connection", "host", "transfer-encoding"];

/**
 * Headers of a call, those of the original and no others (spec/ztunnel.md §3.1). Throws Error for metadata that HTTP does
 * not allow; values may be secret, so the error does not show them.
 */
export function requestHeaders(authority: string, path: string, metadata: HeaderList): HeaderList {
  const headers: HeaderList = [
    [":method", "POST"],
    [":scheme", "https"],
    [":authority", authority],
    [":path", path],
    ["te", "trailers"],
    ["content-type", "application/grpc"],
  ];
  for (const [name, value] of metadata) {
    const problem = metadataProblem(name, value);
    if (problem !== undefined) throw new Error(problem);
    headers.push([name, value]);
  }
  return headers;
}

/** What is wrong with a piece of metadata; undefined: nothing. The value may be secret, so it is not shown. */
export function metadataProblem(name: string, value: string): string | undefined {
  if (!NAME.test(name) || OWN.includes(name) || name.startsWith("grpc-")) {
    return `${JSON.stringify(name)} is no name for metadata`;
  }
  if (!VALUE.test(value) || value !== value.trim()) {
    return `the value of ${name} has characters that a header may not have there`;
  }
  return undefined;
}
