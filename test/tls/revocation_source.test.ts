/** The file of revocation lists as it changes, whatever it becomes (spec/ztunnel.md §3.6). */
import { afterAll, expect, test } from "bun:test";
import { mkdirSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { RevocationSource } from "../../src/tls/revocation_source.ts";
import { keptLogger } from "../telemetry/lines.ts";
import { OpensslPki } from "./openssl_pki.ts";

const pki = new OpensslPki();
afterAll(() => pki.remove());
const list = pki.list(pki.authority("root"), ["01", "02"]);

test("what is no file of lists leaves those of before in force; one without lists revokes nothing, and says so", async () => {
  const path = pki.write("revoked.pem", list);
  const { logger, lines } = keptLogger();
  const source = new RevocationSource(path, logger.scope("ztunnel::tls"));
  expect(await source.read()).toHaveLength(1);
  expect(lines()[0]).toStartWith("info\ttls\tcertificate revocation lists in force\t");

  const others: [error: RegExp, change: () => void][] = [
    [/has no end$/, () => truncateSync(path, list.length - 30)],
    [/is neither PEM nor DER$/, () => writeFileSync(path, "<html>")],
    [/is not a file$/, () => (rmSync(path), mkdirSync(path))],
    [/is not there$/, () => rmSync(path, { recursive: true })],
    [/ELOOP/, () => symlinkSync(path, path)],
  ];
  for (const [error, change] of others) {
    change();
    expect(await source.read()).toBeUndefined();
    expect(source.error).toMatch(error);
    expect(lines()[0]).toStartWith("warn\ttls\tcertificate revocation lists cannot be read, those in force stay\t");
  }

  rmSync(path);
  writeFileSync(path, "");
  expect(await source.read()).toEqual([]);
  expect(lines()).toEqual([
    "warn\ttls\tthe file of certificate revocation lists has none any more: all that was revoked is let in\t" +
    `path="${path}" lists=0 entries=0`,
  ]);
  writeFileSync(path, " ");
  expect(await source.read()).toEqual([]);
  expect(lines()[0]).toStartWith("info\ttls\tcertificate revocation lists in force\t");
});
