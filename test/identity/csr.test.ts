import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "bun:test";
import { createCsr } from "../../src/identity/csr.ts";
import { CertificateError, encodePem, parseCertificate, parseIdentity } from "../../src/identity/mod.ts";
import { newKey } from "../../src/identity/issuance.ts";
import { ForgingCa, openssl } from "./forging_ca.ts";
import { derOf } from "./signing_service.ts";

const ID = "spiffe://cluster.local/ns/default/sa/web";
const forging = new ForgingCa();
afterAll(() => forging.remove());

async function csrFile(identity: string): Promise<string> {
  const path = join(forging.directory, `${crypto.randomUUID()}.csr`);
  writeFileSync(path, await createCsr(identity, await newKey()));
  return path;
}

/** What OpenSSL reads in a request, and what it says of its signature. */
function verify(path: string): { text: string; verdict: string } {
  const run = Bun.spawnSync(["openssl", "req", "-verify", "-noout", "-text", "-in", path]);
  return { text: run.stdout.toString(), verdict: run.stderr.toString() };
}

describe("a request", () => {
  test("is what OpenSSL takes for one, in the form that Istio's CA expects", async () => {
    const { text, verdict } = verify(await csrFile(ID));
    expect(verdict).toContain("self-signature verify OK");
    expect(text.replace(/^ +([0-9a-f]{2}:)+([0-9a-f]{2})?\n/gm, "").split("\n").map((line) => line.trim())).toEqual([
      "Certificate Request:",
      "Data:",
      "Version: 1 (0x0)",
      "Subject:",
      "Subject Public Key Info:",
      "Public Key Algorithm: id-ecPublicKey",
      "Public-Key: (256 bit)",
      "pub:",
      "ASN1 OID: prime256v1",
      "NIST CURVE: P-256",
      "Attributes:",
      "Requested Extensions:",
      "X509v3 Subject Alternative Name: critical",
      `URI:${ID}`,
      "Signature Algorithm: ecdsa-with-SHA256",
      "Signature Value:",
      "",
    ]);
  });

  test("proves that its sender has the key: OpenSSL sees that it was changed", async () => {
    const path = await csrFile(ID);
    const der = derOf(readFileSync(path, "utf8"));
    der.write("D", der.indexOf("default"));
    writeFileSync(path, encodePem("CERTIFICATE REQUEST", der));
    const { text, verdict } = verify(path);
    expect(text).toContain("URI:spiffe://cluster.local/ns/Default/sa/web");
    expect(verdict).toContain("self-signature verify failure");
  });

  test("carries the key that it was made for, and a CA can sign it", async () => {
    const key = await newKey();
    const path = join(forging.directory, "signed.csr");
    writeFileSync(path, await createCsr(ID, key));
    const root = join(forging.caDirectory, "root.pem");
    await forging.ca.rootPem();
    const signed = openssl(["x509", "-req", "-in", path, "-CA", root, "-CAkey", root, "-copy_extensions", "copy"]);
    const certificate = parseCertificate(derOf(signed));
    expect(certificate.uris).toEqual([ID]);
    expect([...certificate.publicKey]).toEqual([...key.publicKey]);
  });

  test("of the longest identity there may be", async () => {
    const start = "spiffe://cluster.local/ns/default/sa/";
    const longest = start + "a".repeat(2048 - start.length);
    const { text, verdict } = verify(await csrFile(longest));
    expect(verdict).toContain("self-signature verify OK");
    expect(text).toContain(`URI:${longest}\n`);
    await expect(createCsr(`${longest}a`, await newKey())).rejects.toThrow(
      "invalid spiffe identity: spiffe://cluster.local",
    );
  });
});

describe("hostile identities are refused, and shown so that they do no harm", () => {
  const table: [identity: string, shown: string][] = [
    ["", '""'],
    ["web", "web"],
    ["https://cluster.local/ns/default/sa/web", "https://cluster.local/ns/default/sa/web"],
    ["spiffe://cluster.local/ns/default", "spiffe://cluster.local/ns/default"],
    ["spiffe:///ns/default/sa/web", "spiffe:///ns/default/sa/web"],
    ["spiffe://cluster.local/ns/default/sa/../admin", "spiffe://cluster.local/ns/default/sa/../admin"],
    ["spiffe://cluster.local/ns/../sa/web", "spiffe://cluster.local/ns/../sa/web"],
    [
      `${ID},URI:spiffe://cluster.local/ns/kube-system/sa/admin`,
      `${ID},URI:spiffe://cluster.local/ns/kube-system/sa/admin`,
    ],
    [`${ID}?a`, `${ID}?a`],
    [`${ID}#a`, `${ID}#a`],
    [`${ID}%2f`, `${ID}%2f`],
    [`${ID}\0`, `"${ID}\\u0000"`],
    [`${ID}\nINFO all is well`, `"${ID}\\nINFO all is well"`],
    [`${ID}\x1b[2J`, `"${ID}\\u001b[2J"`],
    ["spiffe://clüster.local/ns/default/sa/web", '"spiffe://clüster.local/ns/default/sa/web"'],
    [`${ID}/${"a".repeat(5000)}`, `${ID}/${"a".repeat(256 - ID.length - 1)}…`],
  ];
  test.each(table.map((row, i) => [i, ...row] as const))("%i", async (_, identity, shown) => {
    expect(parseIdentity(identity)).toBeUndefined();
    const error = await createCsr(identity, await newKey()).then(() => undefined, (error: unknown) => error);
    expect(error).toBeInstanceOf(CertificateError);
    expect((error as Error).message).toBe(`invalid spiffe identity: ${shown}`);
  });
});
