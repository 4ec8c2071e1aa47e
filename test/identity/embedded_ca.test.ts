import { X509Certificate } from "node:crypto";
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { CertificateError, EmbeddedCa } from "../../src/identity/mod.ts";
import { openssl } from "./forging_ca.ts";

const ID = "spiffe://cluster.local/ns/default/sa/web";
const DAY = 24 * 3600_000;

let base: string;
let directory: string;
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), "ambient-ca-"));
  directory = join(base, "state", "ca");
});
afterEach(() => rmSync(base, { recursive: true, force: true }));

const open = (now?: number) =>
  EmbeddedCa.open({ directory, trustDomain: "cluster.local", ...(now !== undefined && { now: () => now }) });
const rootFile = () => join(directory, "root.pem");
const write = (name: string, text: string): string => {
  writeFileSync(join(base, name), text);
  return join(base, name);
};

describe("the root", () => {
  test("is made once, readable by its owner only", async () => {
    const first = await open().rootPem();
    expect(await open().rootPem()).toBe(first);
    expect(statSync(directory).mode & 0o777).toBe(0o700);
    expect(statSync(rootFile()).mode & 0o777).toBe(0o600);
    expect(readdirSync(directory)).toEqual(["root.pem"]);
  });

  test("is one for processes that start at once", async () => {
    const program = join(import.meta.dir, "open_ca.ts");
    const runs = Array.from({ length: 6 }, () => Bun.spawn([process.execPath, program, directory], { stderr: "pipe" }));
    const roots = await Promise.all(runs.map(async (run) => {
      const [text, complaint] = await Promise.all([run.stdout.text(), run.stderr.text()]);
      if (await run.exited !== 0) throw new Error(complaint);
      return text;
    }));
    expect(new Set(roots).size).toBe(1);
    expect(readFileSync(rootFile(), "utf8")).toEndWith(roots[0] ?? "");
    expect(readdirSync(directory)).toEqual(["root.pem"]);
  });

  test("is a CA certificate of ten years with the trust domain in its subject", async () => {
    const text = openssl(["x509", "-noout", "-text", "-in", write("root.pem", await open().rootPem())]);
    expect(text).toContain("Subject: O = cluster.local");
    expect(text).toMatch(/X509v3 Basic Constraints: critical\s+CA:TRUE/);
    expect(text).toMatch(/X509v3 Key Usage: critical\s+Certificate Sign, CRL Sign\n/);
    expect(text).toMatch(/X509v3 Subject Key Identifier: *\n\s+([0-9A-F]{2}:){19}[0-9A-F]{2}\n/);
    expect(text).toContain("NIST CURVE: P-256");
    const root = new X509Certificate(await open().rootPem());
    expect(Date.parse(root.validTo) - Date.now()).toBeGreaterThan(3649 * DAY);
  });
});

