/** The program as one JavaScript file for Node, built once for each process that starts it. */
import { dirname, join } from "node:path";
import { makeScratchDirectory, removePath } from "../lab/topology/ledger.ts";

let bundle: Promise<string> | undefined;

/** @returns the file's path; it is removed when this process ends, or before by `removeProgramBundle` */
export function programBundle(): Promise<string> {
  bundle ??= build();
  return bundle;
}

async function build(): Promise<string> {
  const outdir = makeScratchDirectory();
  const result = await Bun.build({
    entrypoints: [join(import.meta.dirname, "program", "main.ts")],
    target: "node",
    outdir,
    naming: "istiod.mjs",
    throw: false,
  });
  if (!result.success) throw new Error(`the istiod for tests cannot be built: ${result.logs.join("\n")}`);
  return join(outdir, "istiod.mjs");
}

/** To be called when no istiod runs any more, by who looks whether anything was left behind. */
export async function removeProgramBundle(): Promise<void> {
  const path = await bundle;
  bundle = undefined;
  if (path !== undefined) removePath(dirname(path));
}
