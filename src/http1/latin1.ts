import { Buffer } from "node:buffer";

/** bytes[start, end) as text of one UTF-16 unit for each octet. */
export function latin1(bytes: Uint8Array, start: number, end: number): string {
  return Buffer.prototype.latin1Slice.call(bytes as Buffer, start, end);
}

/** A text that shares nothing: a part of a head keeps the whole head in memory for as long as it lives. */
export function ownText(part: string): string {
  return latin1(Buffer.from(part, "latin1"), 0, part.length);
}
