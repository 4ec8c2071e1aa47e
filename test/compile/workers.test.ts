import { afterAll, beforeAll, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { buildExecutable, type Executable } from "../../compile/executable.ts";

const REPOSITORY = dirname(dirname(import.meta.dir));
const FILES = {
  "mod.ts": 'import { ask } from "./src/far/asker.ts";\nawait ask();\n',
  "src/far/asker.ts": `
    export async function ask(): Promise<void> {
      const worker = new Worker(new URL("../near/answer_worker.ts", import.meta.url));
      const answer = await new Promise((resolve, reject) => {
        worker.onmessage = ({ data }) => resolve(data);
        worker.onerror = ({ message }) => reject(new Error(message));
      });
      console.log(answer);
      worker.terminate();
    }`,
  "src/near/answer_worker.ts": 'import { ANSWER } from "./answer.ts";\npostMessage(ANSWER);\n',
  "src/near/answer.ts": "export const ANSWER: number = 42;\n",
  // A mention that starts no Worker brings nothing in.
  "src/near/unrelated.ts": 'export const there = new URL("./answer.ts", import.meta.url);\n',
};

let root: string;
let built: Executable;

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), "workers-"));
  for (const [path, text] of Object.entries(FILES)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  for (const name of ["LICENSE", "node_modules"]) symlinkSync(join(REPOSITORY, name), join(root, name));
  built = await buildExecutable({
    root,
    entry: join(root, "mod.ts"),
    outfile: join(root, "dist", "asker"),
    version: "0",
    gitRevision: "unknown",
  });
}, 60_000);

afterAll(() => rmSync(root, { recursive: true, force: true }));

test("a Worker named relative to its starter's source runs inside the executable", () => {
  expect(built.workers).toEqual(["src/near/answer_worker.ts"]);
  // Without its sources, and elsewhere: nothing may come from disk.
  rmSync(join(root, "src"), { recursive: true });
  const { stdout, stderr, status } = spawnSync(built.outfile, { cwd: "/", encoding: "utf8" });
  expect([stdout, stderr, status]).toEqual(["42\n", "", 0]);
});
