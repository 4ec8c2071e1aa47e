// Makes dist/ambient, one executable.
//   npm run compile
// AMBIENT_REVISION names the commit where there is no repository, as in an image build.
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import process from "node:process";
import { buildExecutable } from "./executable.ts";
import { gitRevision } from "./revision.ts";

const root = dirname(import.meta.dir);
const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string };
const built = await buildExecutable({
  root,
  entry: join(root, "mod.ts"),
  outfile: join(root, "dist", "ambient"),
  version,
  gitRevision: process.env["AMBIENT_REVISION"] || gitRevision(root),
});
console.log(`dist/ambient: ${(built.bytes / 1e6).toFixed(1)} MB, version ${version}`);
console.log(`modules apart: ${built.apart.length === 0 ? "none" : built.apart.join(", ")}`);
