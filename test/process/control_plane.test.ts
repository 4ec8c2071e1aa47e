import { afterAll, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { watchRoots } from "../../src/process/mod.ts";
import { Logger } from "../../src/telemetry/mod.ts";
import { ForgingCa } from "../identity/forging_ca.ts";

/** Longest wait for what must happen; ms. A change is told after 2 s of quiet. */
const PATIENCE = 30_000;

const authority = new ForgingCa();
const { directory } = authority;
const root = await authority.ca.rootPem();
afterAll(() => authority.remove());

test("roots that are none are told by file and change nothing; others are a change", async () => {
  const path = join(directory, "root.pem");
  writeFileSync(path, root);
  const lines: string[] = [];
  let told = Promise.withResolvers<void>();
  const log = new Logger({
    write(text: string) {
      lines.push(text.replace(/^\S+\t/, ""));
      told.resolve();
    },
    flush() {},
  });
  let changes = 0;
  const watch = watchRoots({ kind: "file", path }, log.scope("xds::client"), () => changes++);
  writeFileSync(path, root + "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n");
  await told.promise;
  const problem = `roots file ${path}: certificate 2 of 2 is broken: it is not base64`;
  expect(lines).toEqual([
    `warn\txds::client\troot certificates cannot be read, the ones before stay in use\tpath="${path}" error="${problem}"\n`,
  ]);
  expect(changes).toBe(0);
  told = Promise.withResolvers();
  writeFileSync(path, root + root);
  await told.promise;
  expect(lines[1]).toBe(`info\txds::client\troot certificates changed\tpath="${path}" certificates=2\n`);
  expect(changes).toBe(1);
  watch.close();
}, PATIENCE);
