import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import process from "node:process";
import { watchFile } from "../../src/process/watched_file.ts";

/** Quiet time in these tests; ms. */
const QUIET = 40;
/** Longest wait for what must happen; ms. */
const PATIENCE = 30_000;

let root: string;
const watches: { close(): void }[] = [];

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "ambient-watch-"));
});
afterEach(() => {
  for (const watch of watches.splice(0)) watch.close();
  rmSync(root, { recursive: true, force: true });
});

/** What a watcher read at each change. */
class Reader {
  readonly seen: string[] = [];
  #waiting: (() => void) | undefined;

  constructor(path: string, quiet = QUIET) {
    watches.push(watchFile(path, () => {
      this.seen.push(readFileSync(path, "utf8"));
      this.#waiting?.();
    }, quiet));
  }

  /** Waits until `text` was the last to be read. */
  async until(text: string): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const timer = setTimeout(() => reject(new Error(`never read ${text}, but ${JSON.stringify(this.seen)}`)), PATIENCE);
    this.#waiting = () => {
      if (this.seen.at(-1) === text) resolve();
    };
    this.#waiting();
    await promise.finally(() => clearTimeout(timer));
    this.#waiting = undefined;
  }
}

/** A mounted ConfigMap: file → ..data/file, ..data → a directory with a name of its own. */
class ConfigMap {
  readonly #at: string;
  #generation = 0;
  #current: string | undefined;

  constructor(at: string) {
    this.#at = at;
    mkdirSync(at, { recursive: true });
  }

