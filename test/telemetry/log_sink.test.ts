import { afterEach, describe, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { closeSync, constants, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});

function scratch(): string {
  const folder = mkdtempSync(join(tmpdir(), "log-sink-"));
  folders.push(folder);
  return folder;
}

/** A process that logs 2 × `count` lines to `stdout`. */
function talk(count: number, stdout: number) {
  return Bun.spawn([process.execPath, join(import.meta.dir, "talkative.ts"), String(count)], {
    stdio: ["ignore", stdout, "pipe"],
  });
}

/** A pipe with a reader that has not begun to read. */
function pipe(): { path: string; reader: number; writer: number } {
  const path = join(scratch(), "pipe");
  spawnSync("mkfifo", [path]);
  const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  return { path, reader, writer: openSync(path, constants.O_WRONLY) };
}

function expectLines(text: string, count: number): void {
  const lines = text.split("\n");
  expect(lines.pop()).toBe("");
  expect(lines.length).toBe(count);
  expect(lines.findIndex((line, n) => !line.endsWith(`Z\tinfo\ttest\tline ${n}\t`))).toBe(-1);
}

describe("the log on a pipe", () => {
  test("a reader that does not read stops nothing, and in the end has every line", async () => {
    const { path, reader, writer } = pipe();
    const child = talk(8000, writer);
    closeSync(writer);
    // 8000 lines are many times what a pipe holds: the process runs on with the rest in its queue…
    const stderr = child.stderr.getReader();
    expect(new TextDecoder().decode((await stderr.read()).value)).toBe("still running\n");
    // …and 16 000 are more than the queue holds: now it waits for the reader, and loses nothing.
    const text = await Bun.file(path).text();
    closeSync(reader);
    expect(await child.exited).toBe(0);
    expectLines(text, 16_000);
  });

  test("a reader that has gone away stops nothing", async () => {
    const { reader, writer } = pipe();
    closeSync(reader);
    const child = talk(8000, writer);
    closeSync(writer);
    expect(await child.exited).toBe(0);
  });
});

test("the log in a file has every line after process.exit", async () => {
  const path = join(scratch(), "file");
  const fd = openSync(path, "w");
  const child = talk(500, fd);
  closeSync(fd);
  expect(await child.exited).toBe(0);
  expectLines(readFileSync(path, "utf8"), 1000);
});
