import { afterAll, beforeAll, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { buildExecutable, type Executable } from "../../compile/executable.ts";

const REPOSITORY = dirname(dirname(import.meta.dir));
const FILES = {
  "mod.ts": `
    import { ask } from "./src/far/asker.ts";
    import { load } from "./src/far/loader.ts";
    await ask();
    console.log("not yet");
    console.log(load().ANSWER);`,
  "src/far/loader.ts": `
    type Late = typeof import("../near/late.ts");
    export const load = (): Late => require(Bun.fileURLToPath(new URL("../near/late.ts", import.meta.url))) as Late;`,
  "src/near/late.ts": 'console.log("late");\nexport { ANSWER } from "./answer.ts";\n',
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
  // A mention that neither starts a Worker nor loads brings nothing in.
  "src/near/unrelated.ts": 'export const there = new URL("./answer.ts", import.meta.url);\n',
};

let root: string;
let built: Executable;

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), "apart-"));
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
}, 180_000);

afterAll(() => rmSync(root, { recursive: true, force: true }));

test("Workers and modules loaded late, named relative to the source that does it, are inside the executable", () => {
  expect(built.apart).toEqual(["src/near/answer_worker.ts", "src/near/late.ts"]);
  // Without its sources, and elsewhere: nothing may come from disk.
  rmSync(join(root, "src"), { recursive: true });
  const { stdout, stderr, status } = spawnSync(built.outfile, { cwd: "/", encoding: "utf8" });
  expect([stdout, stderr, status]).toEqual(["42\nnot yet\nlate\n42\n", "", 0]);
});
