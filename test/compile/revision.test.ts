import { afterEach, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gitRevision } from "../../compile/revision.ts";

const folder = mkdtempSync(join(tmpdir(), "revision-"));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function git(...args: string[]): string {
  const identity = ["-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgsign=false"];
  const { status, stdout, stderr } = spawnSync("git", [...identity, ...args], { cwd: folder, encoding: "utf8" });
  if (status !== 0) throw new Error(stderr);
  return stdout.trim();
}

test("unknown, the commit, the commit with changes", () => {
  expect(gitRevision(folder)).toBe("unknown");
  git("init", "-q");
  writeFileSync(join(folder, "file"), "a");
  git("add", "file");
  git("commit", "-q", "-m", "first");
  const commit = git("rev-parse", "HEAD");
  expect(commit).toMatch(/^[0-9a-f]{40}$/);
  expect(gitRevision(folder)).toBe(commit);
  writeFileSync(join(folder, "untracked"), "x");
  expect(gitRevision(folder)).toBe(commit);
  writeFileSync(join(folder, "file"), "b");
  expect(gitRevision(folder)).toBe(`${commit}-dirty`);
});
