import { afterAll, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { requireRoots, rootsReader, systemRoots } from "../../src/grpc/roots.ts";
import { ForgingCa } from "../identity/forging_ca.ts";

const authority = new ForgingCa();
const { directory } = authority;
const root = await authority.ca.rootPem();
afterAll(() => authority.remove());

function file(name: string, content: string): string {
  const path = join(directory, name);
  writeFileSync(path, content);
  return path;
}

test("a file is read anew each time; text around its certificates does not matter", async () => {
  const path = file("root.pem", `# ours\r\n${root}\nbye`);
  const read = rootsReader({ kind: "file", path });
  expect(await read()).toBe(root);
  writeFileSync(path, root + root);
  expect(await read()).toBe(root + root);
  writeFileSync(path, "");
  await expect(read()).rejects.toThrow(`roots file ${path}: it is empty`);
});

const cut = root.replace(/\n(.{20}).*\n/, "\n$1\n");
test.each([
  ["empty.pem", " \n", "it is empty"],
  ["garbage.pem", "\0\x01hello", "it holds no PEM certificate"],
  ["key.pem", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "it holds no PEM certificate"],
  ["half.pem", root.slice(0, -40), "it holds no PEM certificate"],
  [
    "text.pem",
    "-----BEGIN CERTIFICATE-----\nnot base64!\n-----END CERTIFICATE-----\n",
    "certificate 1 of 1 is broken: it is not base64",
  ],
  [
    "second.pem",
    root + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    "certificate 2 of 2 is broken: ",
  ],
  ["cut.pem", cut, "certificate 1 of 1 is broken: "],
])("%s is refused by name", async (name, content, problem) => {
  const path = file(name, content);
  await expect(rootsReader({ kind: "file", path })()).rejects.toThrow(`roots file ${path}: ${problem}`);
});

test("a file that is not there is named", async () => {
  const path = join(directory, "nothing.pem");
  await expect(rootsReader({ kind: "file", path })()).rejects.toThrow(`roots file ${path} cannot be read: `);
  await expect(rootsReader({ kind: "file", path: directory })()).rejects.toThrow(`roots file ${directory}`);
});

test("PEM text and the system's store", async () => {
  expect(await rootsReader({ kind: "pem", pem: root })()).toBe(root);
  await expect((async () => await rootsReader({ kind: "pem", pem: "typo" })())()).rejects.toThrow(
    "the roots given as text (no file typo was there at the start): it holds no PEM certificate",
  );
  expect(await rootsReader({ kind: "system" })()).toBeUndefined();
  expect(await systemRoots({ SSL_CERT_FILE: file("system.pem", root) })).toBe(root);
  const missing = join(directory, "missing.pem");
  await expect(systemRoots({ SSL_CERT_FILE: missing })).rejects.toThrow(
    `the system has no file of trusted roots (looked for ${missing})`,
  );
  expect(requireRoots(root, "x")).toBe(root);
});
