// Type check, lint and format check of the whole tree, or of the paths given.
//   bun compile/check.ts [PATH…]
import { spawnSync } from "node:child_process";
import { dirname, join } from "node:path";
import process from "node:process";

const root = dirname(import.meta.dir);
const deno = join(root, "node_modules", ".bin", "deno");
const paths = process.argv.slice(2);

/** The check itself must not go through package.json's script of the same name: that is this file. */
const steps = [
  { name: "types", command: process.execPath, args: ["check", "--no-script", "--no-pretty", ...paths] },
  { name: "lint", command: deno, args: ["lint", "--quiet", ...paths] },
  { name: "format", command: deno, args: ["fmt", "--check", ...paths] },
];

let failed = 0;
for (const { name, command, args } of steps) {
  const { status, stdout, stderr, error } = spawnSync(command, args, { cwd: root, encoding: "utf8" });
  if (status === 0) {
    console.log(`${name}: ok`);
    continue;
  }
  failed++;
  console.log(`${name}: FAILED${error ? ` (${error.message})` : ""}\n${stdout ?? ""}${stderr ?? ""}`);
}
process.exit(failed === 0 ? 0 : 1);
