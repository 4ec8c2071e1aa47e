/** WebSocket between HTTP versions: HTTP/1 proves the upgrade by a key (RFC 6455 §4.2.2), HTTP/2 needs none (RFC 8441). */
import { fieldOf } from "./message.ts";
import type { HeaderList } from "../http2/mod.ts";

const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"; // RFC 6455 §1.3

/** What a server answers to the key of the request; undefined when it has none. */
export function websocketAccept(fields: HeaderList): string | undefined {
  const key = fieldOf(fields, "sec-websocket-key");
  if (key === undefined) return undefined;
  return new Bun.CryptoHasher("sha1").update(key + GUID).digest("base64");
}

/** A key for a request that came without one. */
export function websocketKey(): string {
  return crypto.getRandomValues(new Uint8Array(16)).toBase64();
}
