/** The executable under test: `dist/ambient`, built anew when any source is younger. */
import { existsSync, readdirSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { must } from "../topology/mod.ts";

export const PROJECT = dirname(dirname(dirname(dirname(fileURLToPath(import.meta.url)))));
/** What the executable is built from. */
const SOURCES = ["mod.ts", "src", "proto", "compile", "package.json", "bun.lock"];

/** Path of the executable; AMBIENT_BINARY names another one, e.g. one built elsewhere. @throws CommandError when it cannot be built */
export function ambientBinary(): string {
  const given = process.env["AMBIENT_BINARY"];
  if (given !== undefined && given !== "") return given;
  const binary = join(PROJECT, "dist", "ambient");
  if (!existsSync(binary) || SOURCES.some((source) => newest(join(PROJECT, source)) > statSync(binary).mtimeMs)) {
    must([process.execPath, join(PROJECT, "compile", "compile.ts")]);
  }
  return binary;
}

function newest(path: string): number {
  if (!existsSync(path)) return 0;
  const status = statSync(path);
  if (!status.isDirectory()) return status.mtimeMs;
  let latest = 0;
  for (const entry of readdirSync(path)) latest = Math.max(latest, newest(join(path, entry)));
  return latest;
}
