/** The program as its user meets it: what it says and how it ends, without a mode running. */
import { expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";

const MAIN = fileURLToPath(new URL("../../mod.ts", import.meta.url));
/** Nothing of this machine's own settings. */
const env = { PATH: process.env["PATH"], HOME: "/nonexistent" };

function ambient(...args: readonly string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, ...args], { env, encoding: "utf8" });
  return { status, stdout, stderr };
}

test("a slip on the command line is answered in two lines", () => {
  expect(ambient("--mode=sidecar")).toEqual({
    status: 1,
    stdout: "",
    stderr: "--mode=sidecar: the mode must be ztunnel or waypoint\nsee `ambient help`\n",
  });
});

test("without configuration the first word is --config", () => {
  const bare = ambient();
  expect(bare.status).toBe(1);
  expect(bare.stderr).toStartWith("give the mesh with --config PATH");
  const waypoint = ambient("--mode=waypoint");
  expect(waypoint.status).toBe(1);
  expect(waypoint.stderr).toStartWith("waypoint mode needs --config PATH ");
  expect(waypoint.stderr.trim().split("\n")).toHaveLength(1);
});

test.skipIf(process.getuid?.() !== 0)("a user without a name and without a home starts as any other", () => {
  const { stderr } = spawnSync(process.execPath, [MAIN, "--mode=waypoint"], {
    env: { PATH: env.PATH },
    cwd: "/",
    uid: 61_234,
    encoding: "utf8",
  });
  expect(stderr).toStartWith("waypoint mode needs --config PATH ");
});

test("a reader who has enough is no error: `ambient schema | head -1`", () => {
  const script = '"$0" "$1" schema | head -1; echo "${PIPESTATUS[0]}"';
  const { stdout, stderr } = spawnSync("bash", ["-c", script, process.execPath, MAIN], { env, encoding: "utf8" });
  expect(stderr).toBe("");
  expect(stdout).toBe("{\n0\n");
});
