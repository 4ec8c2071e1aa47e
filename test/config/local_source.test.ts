import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type DocumentResult, type LocalFile, LocalSource, parseLocalText } from "../../src/config/mod.ts";
import { parseLocalDocument, parseLocalState } from "../../src/config/local_parse.ts";

const DEADLINE = 20_000; // milliseconds

let directory: string;
let source: LocalSource | undefined;
let seen: string[];
let wake: () => void;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "local-"));
  seen = [];
  wake = () => {};
});
afterEach(() => {
  source?.close();
  rmSync(directory, { recursive: true });
});

/** A document with one workload of this name. */
function meshOf(name: string): string {
  return `workloads: [{name: ${name}, namespace: n, workloadIps: [], services: {}}]\n`;
}

function watchFile(path: string, parse?: (files: readonly LocalFile[]) => Promise<DocumentResult>): LocalSource {
  const note = (text: string) => {
    seen.push(text);
    wake();
  };
  return new LocalSource(path, {
    onDocument: ({ workloads }) => note(workloads.map(({ name }) => name).join()),
    onError: ([first]) => note(`error ${first?.line}: ${first?.message}`),
  }, { parse: parse ?? ((files) => Promise.resolve(parseLocalState(files))), quietTime: 20 });
}

/** Waits until the last thing seen is `expected`. */
async function until(expected: string): Promise<void> {
  const late = Date.now() + DEADLINE;
  while (seen.at(-1) !== expected) {
    const left = late - Date.now();
    if (left <= 0) throw new Error(`saw ${JSON.stringify(seen)}, not ${expected}`);
    const { promise, resolve } = Promise.withResolvers<void>();
    wake = resolve;
    const timer = setTimeout(resolve, left);
    await promise;
    clearTimeout(timer);
  }
}

/** A source of a file that holds mesh `a`, already read. */
async function started(): Promise<string> {
  const path = join(directory, "mesh.yaml");
  writeFileSync(path, meshOf("a"));
  source = watchFile(path);
  await source.start();
  expect(seen).toEqual(["a"]);
  return path;
}

test("a file written in place", async () => {
  const path = await started();
  writeFileSync(path, meshOf("b"));
  await until("b");
  writeFileSync(path, meshOf("c"));
  await until("c");
});

test("a file replaced by a rename, again and again", async () => {
  const path = await started();
  for (const name of ["b", "c", "d"]) {
    writeFileSync(`${path}.new`, meshOf(name));
    renameSync(`${path}.new`, path);
    await until(name);
  }
});

test("a mounted ConfigMap: a link of the directory is made to point elsewhere", async () => {
  const version = (name: string) => {
    mkdirSync(join(directory, `..${name}`));
    writeFileSync(join(directory, `..${name}`, "mesh.yaml"), meshOf(name));
    symlinkSync(`..${name}`, join(directory, "..data_tmp"));
    renameSync(join(directory, "..data_tmp"), join(directory, "..data"));
  };
  version("v1");
  symlinkSync("..data/mesh.yaml", join(directory, "mesh.yaml"));
  source = watchFile(join(directory, "mesh.yaml"));
  await source.start();
  expect(seen).toEqual(["v1"]);
  version("v2");
  await until("v2");
  rmSync(join(directory, "..v1"), { recursive: true });
  version("v3");
  await until("v3");
});

test("a link to a file elsewhere that is written in place", async () => {
  mkdirSync(join(directory, "elsewhere"));
  mkdirSync(join(directory, "here"));
  const file = join(directory, "elsewhere", "real.yaml");
  writeFileSync(file, meshOf("a"));
  symlinkSync(file, join(directory, "here", "mesh.yaml"));
  source = watchFile(join(directory, "here", "mesh.yaml"));
  await source.start();
  writeFileSync(file, meshOf("b"));
  await until("b");
});

test("a bad file is told, and a good one after it is taken", async () => {
  const path = await started();
  writeFileSync(path, "workloads: []\nfoo: 1\n");
  await until("error 2: foo: no such field here");
  writeFileSync(path, meshOf("b"));
  await until("b");
});

test("a file that goes away and comes back", async () => {
  const path = await started();
  rmSync(path);
  await until("error undefined: no such file or folder (--config)");
  writeFileSync(path, meshOf("a"));
  await until("a");
});

test("a file that is not there yet", async () => {
  const path = join(directory, "mesh.yaml");
  source = watchFile(path);
  await source.start();
  expect(seen).toEqual(["error undefined: no such file or folder (--config)"]);
  writeFileSync(path, meshOf("a"));
  await until("a");
});

test("a change while the file is being read is not lost, and one that changes nothing is not told", async () => {
  const path = join(directory, "mesh.yaml");
  writeFileSync(path, meshOf("a"));
  const reading = Promise.withResolvers<void>();
  const go = Promise.withResolvers<void>();
  source = watchFile(path, async (files) => {
    reading.resolve();
    await go.promise;
    return parseLocalState(files);
  });
  const start = source.start();
  await reading.promise;
  writeFileSync(path, meshOf("b"));
  go.resolve();
  await start;
  await until("b");
  writeFileSync(path, meshOf("b"));
  writeFileSync(path, meshOf("c"));
  await until("c");
  expect(seen).toEqual(["a", "b", "c"]);
});

test("a closed source is silent", async () => {
  const path = join(directory, "mesh.yaml");
  writeFileSync(path, meshOf("a"));
  const reading = Promise.withResolvers<void>();
  const go = Promise.withResolvers<void>();
  source = watchFile(path, async (files) => {
    reading.resolve();
    await go.promise;
    return parseLocalState(files);
  });
  const start = source.start();
  await reading.promise;
  source.close();
  go.resolve();
  await start;
  expect(seen).toEqual([]);
});

test("reading in a child gives what reading here gives", async () => {
  const text = meshOf("a") + "services: [{name: s, namespace: n, hostname: h, vips: [/10.0.0.1], ports: {80: 8080}}]\n";
  expect(await parseLocalText(text, "mesh.yaml")).toEqual(parseLocalDocument(text, "mesh.yaml"));
  expect(await parseLocalText("foo: 1", "mesh.yaml")).toEqual(parseLocalDocument("foo: 1", "mesh.yaml"));
});