describe("a leaf", () => {
  test("is what openssl accepts for both purposes, and what Istio's CA issues", async () => {
    const issued = await open().fetch(ID);
    const [leaf, root] = [write("leaf.pem", issued.chainPem), write("root.pem", issued.rootsPem)];
    for (const purpose of ["sslserver", "sslclient"]) {
      expect(openssl(["verify", "-x509_strict", "-purpose", purpose, "-CAfile", root, leaf])).toContain("OK");
    }
    const text = openssl(["x509", "-noout", "-text", "-in", leaf]);
    expect(text).toMatch(/Subject: *\n/);
    expect(text).toMatch(new RegExp(`X509v3 Subject Alternative Name: critical\\s+URI:${ID}\n`));
    expect(text).toMatch(/X509v3 Key Usage: critical\s+Digital Signature, Key Encipherment\n/);
    expect(text).toMatch(
      /X509v3 Extended Key Usage: *\n\s+TLS Web Server Authentication, TLS Web Client Authentication\n/,
    );
    expect(text).toMatch(/X509v3 Basic Constraints: critical\s+CA:FALSE/);
    const identifier = /X509v3 Authority Key Identifier: *\n\s+([0-9A-F:]+)\n/.exec(text)?.[1];
    expect(openssl(["x509", "-noout", "-text", "-in", root])).toContain(identifier ?? "no identifier");
    expect(text).not.toContain("X509v3 Subject Key Identifier");
  });

  test("has a key and a serial number of its own", async () => {
    const ca = open();
    const [a, b] = await Promise.all([ca.fetch(ID), ca.fetch(ID)]);
    expect(a.keyPem).not.toBe(b.keyPem);
    expect(a.serialNumber).not.toBe(b.serialNumber);
    for (const { chainPem, keyPem } of [a, b]) {
      const serial = new X509Certificate(chainPem).serialNumber;
      expect(serial).toMatch(/^[4-7][0-9A-F]{31}$/);
      const fromKey = openssl(["pkey", "-pubout", "-in", write("key.pem", keyPem)]);
      expect(openssl(["x509", "-noout", "-pubkey", "-in", write("leaf.pem", chainPem)])).toBe(fromKey);
    }
  });

  test("is valid from two minutes ago for its time to live, in whole seconds", async () => {
    const now = Date.parse("2030-01-01T00:00:00.700Z");
    const open = (ttlMs?: number) =>
      EmbeddedCa.open({ directory, trustDomain: "t", now: () => now, ...(ttlMs !== undefined && { ttlMs }) }).fetch(ID);
    expect(new Date((await open()).notBefore).toISOString()).toBe("2029-12-31T23:58:00.000Z");
    expect(new Date((await open()).notAfter).toISOString()).toBe("2030-01-02T00:00:00.000Z");
    expect(new Date((await open(60_000)).notAfter).toISOString()).toBe("2030-01-01T00:01:00.000Z");
  });

  test("never outlives the root", async () => {
    const made = Date.now();
    const root = new X509Certificate(await open(made).rootPem());
    const late = open(Date.parse(root.validTo) - 3600_000);
    expect((await late.fetch(ID)).notAfter).toBe(Date.parse(root.validTo));
  });

  test("is refused for what is no workload's identity", async () => {
    const ca = open();
    await ca.rootPem();
    await expect(ca.fetch("spiffe://cluster.local/ns/a")).rejects.toThrow(
      "invalid spiffe identity: spiffe://cluster.local/ns/a",
    );
    await expect(ca.fetch("web")).rejects.toThrow(CertificateError);
  });
});

describe("a directory that cannot be trusted", () => {
  const complaint = (now?: number): Promise<string> =>
    open(now).fetch(ID).then(() => "no complaint", (error: unknown) => {
      if (error instanceof CertificateError) return error.message;
      throw error;
    });

  test("is named with its mode when others may enter", async () => {
    mkdirSync(directory, { recursive: true });
    chmodSync(directory, 0o750);
    expect(await complaint()).toBe(`${directory}: mode 0750 lets others in, 0700 is needed`);
    expect(readdirSync(directory)).toEqual([]);
  });

  test("is named with its file's mode when others may read that", async () => {
    await open().rootPem();
    chmodSync(rootFile(), 0o640);
    expect(await complaint()).toBe(`${rootFile()}: mode 0640 lets others in, 0600 is needed`);
  });

  test("is named when it is not a directory", async () => {
    mkdirSync(join(base, "state"));
    writeFileSync(directory, "");
    expect(await complaint()).toBe(`${directory}: not a directory`);
  });

  test("is named with what is wrong in its file", async () => {
    const rootPem = await open().rootPem();
    const good = readFileSync(rootFile(), "utf8");
    const key = good.slice(0, good.indexOf("-----BEGIN CERTIFICATE-----"));
    const cases: [string, string][] = [
      ["", "holds no PRIVATE KEY"],
      [rootPem, "holds no PRIVATE KEY"],
      [key, "holds no CERTIFICATE"],
      [key.replace(/M/g, "!") + rootPem, "the private key is not a P-256 key"],
      [key + rootPem.replace(/\n[A-Za-z]{6}/, "\n"), "not a certificate"],
      [key + (await open().fetch(ID)).chainPem, "the certificate is not a CA's"],
    ];
    for (const [text, wrong] of cases) {
      writeFileSync(rootFile(), text);
      expect(await complaint()).toStartWith(`${rootFile()}: ${wrong}`);
    }
    rmSync(rootFile());
    const another = await open().rootPem();
    writeFileSync(rootFile(), key + another);
    expect(await complaint()).toBe(`${rootFile()}: the private key is not the certificate's`);
  });

  test("is named when its root has expired", async () => {
    await open().rootPem();
    expect(await complaint(Date.now() + 3651 * DAY)).toMatch(
      new RegExp(`^${rootFile()}: the root expired at .*Z; remove it to make a new one$`),
    );
  });
});
