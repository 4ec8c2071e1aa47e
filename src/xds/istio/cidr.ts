/** Addresses and ranges as their bytes on the wire, to the canonical texts of our records. */
import { ipFromBytes, isIpv4, parseCidr } from "../../net/address.ts";
import { BadField } from "../wire.ts";

/** Throws BadField where the bytes are no IP address; none at all are none. */
export function ipOf(bytes: Uint8Array | undefined, path: string): string {
  const length = bytes?.length ?? 0;
  if (bytes === undefined || (length !== 4 && length !== 16)) throw notAnIp(length, path);
  return ipFromBytes(bytes);
}

/** So many bytes are no IP address. */
export function notAnIp(length: number, path: string): BadField {
  return new BadField(path, `${length} bytes, but an IP address has 4 or 16`);
}

/** Prefix length of a single address, in the family of its bytes. */
export function fullLength(bytes: Uint8Array | undefined): number {
  return (bytes?.length ?? 0) * 8;
}

/** `10.1.0.0/16`, host bits cleared. Throws BadField where the length is more than the address has, or it is none. */
export function rangeOf(bytes: Uint8Array | undefined, length: number, path: string): string {
  const ip = ipOf(bytes, path);
  // The text of an IPv4-mapped address is IPv4, its prefix length is not.
  const mapped = bytes?.length === 16 && isIpv4(ip);
  const range = parseCidr(`${mapped ? "::ffff:" : ""}${ip}/${length}`);
  if (range === undefined) throw new BadField(path, `${ip} has no prefix of ${length} bits`);
  return range.text;
}
