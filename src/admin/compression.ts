/** Content codings in order of preference among those a client likes equally: the cheapest for their size first. */
const ENCODINGS = ["zstd", "br", "gzip", "deflate"] as const;
export type Encoding = (typeof ENCODINGS)[number] | "identity";

/** Brotli's own default takes seconds for what a node's metrics can be. */
const BROTLI_QUALITY = 4;

/** Quality values by coding of an Accept-Encoding header (RFC 9110 §12.5.3). Malformed items are ignored. */
function qualities(header: string): Map<string, number> {
  const found = new Map<string, number>();
  for (const item of header.split(",")) {
    const [name = "", ...parameters] = item.split(";").map((part) => part.trim().toLowerCase());
    const weight = parameters.find((parameter) => parameter.startsWith("q="));
    const quality = weight === undefined ? 1 : Number(weight.slice(2));
    if (name !== "" && quality >= 0 && quality <= 1) found.set(name === "x-gzip" ? "gzip" : name, quality);
  }
  return found;
}

/**
 * The coding the client likes best among ours; `identity` when it likes none of them, or that one better. Where it
 * accepts nothing that we have, not even `identity`, it is answered all the same: what asks here wants metrics.
 */
export function preferredEncoding(header: string): Encoding {
  const wanted = qualities(header);
  let best: Encoding = "identity";
  let bestQuality = 0;
  const identity = wanted.get("identity") ?? 0;
  for (const encoding of ENCODINGS) {
    const quality = wanted.get(encoding) ?? wanted.get("*") ?? 0;
    if (quality > bestQuality) [best, bestQuality] = [encoding, quality];
  }
  return identity > bestQuality ? "identity" : best;
}

/** The runtime's names of our codings. */
const FORMATS = { zstd: "zstd", br: "brotli", gzip: "gzip", deflate: "deflate" } as const;

/** The body in a coding. */
export function compress<T extends ReadableStream<Uint8Array<ArrayBuffer>>>(
  encoding: Encoding,
  body: T,
): ReadableStream {
  if (encoding === "identity") return body;
  return body.pipeThrough(new CompressionStream(FORMATS[encoding], encoding === "br" ? { level: BROTLI_QUALITY } : {}));
}
