import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { LocalSource } from "../../src/config/mod.ts";
import { parseLocalState } from "../../src/config/local_parse.ts";
import { readLocalFiles } from "../../src/config/local_files.ts";

const DEADLINE = 20_000; // milliseconds

let root: string;
let folder: string;
let source: LocalSource | undefined;
let seen: string[];
let wake: () => void;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "folder-"));
  folder = join(root, "conf");
  mkdirSync(folder);
  seen = [];
  wake = () => {};
});
afterEach(() => {
  source?.close();
  rmSync(root, { recursive: true });
});

function write(name: string, workload: string): void {
  writeFileSync(join(folder, name), `workloads: [{name: ${workload}, namespace: n, workloadIps: [], services: {}}]\n`);
}

/** Names of the workloads, or the first error as `file: message`. */
async function start(path = folder): Promise<void> {
  const note = (text: string) => {
    seen.push(text);
    wake();
  };
  source = new LocalSource(path, {
    onDocument: ({ workloads }) => note(workloads.map(({ name }) => name).join()),
    onError: ([first]) => note(`${first?.path.slice(folder.length)}: ${first?.message}`),
  }, { parse: (files, options) => Promise.resolve(parseLocalState(files, options)), quietTime: 20 });
  await source.start();
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

test("files by name; others, dotfiles and folders in it are left alone", async () => {
  write("b.yml", "b");
  write("a.yaml", "a");
  write("c.json", "c");
  write(".hidden.yaml", "hidden");
  write("notes.txt", "notes");
  mkdirSync(join(folder, "sub.yaml"));
  writeFileSync(join(folder, "sub.yaml", "d.yaml"), "x: 1");
  const read = await readLocalFiles(folder);
  expect(read.ok && read.files.map(({ path }) => path.slice(folder.length))).toEqual(["/a.yaml", "/b.yml", "/c.json"]);
  await start();
  expect(seen).toEqual(["a,b,c"]);
});

test("a file that comes, changes and goes", async () => {
  write("a.yaml", "a");
  await start();
  write("b.yaml", "b");
  await until("a,b");
  write("a.yaml", "x");
  await until("x,b");
  rmSync(join(folder, "a.yaml"));
  await until("b");
});

test("a file renamed over another, as editors do", async () => {
  write("a.yaml", "a");
  await start();
  write(".a.swp", "b");
  renameSync(join(folder, ".a.swp"), join(folder, "a.yaml"));
  await until("b");
});

test("one bad file refuses all; the rest is not taken without it", async () => {
  write("a.yaml", "a");
  await start();
  writeFileSync(join(folder, "b.yaml"), "foo: 1\n");
  await until("/b.yaml: foo: no such field here");
  write("a.yaml", "changed");
  write("b.yaml", "b");
  await until("changed,b");
  expect(seen.filter((text) => !text.startsWith("/"))).toEqual(["a", "changed,b"]);
});

test("a folder without files, and one that is not there yet", async () => {
  await start();
  expect(seen).toEqual([": a folder without .yaml, .yml, .json files"]);
  write("a.yaml", "a");
  await until("a");
  source?.close();
  seen = [];
  const late = join(root, "late");
  await start(late);
  expect(seen).toHaveLength(1);
  mkdirSync(join(root, "prepared"));
  writeFileSync(join(root, "prepared", "z.yaml"), "workloads: []\n");
  renameSync(join(root, "prepared"), late);
  await until("");
});

test("a mounted ConfigMap: files are links through ..data, which is made to point elsewhere", async () => {
  const version = (name: string, files: Readonly<Record<string, string>>) => {
    mkdirSync(join(folder, `..${name}`));
    for (const [file, workload] of Object.entries(files)) write(join(`..${name}`, file), workload);
    symlinkSync(`..${name}`, join(folder, "..data_tmp"));
    renameSync(join(folder, "..data_tmp"), join(folder, "..data"));
  };
  version("v1", { "a.yaml": "a", "b.yaml": "b" });
  for (const file of ["a.yaml", "b.yaml"]) symlinkSync(`..data/${file}`, join(folder, file));
  await start();
  expect(seen).toEqual(["a,b"]);
  version("v2", { "a.yaml": "a2", "b.yaml": "b2" });
  await until("a2,b2");
  rmSync(join(folder, "..v1"), { recursive: true });
  version("v3", { "a.yaml": "a3", "b.yaml": "b3" });
  await until("a3,b3");
  expect(readdirSync(folder)).toContain("..data");
});

test("a link to a file elsewhere that is written in place", async () => {
  const real = join(root, "elsewhere");
  mkdirSync(real);
  write("../elsewhere/real.yaml", "a");
  symlinkSync(join(real, "real.yaml"), join(folder, "link.yaml"));
  await start();
  write("../elsewhere/real.yaml", "b");
  await until("b");
});

test("a file becomes a folder and is one from then on", async () => {
  const path = join(root, "state.yaml");
  writeFileSync(path, "workloads: []\n");
  await start(path);
  expect(seen).toEqual([""]);
  rmSync(path);
  renameSync(folder, path);
  folder = path;
  write("a.yaml", "a");
  await until("a");
  write("b.yaml", "b");
  await until("a,b");
});
