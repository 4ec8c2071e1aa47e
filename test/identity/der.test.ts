import { Buffer } from "node:buffer";
import { describe, expect, test } from "bun:test";
import {
  DerError,
  DerReader,
  element,
  objectIdentifier,
  OID,
  sequence,
  TAG,
  time,
  unsignedInteger,
} from "../../src/identity/der.ts";

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
const bytes = (text: string) => Uint8Array.from(Buffer.from(text, "hex"));

describe("writing DER", () => {
  test("object identifiers", () => {
    expect(hex(objectIdentifier(OID.ecdsaWithSha256))).toBe("06082a8648ce3d040302");
    expect(hex(objectIdentifier(OID.subjectAltName))).toBe("0603551d11");
  });

  test("integers are the shortest form and stay positive", () => {
    expect(hex(unsignedInteger(bytes("00")))).toBe("020100");
    expect(hex(unsignedInteger(bytes("0000007f")))).toBe("02017f");
    expect(hex(unsignedInteger(bytes("80")))).toBe("02020080");
    expect(hex(unsignedInteger(bytes("00ff01")))).toBe("020300ff01");
  });

  test("lengths in one, two and three bytes", () => {
    expect(hex(element(4, new Uint8Array(127))).slice(0, 4)).toBe("047f");
    expect(hex(element(4, new Uint8Array(128))).slice(0, 6)).toBe("048180");
    expect(hex(element(4, new Uint8Array(256))).slice(0, 8)).toBe("04820100");
    expect(() => element(4, new Uint8Array(65536))).toThrow(RangeError);
  });

  test("time changes its form in 2050 (RFC 5280 §4.1.2.5)", () => {
    const text = (at: string) => Buffer.from(time(Date.parse(at))).toString("latin1");
    expect(text("2049-12-31T23:59:59.999Z")).toBe("\x17\x0d491231235959Z");
    expect(text("2050-01-01T00:00:00Z")).toBe("\x18\x0f20500101000000Z");
  });
});

describe("reading DER", () => {
  test("walks what was written", () => {
    const reader = new DerReader(sequence(objectIdentifier(OID.organizationName), unsignedInteger(bytes("05")))).enter(
      TAG.sequence,
    );
    expect(hex(reader.read(TAG.oid))).toBe("55040a");
    expect(reader.nextTag).toBe(TAG.integer);
    expect(hex(reader.read())).toBe("05");
    expect(reader.atEnd).toBe(true);
    expect(reader.nextTag).toBeUndefined();
  });

  for (
    const [what, input] of [
      ["nothing", ""],
      ["a tag alone", "30"],
      ["a length beyond the end", "3005020100"],
      ["a length without its bytes", "3082"],
      ["an indefinite length", "30800000"],
      ["a length of five bytes", "30850000000001"],
      ["another tag", "0201ff"],
    ] as const
  ) {
    test(`refuses ${what}`, () => expect(() => new DerReader(bytes(input)).read(TAG.sequence)).toThrow(DerError));
  }
});
