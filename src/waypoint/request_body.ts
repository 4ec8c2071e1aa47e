/** What of a request was read and may have to be sent once more: kept within a limit. */
import type { HeaderList } from "../http2/mod.ts";

/** Bytes of a request that are kept for another try (Envoy: per_connection_buffer_limit_bytes). */
export const REPLAY_LIMIT: number = 1 << 20;
/** A chunk that is less than this share of the memory it lives in is copied rather than kept. */
const KEPT_SHARE = 4;

export class RequestBody {
  readonly chunks: Uint8Array[] = [];
  trailers: HeaderList | undefined = undefined;
  ended = false;
  bytes = 0;

  /** Keeps a chunk. False: it would be too much. */
  add(chunk: Uint8Array): boolean {
    if (this.bytes + chunk.length > REPLAY_LIMIT) return false;
    this.force(chunk);
    return true;
  }

  /** Keeps a chunk that has nowhere else to be; flow control bounds how much that can be. */
  force(chunk: Uint8Array): void {
    this.bytes += chunk.length;
    if (chunk.length === 0) return;
    this.chunks.push(chunk.length * KEPT_SHARE >= chunk.buffer.byteLength ? chunk : chunk.slice());
  }
}
