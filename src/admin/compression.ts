import type { Buffer } from "node:buffer";

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
    if (name !== "" && quality >= 0 && quality <= 1) found.set(name, quality);
  }
  return found;
}

/** The coding the client likes best among ours; `identity` when it names none of them. */
export function preferredEncoding(header: string): Encoding {
  const wanted = qualities(header);
  let best: Encoding = "identity";
  let bestQuality = 0;
  for (const encoding of ENCODINGS) {
    const quality = wanted.get(encoding) ?? wanted.get("*") ?? 0;
    if (quality > bestQuality) [best, bestQuality] = [encoding, quality];
  }
  return best;
}

type Compressor = (done: (error: Error | null, compressed: Buffer) => void) => void;

/** Compresses off the event loop. */
export async function compress(encoding: Exclude<Encoding, "identity">, body: Buffer): Promise<Buffer> {
  // A static import would be hoisted to the top of the bundle, and cost idle processes its memory.
  const zlib = await import("node:zlib");
  const compressors: Record<typeof encoding, Compressor> = {
    zstd: (done) => zlib.zstdCompress(body, done),
    br: (done) =>
      zlib.brotliCompress(body, { params: { [zlib.constants.BROTLI_PARAM_QUALITY]: BROTLI_QUALITY } }, done),
    gzip: (done) => zlib.gzip(body, done),
    deflate: (done) => zlib.deflate(body, done),
  };
  return await new Promise((resolve, reject) => {
    compressors[encoding]((error, compressed) => error === null ? resolve(compressed) : reject(error));
  });
}
