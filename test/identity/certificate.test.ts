import { X509Certificate } from "node:crypto";
import { afterAll, describe, expect, test } from "bun:test";
import { parseCertificate, sameSigner, type WorkloadCertificate } from "../../src/identity/mod.ts";
import { ForgingCa } from "./forging_ca.ts";

const ID = "spiffe://cluster.local/ns/default/sa/web";
const forging = new ForgingCa();
afterAll(() => forging.remove());

/** URI names of a certificate that openssl signed with these extension lines. */
async function urisOf(...extensions: string[]): Promise<readonly string[]> {
  return parseCertificate(new X509Certificate((await forging.forge(extensions)).chainPem).raw).uris;
}

describe("URI names", () => {
  test("finds one, several among other kinds, none", async () => {
    expect(await urisOf(`subjectAltName = URI:${ID}`)).toEqual([ID]);
    expect(
      await urisOf("keyUsage = digitalSignature", `subjectAltName = critical,DNS:a.b,URI:${ID},IP:10.0.0.1,URI:x:y`),
    )
      .toEqual([ID, "x:y"]);
    expect(await urisOf("subjectAltName = DNS:a.b")).toEqual([]);
    expect(await urisOf("keyUsage = digitalSignature")).toEqual([]);
  });

  test("takes a name with separators and quotes in it for one name", async () => {
    const section = ["subjectAltName = @names", "[names]"];
    for (const name of [`spiffe://evil/ns/a/sa/b, URI:${ID}`, `"${ID}"`, `${ID}\\, URI:${ID}`]) {
      expect(await urisOf(...section, `URI.1 = "${name.replaceAll('"', '\\"')}"`)).toHaveLength(1);
      expect(await urisOf(...section, `URI.1 = "${name.replaceAll('"', '\\"')}"`)).not.toContain(ID);
    }
  });

  test("does not take a SPIFFE id in a DNS or e-mail name for one", async () => {
    expect(await urisOf(`subjectAltName = DNS:${ID}`)).toEqual([]);
    expect(await urisOf(`subjectAltName = email:${ID}`)).toEqual([]);
  });
});

describe("the signer of a certificate", () => {
  const of = (leaf: string, above: readonly string[]) => {
    const certificates = [leaf, ...above].map((pem) => ({ pem, serialNumber: "1", notBefore: 0, notAfter: 1 }));
    return { certificates } as unknown as WorkloadCertificate;
  };

  test("is the same for a renewal, another with another intermediate", () => {
    const certificate = of("leaf", ["intermediate"]);
    expect(sameSigner(certificate, of("renewed", ["intermediate"]))).toBe(true);
    expect(sameSigner(certificate, of("renewed", ["other"]))).toBe(false);
    expect(sameSigner(certificate, of("renewed", []))).toBe(false);
  });
});
