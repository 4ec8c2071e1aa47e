import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  type Stats,
  statSync,
  writeSync,
} from "node:fs";
import process from "node:process";
import { CertificateError } from "./certificate.ts";

/** Whoever may do more than the owner: group and others. */
const NOT_OWNER = 0o077;

/**
 * Text of a file that only this user may read, in a directory that only this user may enter; undefined if the file or
 * the directory is missing. Throws CertificateError that names the file or directory whose owner or mode is wrong.
 */
export function readPrivateFile(directory: string, name: string): string | undefined {
  const stats = statOf(directory);
  if (stats === undefined) return undefined;
  if (!stats.isDirectory()) throw new CertificateError(`${directory}: not a directory`);
  requirePrivate(directory, stats, "0700");
  const path = `${directory}/${name}`;
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw failure(path, error);
  }
  try {
    const file = fstatSync(fd);
    if (!file.isFile()) throw new CertificateError(`${path}: not a regular file`);
    requirePrivate(path, file, "0600");
    return readFileSync(fd, "utf8");
  } catch (error) {
    throw failure(path, error);
  } finally {
    closeSync(fd);
  }
}

/**
 * Makes a private file whole or not at all, and returns what it holds: of several processes that do so at once one
 * wins, and all get the winner's text. Throws CertificateError that names the file.
 */
export function writePrivateFileOnce(directory: string, name: string, content: string): string {
  const path = `${directory}/${name}`;
  const temporary = `${path}.${process.pid}.${crypto.randomUUID()}`;
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    const fd = openSync(temporary, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600);
    try {
      writeSync(fd, content);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    linkUnlessThere(temporary, path);
  } catch (error) {
    throw failure(path, error);
  } finally {
    rmSync(temporary, { force: true });
  }
  const text = readPrivateFile(directory, name);
  if (text === undefined) throw new CertificateError(`${path}: removed while it was made`);
  return text;
}

function linkUnlessThere(from: string, to: string): void {
  try {
    linkSync(from, to);
  } catch (error) {
    if (codeOf(error) !== "EEXIST") throw error;
  }
}

function statOf(path: string): Stats | undefined {
  try {
    return statSync(path);
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw failure(path, error);
  }
}

function requirePrivate(path: string, stats: Stats, wanted: string): void {
  const user = process.geteuid?.();
  if (stats.uid !== user) throw new CertificateError(`${path}: owned by user ${stats.uid}, not by ${user}`);
  if ((stats.mode & NOT_OWNER) !== 0) {
    const mode = (stats.mode & 0o777).toString(8).padStart(4, "0");
    throw new CertificateError(`${path}: mode ${mode} lets others in, ${wanted} is needed`);
  }
}

function failure(path: string, error: unknown): CertificateError {
  if (error instanceof CertificateError) return error;
  return new CertificateError(`${path}: ${error instanceof Error ? error.message : error}`);
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && "code" in error ? error.code : undefined;
}
