// Makes dist/ambient-image.tar, the image of the Dockerfile as an OCI archive, where there is no Docker.
//   npm run image [-- --binary PATH] [--output PATH] [--name NAME:TAG]
// AMBIENT_REVISION names the commit where there is no repository, SOURCE_DATE_EPOCH the time of all files.
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { buildExecutable } from "./executable.ts";
import { buildImage } from "./image_archive.ts";
import { must } from "./image_tools.ts";
import { gitRevision } from "./revision.ts";

const root = dirname(import.meta.dir);
const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string };
const { values } = parseArgs({
  options: {
    binary: { type: "string" },
    output: { type: "string", default: join("dist", "ambient-image.tar") },
    // No registry has this name, so that no node fetches somebody else's by it.
    name: { type: "string", default: `localhost/ambient:${version}` },
  },
});

/** Of a given executable it is its own word. */
function revisionOf(executable: string): string {
  const said = /GitRevision:"([^"]*)"/.exec(must([executable, "version"]))?.[1];
  if (said === undefined) throw new Error(`${executable} is no ambient`);
  return said;
}

/** Time of the last commit; the beginning of time outside a repository. */
function epoch(): number {
  const given = process.env["SOURCE_DATE_EPOCH"];
  const text = given || spawnSync("git", ["log", "-1", "--format=%ct"], { cwd: root, encoding: "utf8" }).stdout;
  return Number(text) || 0;
}

async function executable(): Promise<string> {
  if (values.binary !== undefined) return resolve(values.binary);
  const outfile = join(root, "dist", "ambient");
  const revision = process.env["AMBIENT_REVISION"] || gitRevision(root);
  await buildExecutable({ root, entry: join(root, "mod.ts"), outfile, version, gitRevision: revision });
  return outfile;
}

try {
  const path = await executable();
  const image = buildImage({
    executable: path,
    outfile: resolve(root, values.output),
    name: values.name,
    version,
    gitRevision: revisionOf(path),
    epoch: epoch(),
  });
  console.log(`${values.output}: ${(image.bytes / 1e6).toFixed(1)} MB, ${values.name}, ${image.digest}`);
  console.log(`root: ${image.packages.join(" ")}`);
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
}
