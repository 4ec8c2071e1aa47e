import { Buffer } from "node:buffer";

/** bytes[start, end) as text of one UTF-16 unit for each octet. */
export function latin1(bytes: Uint8Array, start: number, end: number): string {
  return Buffer.prototype.latin1Slice.call(bytes as Buffer, start, end);
}
