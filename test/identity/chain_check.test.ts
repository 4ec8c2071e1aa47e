/** Answers of a CA held against themselves, with chains that OpenSSL made. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ChainCheck } from "../../src/identity/chain_check.ts";
import { CertificateError, type WorkloadCertificate } from "../../src/identity/mod.ts";
import { hasSigned, signedCertificate } from "../../src/identity/signature.ts";
import { openssl } from "./forging_ca.ts";
import { derOf } from "./signing_service.ts";

const ID = "spiffe://cluster.local/ns/default/sa/web";
let directory: string;
beforeAll(() => void (directory = mkdtempSync(join(tmpdir(), "chain-check-"))));
afterAll(() => rmSync(directory, { recursive: true }));

const EC = (curve: string) => ["-algorithm", "EC", "-pkeyopt", `ec_paramgen_curve:${curve}`];
const RSA = ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"];

interface Made {
  readonly pem: string;
  readonly file: string;
  readonly key: string;
}
let count = 0;

/** A certificate signed by another's key, or by its own. */
function make(subject: string, key: readonly string[], by?: Made, digest: readonly string[] = []): Made {
  const base = join(directory, String(count++));
  const [keyFile, file, csr, extensions] = [`${base}.key`, `${base}.pem`, `${base}.csr`, `${base}.ext`];
  openssl(["genpkey", ...key, "-out", keyFile]);
  openssl(["req", "-new", "-key", keyFile, "-subj", subject, "-out", csr]);
  writeFileSync(extensions, "basicConstraints = critical,CA:TRUE\n");
  const signer = by === undefined ? ["-signkey", keyFile] : ["-CA", by.file, "-CAkey", by.key];
  const pem = openssl(["x509", "-req", "-in", csr, ...signer, ...digest, "-extfile", extensions, "-set_serial", "7"]);
  writeFileSync(file, pem);
  return { pem, file, key: keyFile };
}

function answer(certificates: readonly Made[], roots: readonly Made[]): WorkloadCertificate {
  const pems = (list: readonly Made[]) => list.map(({ pem }) => ({ pem }));
  const rootsPem = roots.map(({ pem }) => pem).join("");
  return {
    identity: ID,
    certificates: pems(certificates),
    roots: pems(roots),
    rootsPem,
  } as unknown as WorkloadCertificate;
}

async function verdict(certificates: readonly Made[], roots: readonly Made[], check = new ChainCheck()) {
  const error = await check.check(answer(certificates, roots)).then(() => undefined, (error: unknown) => error);
  if (error !== undefined) expect(error).toBeInstanceOf(CertificateError);
  return error === undefined ? "good" : (error as Error).message;
}

const BAD = `${ID}: the CA's certificate leads to none of the roots in its answer`;

test("leaf, intermediates and roots belong together by their signatures, in whatever order", async () => {
  const root = make("/O=root", EC("P-256"));
  // The same name, and another key.
  const impostor = make("/O=root", EC("P-256"));
  const upper = make("/O=upper", EC("P-384"), root);
  const lower = make("/O=lower", RSA, upper);
  const leaf = make("/O=leaf", EC("P-256"), lower);
  const check = new ChainCheck();
  expect(await verdict([leaf, lower, upper], [root], check)).toBe("good");
  expect(await verdict([leaf, upper, lower], [impostor, root], check)).toBe("good");
  expect(await verdict([leaf, lower, upper], [impostor], check)).toBe(BAD);
  expect(await verdict([leaf, lower], [root], check)).toBe(BAD);
  expect(await verdict([leaf], [root], check)).toBe(BAD);
  expect(await verdict([leaf, upper], [root], check)).toBe(BAD);
  expect(await verdict([leaf, lower], [upper], check)).toBe("good");
  expect(await verdict([leaf, lower, upper], [root], check)).toBe("good");
  expect(await verdict([make("/O=leaf", EC("P-256"), impostor), lower, upper], [root], check)).toBe(BAD);
});

describe("signatures", () => {
  const cases: [name: string, key: readonly string[], digest: readonly string[], told: boolean][] = [
    ["ECDSA P-256", EC("P-256"), ["-sha256"], true],
    ["ECDSA P-384", EC("P-384"), ["-sha384"], true],
    ["ECDSA P-384 with SHA-256", EC("P-384"), ["-sha256"], true],
    ["RSA, SHA-256", RSA, ["-sha256"], true],
    ["RSA, SHA-512", RSA, ["-sha512"], true],
    ["Ed25519", ["-algorithm", "ED25519"], [], true],
    ["RSASSA-PSS", RSA, ["-sha256", "-sigopt", "rsa_padding_mode:pss"], false],
    ["secp256k1", EC("secp256k1"), ["-sha256"], false],
  ];
  test.each(cases)("%s", async (_, key, digest, told) => {
    const issuer = make("/O=issuer", key);
    const other = make("/O=other", key);
    const leaf = make("/O=leaf", EC("P-256"), issuer, digest);
    const read = (made: Made) => signedCertificate(derOf(made.pem));
    expect(await hasSigned(read(issuer), read(leaf))).toBe(told ? true : undefined);
    expect(await hasSigned(read(other), read(leaf))).toBe(told ? false : undefined);
    // What cannot be told is left to the peers.
    expect(await verdict([leaf], [issuer])).toBe("good");
    expect(await verdict([leaf], [other])).toBe(BAD);
  });
});

test("changed anywhere, a chain is good or refused with one error", async () => {
  const root = make("/O=root", EC("P-256"));
  const lower = make("/O=lower", EC("P-256"), root);
  const leaf = make("/O=leaf", EC("P-256"), lower);
  let seed = 7;
  const random = (below: number) => {
    seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff;
    return (seed >>> 8) % below;
  };
  let refused = 0;
  for (let i = 0; i < 300; i++) {
    const chain = [leaf, lower, root];
    const at = random(3);
    const der = derOf(chain[at]!.pem);
    der[random(der.length)] = random(256);
    const pem = `-----BEGIN CERTIFICATE-----\n${Buffer.from(der).toString("base64")}\n-----END CERTIFICATE-----\n`;
    chain[at] = { ...chain[at]!, pem };
    if (await verdict(chain.slice(0, 2), chain.slice(2)) === BAD) refused++;
  }
  expect(refused).toBeGreaterThan(100);
});
