import { Buffer } from "node:buffer";
import { X509Certificate } from "node:crypto";
import { afterAll, expect, test } from "bun:test";
import { element, sequence, TAG } from "../../src/identity/der.ts";
import { DerError, EmbeddedCa, parseCertificate } from "../../src/identity/mod.ts";
import { ForgingCa } from "./forging_ca.ts";

const ID = "spiffe://cluster.local/ns/default/sa/web";
const forging = new ForgingCa();
afterAll(() => forging.remove());

const derOf = (pem: string) => new X509Certificate(pem).raw;

test("reads the same as the runtime's parser, from our certificates and openssl's", async () => {
  const pems = [
    await forging.ca.rootPem(),
    (await forging.issue(ID)).chainPem,
    (await forging.forge([`subjectAltName = URI:${ID}`, "basicConstraints = CA:TRUE"])).chainPem,
    (await forging.forge(["basicConstraints = critical,CA:FALSE"])).chainPem,
  ];
  for (const pem of pems) {
    const [ours, theirs] = [parseCertificate(derOf(pem)), new X509Certificate(pem)];
    expect(ours.serialNumber).toBe(BigInt(`0x${theirs.serialNumber}`));
    expect(ours.notBefore).toBe(Date.parse(theirs.validFrom));
    expect(ours.notAfter).toBe(Date.parse(theirs.validTo));
    expect(ours.ca).toBe(theirs.ca);
    const point = Buffer.from(ours.publicKey).toString("hex");
    expect(theirs.publicKey.export({ type: "spki", format: "der" }).toString("hex")).toEndWith(point);
  }
  expect(pems.map((pem) => parseCertificate(derOf(pem)).ca)).toEqual([true, false, true, false]);
});

test("reads times on both sides of 2050", async () => {
  const now = () => Date.parse("2048-06-01T00:00:00Z");
  const ca = EmbeddedCa.open({ directory: `${forging.directory}/late`, trustDomain: "t", now });
  const root = parseCertificate(derOf(await ca.rootPem()));
  expect(new Date(root.notBefore).toISOString()).toBe("2048-05-31T23:58:00.000Z");
  expect(new Date(root.notAfter).toISOString()).toBe("2058-05-30T00:00:00.000Z");
});

test("answers damaged bytes with a certificate or a DerError, nothing else", async () => {
  const der = derOf((await forging.issue(ID)).chainPem);
  const outcome = (bytes: Uint8Array) => {
    try {
      const { notAfter } = parseCertificate(bytes);
      return Number.isFinite(notAfter);
    } catch (error) {
      return error instanceof DerError;
    }
  };
  for (let length = 0; length < der.length; length++) {
    expect(() => parseCertificate(der.subarray(0, length))).toThrow(DerError);
  }
  for (let at = 0; at < der.length; at++) {
    for (const flip of [0x01, 0x20, 0x80, 0xff]) {
      const damaged = Uint8Array.from(der);
      damaged[at] = (damaged[at] ?? 0) ^ flip;
      expect(outcome(damaged)).toBe(true);
    }
  }
});

test("a serial number of any size is not worked on, and an error shows no more of a time than its beginning", () => {
  const time = element(TAG.utcTime, Buffer.from("260101000000Z"));
  const key = sequence(sequence(), element(TAG.bitString, Uint8Array.of(0, 4)));
  const certificate = (serial: Uint8Array, begin = time) => {
    const parts = [element(TAG.integer, serial), sequence(), sequence(), sequence(begin, time), sequence(), key];
    return sequence(sequence(...parts));
  };
  expect(parseCertificate(certificate(Uint8Array.of(7))).serialNumber).toBe(7n);
  expect(parseCertificate(certificate(new Uint8Array(64).fill(1))).notAfter).toBeGreaterThan(0);
  expect(() => parseCertificate(certificate(new Uint8Array(50_000).fill(1)))).toThrow("serial number of 50000 octets");
  const long = certificate(Uint8Array.of(7), element(TAG.utcTime, new Uint8Array(50_000).fill(0x41)));
  expect(() => parseCertificate(long)).toThrow(new DerError(`time "${"A".repeat(32)}…"`));
});
