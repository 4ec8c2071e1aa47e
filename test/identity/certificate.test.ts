import { X509Certificate } from "node:crypto";
import { afterAll, describe, expect, test } from "bun:test";
import { parseCertificate, workloadCertificate } from "../../src/identity/mod.ts";
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

describe("workloadCertificate", () => {
  test("puts together a chain with an intermediate and several roots", async () => {
    const other = new ForgingCa();
    const root = await forging.ca.rootPem();
    const issued = await forging.issueBelowIntermediate(ID);
    const made = workloadCertificate(ID, issued.keyPem, issued.chainPem, root + (await other.ca.rootPem()));
    other.remove();
    expect(made.certificates.map((one) => one.serialNumber)).toEqual(["7", "7"]);
    expect(made.roots.length).toBe(2);
    expect(made.roots[0]?.pem).toBe(root);
    expect(made.notAfter - made.notBefore).toBe(24 * 3600_000);
    expect(Math.abs(made.notBefore - Date.now())).toBeLessThan(60_000);
  });

  test("says the same of a certificate as the CA that issued it", async () => {
    const issued = await forging.issue(ID);
    expect(workloadCertificate(ID, issued.keyPem, issued.chainPem, issued.rootsPem)).toEqual(issued);
  });

  test("serial numbers are decimal", async () => {
    const { serialNumber, chainPem } = await forging.issue(ID);
    expect(BigInt(serialNumber).toString(16).toUpperCase()).toBe(new X509Certificate(chainPem).serialNumber);
  });

  test("refuses another identity, an empty chain, no roots, no certificate", async () => {
    const { keyPem, chainPem, rootsPem } = await forging.issue(ID);
    expect(() => workloadCertificate(`${ID}2`, keyPem, chainPem, rootsPem))
      .toThrow(`did not find expected SAN: ${ID}2, got ${ID}`);
    expect(() => workloadCertificate(ID, keyPem, "", rootsPem)).toThrow(`chain returned from CA is empty for: ${ID}`);
    expect(() => workloadCertificate(ID, keyPem, chainPem, "")).toThrow(`no root certificate returned from CA`);
    const garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    expect(() => workloadCertificate(ID, keyPem, garbage, rootsPem)).toThrow(`${ID}: certificate 0: not a certificate`);
  });
});
