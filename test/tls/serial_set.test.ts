import { Buffer } from "node:buffer";
import { expect, test } from "bun:test";
import { serialKey, SerialSet } from "../../src/tls/serial_set.ts";

/** Serials as DER INTEGERs one after another, and the offsets of their contents. */
function lay(serials: readonly string[]): { bytes: Uint8Array; offsets: number[] } {
  const parts: number[] = [];
  const offsets: number[] = [];
  for (const hex of serials) {
    const octets = [...Buffer.from(hex, "hex")];
    const signed = (octets[0] ?? 0) >= 0x80 ? [0, ...octets] : octets;
    parts.push(2, signed.length);
    offsets.push(parts.length);
    parts.push(...signed);
  }
  return { bytes: Uint8Array.from(parts), offsets };
}

function setOf(serials: readonly string[]): SerialSet {
  const { bytes, offsets } = lay(serials);
  const set = new SerialSet(bytes, serials.length);
  for (const offset of offsets) set.add(offset);
  return set;
}

test("says what is in it and nothing else, however serials count or collide", () => {
  const serials: string[] = [];
  for (let i = 0; i < 3000; i++) serials.push((i * 2 + 1).toString(16).padStart(6, "0"));
  for (let i = 0; i < 3000; i++) serials.push(Buffer.from(crypto.getRandomValues(new Uint8Array(20))).toString("hex"));
  const set = setOf(serials);
  expect(set.size).toBe(6000);
  for (const serial of serials) expect(set.has(serialKey(serial))).toBe(true);
  for (let i = 0; i < 3000; i++) expect(set.has(serialKey((i * 2).toString(16)))).toBe(false);
});

test("serials are numbers: leading zeros do not count, and zero is one", () => {
  const set = setOf(["80", "0001", "00"]);
  for (const hex of ["80", "0080", "1", "01", "000001", "0", "00"]) expect(set.has(serialKey(hex))).toBe(true);
  for (const hex of ["8000", "2", "7f"]) expect(set.has(serialKey(hex))).toBe(false);
});

test("an empty one has nothing", () => {
  expect(new SerialSet(new Uint8Array(0), 0).has(serialKey("1"))).toBe(false);
});
