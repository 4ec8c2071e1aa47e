/** The files that a path of local state means: itself, or those of a folder. */
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import type { LocalFile } from "./local_document.ts";

const EXTENSIONS = [".yaml", ".yml", ".json"];

/** Whether a file of a folder is read: ConfigMaps keep their versions in entries that begin with dots. */
export function isLocalFile(name: string): boolean {
  return !name.startsWith(".") && EXTENSIONS.some((extension) => name.endsWith(extension));
}

/** A path that cannot be read, by code of the file system. */
export interface UnreadableFile {
  readonly path: string;
  readonly message: string;
}

export type FilesResult =
  | { readonly ok: true; readonly folder: boolean; readonly files: readonly LocalFile[] }
  | { readonly ok: false; readonly folder: boolean; readonly errors: readonly UnreadableFile[] };

function unreadable(path: string, error: unknown): UnreadableFile {
  return { path, message: `cannot read: ${(error as NodeJS.ErrnoException).code ?? String(error)}` };
}

/** Reads a file, or all files of a folder, not those of folders in it, by name. */
export async function readLocalFiles(path: string): Promise<FilesResult> {
  try {
    if (!(await stat(path)).isDirectory()) {
      return { ok: true, folder: false, files: [{ path, text: await readFile(path, "utf8") }] };
    }
    const names = (await readdir(path)).filter(isLocalFile).sort();
    if (names.length === 0) {
      return {
        ok: false,
        folder: true,
        errors: [{ path, message: `a folder without ${EXTENSIONS.join(", ")} files` }],
      };
    }
    return await readFolder(path, names);
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === "ENOENT";
    const failure = missing ? { path, message: "no such file or folder (--config)" } : unreadable(path, error);
    return { ok: false, folder: false, errors: [failure] };
  }
}

async function readFolder(folder: string, names: readonly string[]): Promise<FilesResult> {
  const files: LocalFile[] = [];
  const errors: UnreadableFile[] = [];
  for (const name of names) {
    const path = join(folder, name);
    try {
      if ((await stat(path)).isFile()) files.push({ path, text: await readFile(path, "utf8") });
    } catch (error) {
      errors.push(unreadable(path, error));
    }
  }
  return errors.length > 0 ? { ok: false, folder: true, errors } : { ok: true, folder: true, files };
}