  /** As kubelet does it: new directory, new link beside, renamed over the old, old directory removed. */
  publish(files: Record<string, string>): void {
    const name = `..2024_01_01_00_00_00.${++this.#generation}`;
    mkdirSync(join(this.#at, name));
    for (const [file, text] of Object.entries(files)) writeFileSync(join(this.#at, name, file), text);
    symlinkSync(name, join(this.#at, "..data_tmp"));
    renameSync(join(this.#at, "..data_tmp"), join(this.#at, "..data"));
    if (this.#current === undefined) {
      for (const file of Object.keys(files)) symlinkSync(`..data/${file}`, join(this.#at, file));
    } else {
      rmSync(join(this.#at, this.#current), { recursive: true });
    }
    this.#current = name;
  }
}

/** Lets a watcher that is to stay silent have its chance: another one hears of a later change. */
async function aLaterChange(): Promise<void> {
  const path = join(root, `other-${crypto.randomUUID()}`);
  const reader = new Reader(path, 3 * QUIET);
  writeFileSync(path, "later");
  await reader.until("later");
}

describe("a file", () => {
  test("written in place, in several pieces: told once it is quiet", async () => {
    const path = join(root, "file");
    writeFileSync(path, "1");
    const reader = new Reader(path);
    for (const piece of ["2", "3", "4"]) appendFileSync(path, piece);
    await reader.until("1234");
    expect(reader.seen).toEqual(["1234"]);
  });

  test("replaced by a rename, as editors and Secret writers do, again and again", async () => {
    const path = join(root, "file");
    writeFileSync(path, "0");
    const reader = new Reader(path);
    for (const text of ["1", "2", "3"]) {
      writeFileSync(`${path}.new`, text);
      renameSync(path, `${path}~`);
      renameSync(`${path}.new`, path);
      await reader.until(text);
    }
    expect(reader.seen).toEqual(["1", "2", "3"]);
  });

  test("that is not there yet", async () => {
    const path = join(root, "file");
    const reader = new Reader(path);
    writeFileSync(path, "here");
    await reader.until("here");
    expect(reader.seen).toEqual(["here"]);
  });

  test("removed and made again: told when there is something to read", async () => {
    const path = join(root, "file");
    writeFileSync(path, "1");
    const reader = new Reader(path);
    unlinkSync(path);
    await aLaterChange();
    expect(reader.seen).toEqual([]);
    writeFileSync(path, "2");
    await reader.until("2");
    expect(reader.seen).toEqual(["2"]);
  });

  test("whose neighbours change is not told of", async () => {
    const path = join(root, "file");
    writeFileSync(path, "1");
    const reader = new Reader(path);
    writeFileSync(join(root, "neighbour"), "x");
    unlinkSync(join(root, "neighbour"));
    await aLaterChange();
    expect(reader.seen).toEqual([]);
  });

  test("that was told of is not told of again for nothing", async () => {
    const path = join(root, "file");
    writeFileSync(path, "1");
    const reader = new Reader(path);
    renameSync(path, `${path}.away`);
    renameSync(`${path}.away`, path);
    readFileSync(path);
    await aLaterChange();
    expect(reader.seen.length).toBeLessThanOrEqual(1); // a rename may count as a change of the file: its ctime
  });

  test("that is never quiet is told of all the same", async () => {
    const path = join(root, "file");
    writeFileSync(path, "");
    const seen = Promise.withResolvers<void>();
    watches.push(watchFile(path, seen.resolve, 100));
    const writer = setInterval(() => appendFileSync(path, "x"), 5);
    await seen.promise.finally(() => clearInterval(writer));
  });

  test("by a relative path", async () => {
    const before = process.cwd();
    process.chdir(root);
    try {
      const reader = new Reader("file");
      writeFileSync(join(root, "file"), "1");
      await reader.until("1");
    } finally {
      process.chdir(before);
    }
  });
});

describe("a mounted ConfigMap", () => {
  test("whose ..data link is swapped", async () => {
    const map = new ConfigMap(join(root, "mount"));
    map.publish({ "root-cert.pem": "1", "other": "x" });
    const reader = new Reader(join(root, "mount", "root-cert.pem"));
    for (const text of ["2", "3", "4"]) {
      map.publish({ "root-cert.pem": text, "other": "x" });
      await reader.until(text);
    }
    expect(reader.seen).toEqual(["2", "3", "4"]);
  });

  test("that is mounted only later", async () => {
    const reader = new Reader(join(root, "mount", "root-cert.pem"));
    const map = new ConfigMap(join(root, "mount"));
    map.publish({ "root-cert.pem": "1" });
    await reader.until("1");
    map.publish({ "root-cert.pem": "2" });
    await reader.until("2");
  });
});

describe("directories on the way", () => {
  test("that are not there yet, several of them, made one by one", async () => {
    const path = join(root, "a", "b", "c", "file");
    const reader = new Reader(path);
    for (const directory of ["a", "a/b", "a/b/c"]) {
      mkdirSync(join(root, directory));
      await new Promise(setImmediate);
    }
    writeFileSync(path, "1");
    await reader.until("1");
    writeFileSync(path, "2");
    await reader.until("2");
  });

  test("removed and made again, with two who watch, time and again", async () => {
    const [one, two] = [join(root, "d", "one"), join(root, "d", "two")];
    const readers = [new Reader(one), new Reader(two)];
    for (const text of ["1", "2", "3"]) {
      mkdirSync(join(root, "d"));
      writeFileSync(one, text);
      writeFileSync(two, text);
      await Promise.all(readers.map((reader) => reader.until(text)));
      writeFileSync(one, `${text} again`);
      writeFileSync(two, `${text} again`);
      await Promise.all(readers.map((reader) => reader.until(`${text} again`)));
      rmSync(join(root, "d"), { recursive: true });
    }
  });

  test("one is moved away and another put in its place", async () => {
    for (const version of ["v1", "v2"]) {
      mkdirSync(join(root, version, "sub"), { recursive: true });
      writeFileSync(join(root, version, "sub", "file"), version);
    }
    renameSync(join(root, "v1"), join(root, "live"));
    const path = join(root, "live", "sub", "file");
    const reader = new Reader(path);
    renameSync(join(root, "live"), join(root, "old"));
    renameSync(join(root, "v2"), join(root, "live"));
    await reader.until("v2");
    writeFileSync(path, "v3");
    await reader.until("v3");
  });

  test("symbolic links, of directories and of the file, absolute and relative", async () => {
    for (const directory of ["x", "y", "links"]) mkdirSync(join(root, directory));
    writeFileSync(join(root, "x", "file"), "x");
    writeFileSync(join(root, "y", "file"), "y");
    symlinkSync("../x", join(root, "links", "dir"));
    symlinkSync(join(root, "links", "dir", "file"), join(root, "link"));
    const reader = new Reader(join(root, "link"));
    writeFileSync(join(root, "x", "file"), "x2");
    await reader.until("x2");
    symlinkSync("../y", join(root, "links", "new"));
    renameSync(join(root, "links", "new"), join(root, "links", "dir"));
    await reader.until("y");
    writeFileSync(join(root, "y", "file"), "y2");
    await reader.until("y2");
  });

  test("a link to itself is no file, until it is one", async () => {
    const path = join(root, "loop");
    symlinkSync("loop", path);
    const reader = new Reader(path);
    unlinkSync(path);
    writeFileSync(path, "1");
    await reader.until("1");
  });

  test("a file where a directory should be", async () => {
    const path = join(root, "d", "file");
    writeFileSync(dirname(path), "no directory");
    const reader = new Reader(path);
    unlinkSync(dirname(path));
    mkdirSync(dirname(path));
    writeFileSync(path, "1");
    await reader.until("1");
  });
});

test("after close nothing is told; others go on", async () => {
  const path = join(root, "file");
  let calls = 0;
  const closed = watchFile(path, () => calls++, QUIET);
  const reader = new Reader(path);
  closed.close();
  closed.close();
  writeFileSync(path, "1");
  await reader.until("1");
  expect(calls).toBe(0);
});

test("a system without watches to give: the file is looked at now and then", async () => {
  const module = join(import.meta.dir, "../../src/process/watched_file.ts");
  const path = join(root, "file");
  const code = `
    const { openSync, closeSync, writeFileSync, readFileSync } = require("node:fs");
    const { watchFile } = await import(${JSON.stringify(module)});
    const taken = [];
    try { for (;;) taken.push(openSync("/dev/null")); } catch { /* no descriptor is left, not for inotify either */ }
    watchFile(${JSON.stringify(path)}, () => {
      console.log(readFileSync(${JSON.stringify(path)}, "utf8"));
      process.exit();
    }, ${QUIET});
    for (const fd of taken) closeSync(fd);
    writeFileSync(${JSON.stringify(path)}, "seen");
    setTimeout(() => {}, ${PATIENCE});`;
  const command = ["sh", "-c", 'ulimit -n 100; exec "$0" -e "$1"', process.execPath, code];
  const run = Bun.spawn(command, { stdout: "pipe", stderr: "inherit", timeout: PATIENCE });
  expect(await run.stdout.text()).toBe("seen\n");
  expect(await run.exited).toBe(0);
});

test("keeps no process alive", async () => {
  const module = join(import.meta.dir, "../../src/process/watched_file.ts");
  const code = `import { watchFile } from ${JSON.stringify(module)};
    watchFile(${JSON.stringify(join(root, "file"))}, () => {}); console.log("watching");`;
  const run = Bun.spawn([process.execPath, "-e", code], { stdout: "pipe", timeout: PATIENCE });
  expect(await run.exited).toBe(0);
  expect(await run.stdout.text()).toBe("watching\n");
});
